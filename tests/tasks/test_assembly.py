"""Tasks from a config: a control is the run's own command with one choice more."""

from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.run_folder import Run, read_run
from pruning_lab.tasks.config import run_task
from tests.tasks.test_config import composed

SMALL = [
    *("+experiment=unet_ipad", "+debug=limit", "tracking=none", "device=cpu", "threads=1"),
    *("data.size=[16,16]", "model.width=4", "base.epochs=1", "selection.amount.share=0.3", "stop.flops=0.5"),
]


def perform(root: Path, name: str, *overrides: str) -> float | None:
    config = composed(*SMALL, f"output_root={root}", *overrides)
    chosen = dict(override.split("=") for override in overrides if "." not in override.partition("=")[0])
    return run_task(config, str(root / name), {"task": "prune", "importance": "ipad", **chosen}).number


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("tasks")
    perform(root, "run")
    return read_run(root / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        # The recovery of a network that is not pruned does not matter.
        ("scratch", ["task=scratch", "task.run={}", "task.same=compute", "recovery.final_epochs=9"]),
        ("flat", ["task=flat", "task.run={}"]),
        ("longer", ["task=train_longer", "task.run={}"]),
        ("random", ["importance=random_at_widths", "importance.run={}", "seed=3"]),
    ],
)
def test_a_control_leaves_the_files_of_a_run_from_the_same_base(run: Run, name: str, overrides: list[str]) -> None:
    root = run.folder.parent
    value = perform(root, name, *(override.format(run.folder) for override in overrides))
    control = read_run(root / name)
    assert control.cards.base_hash == run.cards.base_hash
    assert control.history[0]["val/iou"] == run.history[0]["val/iou"]
    assert {path.name for path in (root / name).iterdir()} == {path.name for path in run.folder.iterdir()}
    assert value in control.history.column("val/iou")
    if name in ("scratch", "random"):
        assert control.cards.pruned.macs == run.cards.pruned.macs


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["task=scratch", "base.epochs=2"], "base.epochs is 2 here and 1 in"),
        (["task=scratch", "model.width=6"], "model.width=4"),
        (["task=train_longer", "recovery.final_epochs=9"], "recovery.final_epochs is 9"),
        (["task=train_longer", "distillation=soft_targets"], "distillation"),
        (["task=flat", "loss.dice_weight=3"], "loss.dice_weight"),
    ],
)
def test_a_control_with_other_settings_is_refused_and_the_key_is_named(
    run: Run, tmp_path: Path, overrides: list[str], told: str
) -> None:
    with pytest.raises(LabError, match=told) as caught:
        perform(tmp_path, "control", *overrides, f"task.run={run.folder}")
    assert "\n" not in str(caught.value)


def test_random_at_widths_takes_the_steps_of_its_run(run: Run, tmp_path: Path) -> None:
    choices = ["importance=random_at_widths", f"importance.run={run.folder}", "selection.amount.share=0.1"]
    with pytest.raises(LabError, match=r"selection\.amount\.share is 0\.1 here and 0\.3"):
        perform(tmp_path, "control", *choices)


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"history\.csv: can't be read"):
        perform(tmp_path, "control", "task=scratch", f"task.run={tmp_path}")
