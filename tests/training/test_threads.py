"""threads=null takes this run's share, threads=N takes N."""

from collections.abc import Iterator

import cv2
import pytest
import torch

from pruning_lab.common import sharing
from pruning_lab.training import threads
from pruning_lab.training.threads import Threads


@pytest.fixture(autouse=True)
def _put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    monkeypatch.setattr(threads, "ALONE", 8)
    monkeypatch.setattr(sharing, "cores", lambda: 16)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def runs(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(sharing, "runs_here", lambda: count)


def test_a_share_is_taken_anew_and_said_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Threads()
    runs(monkeypatch, 13)
    assert take() == "threads: 1 (13 runs share 16 cores); threads=N sets another number"
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    assert take() == ""
    runs(monkeypatch, 4)
    assert take().startswith("threads: 4 (4 runs share 16 cores)")
    runs(monkeypatch, 1)
    assert take().startswith("threads: 8 (no other run shares 16 cores)")
    assert torch.get_num_threads() == 8


def test_a_number_of_ones_own_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, 13)
    assert Threads(3)() == ""
    assert torch.get_num_threads() == 3


def test_a_deterministic_run_keeps_its_number_also_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Threads(steady=True)
    runs(monkeypatch, 4)
    take()
    runs(monkeypatch, 8)
    assert take() == ""
    assert torch.get_num_threads() == 4
    Threads(steady=True)(4)
    assert torch.get_num_threads() == 4
