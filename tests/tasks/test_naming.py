from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from pruning_lab.lab.output.short_names import short_names
from pruning_lab.tasks.naming import Typed, ordered, run_name, sweep_of, typed_for

CONFIG = OmegaConf.create({"stop": {"_target_": "x", "flops": 0.25}, "seed": 0, "task": {"_target_": "x"}})
CHOICES = {"importance": "l1", "task": "prune", "selection/amount": "share_of_flops"}


def swept(*own: str, asked: tuple[str, ...] = ()) -> Typed:
    return Typed(own, Path("sweep"), asked)


def test_what_a_sweep_changes_is_the_name() -> None:
    asked = ("+experiment=unet_ipad", "importance=l1,ipad", "selection.amount.share=0.2,0.3", "threads=1")
    names = {
        run_name(
            CONFIG,
            CHOICES,
            swept(
                "+experiment=unet_ipad", "importance=l1", f"selection.amount.share={share}", "threads=1", asked=asked
            ),
        )
        for share in (0.2, 0.3)
    }
    assert names == {"l1 share 0.2", "l1 share 0.3"}


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ((), "l1 flops 0.25 seed 0"),
        (("+debug=limit", "output_root=/x", "threads=1", "importance=l1"), "l1 flops 0.25 seed 0"),
        (("selection.amount.share=0.3",), "l1 flops 0.25 seed 0 share 0.3"),
        (
            ("stop.flops=0.25", "recovery.epochs=2", "base.epochs=5"),
            "l1 flops 0.25 seed 0 recovery.epochs 2 base.epochs 5",
        ),
        (("importance.run=/a/long/place/run7/",), "l1 flops 0.25 seed 0 run run7"),
        (("selection/amount=share_of_flops",), "l1 flops 0.25 seed 0 share_of_flops"),
    ],
)
def test_what_was_typed_for_a_run_of_its_own_follows_what_is_usual(own: tuple[str, ...], name: str) -> None:
    assert run_name(CONFIG, CHOICES, Typed(own)) == name


def test_a_control_leads_with_its_task() -> None:
    config = OmegaConf.merge(CONFIG, {"task": {"same": "epochs"}})
    assert run_name(config, {**CHOICES, "task": "scratch"}, Typed()) == "scratch epochs seed 0"


def test_short_names_stay_apart() -> None:
    assert short_names(["a.b.share", "seed", "base.epochs", "recovery.epochs"]) == {
        "a.b.share": "share",
        "seed": "seed",
        "base.epochs": "base.epochs",
        "recovery.epochs": "recovery.epochs",
    }
    assert short_names(["flops", "stop.flops"]) == {"flops": "flops", "stop.flops": "stop.flops"}


def test_typed_parameters_lead() -> None:
    parameters: dict[str, Any] = {"tracking": "mlflow", "seed": 0, "importance": "l1", "share": 0.2}
    assert list(ordered(parameters, Typed(("share=0.2",)))) == ["share", "seed", "importance", "tracking"]


def record(folder: Path, **content: Any) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text(yaml.safe_dump({"hydra": content}))


def test_a_job_finds_its_sweep_and_what_that_changes_by_hydras_records(tmp_path: Path) -> None:
    asked, own = ["name=x", "seed=1,2", "+debug=limit"], ["name=x", "seed=2", "+debug=limit"]
    record(tmp_path / "multirun.yaml", overrides={"task": asked})
    job = tmp_path / "jobs" / "1"
    record(job / "hydra" / "hydra.yaml", mode="MULTIRUN", runtime={"output_dir": str(job)}, overrides={"task": own})
    sweep = sweep_of(job, "x")
    assert sweep is not None
    assert (sweep.folder, sweep.name, sweep.changed) == (tmp_path, "x: seed", {"seed": "2"})
    assert list(sweep.asked) == asked


def test_a_run_of_its_own_has_no_sweep(tmp_path: Path) -> None:
    record(tmp_path / "hydra" / "hydra.yaml", mode="RUN", overrides={"task": ["seed=2"]})
    assert sweep_of(tmp_path, "x") is None
    assert typed_for(tmp_path).telling == {"seed": "2"}
    assert sweep_of(tmp_path / "nothing", "x") is None
