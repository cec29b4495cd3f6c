"""Run folders of a made-up study, as the lab leaves them, and rows without folders."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pruning_lab.lab.output.card import Card, Cards, write_cards
from pruning_lab.lab.output.history import History
from pruning_lab.tasks.report.study_rows import StudyRow

IPAD = {"_target_": "pruning_lab.importance.Ipad", "omega": 0.5}


def study_run(
    folder: Path,
    importance: str | None = "ipad",
    seed: int = 1,
    flops: float = 0.5,
    iou: float = 0.9,
    base_hash: str = "3fa9",
    met: bool = True,
    reached: float | None = None,
    **changes: Any,
) -> Path:
    """A run of two steps and a final recovery. `changes` replace parts of its config; importance=None leaves no record
    of Hydra's."""
    config = {
        "task": {"_target_": "pruning_lab.tasks.prune.prune"},
        "model": {"_target_": "pruning_lab.models.UNet"},
        "data": {"_target_": "pruning_lab.data.Folder", "root": "somewhere/nuclei"},
        "importance": IPAD,
        "stop": {"_target_": "pruning_lab.selection.All", "flops": flops},
        "recovery": {"epochs": 1, "final_epochs": 10},
        "selection": {"amount": {"share": 0.2}},
        "tracking": {"run_name": str(folder)},
        "seed": seed,
        **changes,
    }
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    if importance is not None:
        record_choices(folder, {"importance": importance, "data": "folder", "model": "unet", "task": "prune"})
    history = History()
    history.append({"step": 0, "val/iou": 0.89})
    for step, seconds in ((1, 0.2), (2, 0.4)):
        spent = {"cost/score_seconds": seconds, "cost/score_images": 64, "cost/recovery_epochs": 1}
        history.append({"step": step, "val/iou": iou, "selection/groups_removed": 5, **spent})
    history.append({"step": 3, "val/iou": iou, "test/iou": iou, "cost/recovery_epochs": 10})
    history.write(folder / "history.csv")
    base = Card("base", 1000, 100, 10.0, 0.89, 0.91, 0.94, 1)
    macs = round(1000 * (flops if reached is None else reached))
    pruned = Card("pruned", macs, 40, 6.0, iou - 0.01, iou, 0.93, 1)
    write_cards(folder, Cards(base, pruned, base_hash, seed, "abc", met))
    return folder


def record_choices(folder: Path, choices: dict[str, str]) -> None:
    """Hydra's record of a run."""
    (folder / "hydra").mkdir(exist_ok=True)
    OmegaConf.save(OmegaConf.create({"hydra": {"runtime": {"choices": choices}}}), folder / "hydra" / "hydra.yaml")
    (folder / "hydra" / "config.yaml").write_text("task:\n  _target_: pruning_lab.tasks.prune\n")


def study_row(method: str = "ipad", seed: int = 1, limit: float = 0.5, iou: float = 0.9, **changes: Any) -> StudyRow:
    """A row that met its budget; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "base": "3fa9c1",
        "data": "nuclei",
        "model": "unet",
        "method": method,
        "differing": "{}",
        "budget": f"{100 * limit:g} % FLOPs",
        "resource": "flops",
        "limit": limit,
        "seed": seed,
        "met": 1,
        "test_iou": iou,
        "val_iou": iou - 0.01,
        "base_test_iou": 0.91,
        "base_val_iou": 0.89,
        "flops_fraction": limit,
        "weights_fraction": 0.8 * limit,
        "latency_fraction": limit**0.5,
        "base_macs": 1000,
        "base_weights": 100,
        "base_latency_ms": 10.0,
        "score_seconds": 0.3,
        "score_images": 64.0,
        "steps": 2,
        "epochs": 12.0,
        "commit": "96fd26ea6d0da004a1f255fef183ba2b802385e3",
        "folder": f"{method} {seed} {limit}",
    }
    return StudyRow(**fields | changes)
