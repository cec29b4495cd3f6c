"""A network whose pass takes far too long is refused with the mend, and one that is merely slow is told of and runs."""

import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.checkpoint import Builder
from pruning_lab.checkpoint.bounds import build_without_memory
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.lab import patience, room
from pruning_lab.lab.loop import prune
from pruning_lab.lab.output.console import QuietReporter
from pruning_lab.lab.patience import check_flops, flops_of_pass, told_if_long, watched_pass
from pruning_lab.models import UNet
from pruning_lab.resources import measure
from pruning_lab.training.compute import ComputeSettings
from tests.networks.labs import tiny_lab

CPU = ComputeSettings()


class Slow(nn.Module):
    """Sleeps between its operators."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        for _ in range(20):
            time.sleep(0.02)
            image = image + 1
        return self.last(self.layer(image))


def test_flops_are_those_that_the_channel_graph_counts_and_nothing_is_computed() -> None:
    model = UNet(width=4, depth=2)
    counted = measure(ChannelGraph.trace(model, torch.zeros(1, 3, 16, 16))).flops
    huge = build_without_memory(lambda: UNet(width=4000, depth=8))
    assert huge is not None
    started = time.process_time()
    assert flops_of_pass(model, (1, 3, 16, 16)) == counted
    assert flops_of_pass(huge, (1, 3, 4096, 4096)) > 1e15  # type: ignore[operator]
    assert time.process_time() - started < 10


def test_a_pass_that_looks_at_values_is_not_counted() -> None:
    class Looks(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image if image.sum().item() > 0 else -image

    assert flops_of_pass(Looks(), (1, 3, 8, 8)) is None


def test_what_takes_far_too_long_is_refused_with_its_time_and_the_mend() -> None:
    with pytest.raises(LabError, match=r"UNet: a pass over one image takes 10000 T FLOPs, about .* longest_pass=null"):
        check_flops("UNet", 10**16, CPU, 60)
    assert check_flops("UNet", 10**16, CPU, None) > 60
    assert check_flops("UNet", 10**9, CPU, 60) == 0 == check_flops("UNet", None, CPU, 60)


def test_a_pass_is_stopped_when_its_time_is_over() -> None:
    started = time.perf_counter()
    with pytest.raises(LabError, match=r"model Slow: a pass is not done after .*longest_pass=0\.02 now"):
        watched_pass(Slow(), torch.zeros(2, 3, 4, 4), 0.02)
    assert time.perf_counter() - started < 0.3
    assert watched_pass(Slow(), torch.zeros(2, 3, 4, 4), None) >= 0.4


def test_a_slow_network_is_told_of_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = QuietReporter()
    monkeypatch.setattr(room, "check_flops", lambda *given: 2.5)
    prune(tiny_lab(tmp_path, reporter=reporter))
    (line,) = (line for line in reporter.lines if line.startswith("network: "))
    # 2 epochs of 16 images, at three times a pass
    assert line.endswith(
        "a pass over one image takes about 2.5 s, so training a base, where none is kept, takes about 4:00"
    )


def test_a_rehearsal_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    lab = tiny_lab(tmp_path, build=Slow, builder=Builder("tests.lab.test_patience.Slow"), check=True, longest_pass=0.02)
    with pytest.raises(LabError, match="a pass is not done after"):
        prune(lab)
    assert not (tmp_path / "bases").exists()


def test_parts_are_told_only_where_a_pass_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Told:
        def advance(self, amount: float = 1) -> None: ...
        def note(self, text: str) -> None:
            told.append(text)

    class Reporter(QuietReporter):
        def task(self, name: str, total: float | None):  # type: ignore[no-untyped-def, override]
            return patience.contextmanager(lambda: iter([Told()]))()

    for seconds in (0.1, 5.0):
        with told_if_long(Reporter(), "rehearsal", seconds) as begins:
            begins("cut")
    assert told == ["cut"]
