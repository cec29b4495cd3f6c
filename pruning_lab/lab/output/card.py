"""Base and pruned model side by side, as a file of the run's folder. Measures nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically

CARDS_FILE = "card.json"


@dataclass(frozen=True)
class Card:
    """What one model costs and how well it segments: scores are fractions, `macs` is per image."""

    name: str
    macs: int
    weights: int
    latency_ms: float
    val_iou: float
    test_iou: float
    test_dice: float
    disk_bytes: int


@dataclass(frozen=True)
class Cards:
    """The two models that a run compares, and what makes the comparison traceable."""

    base: Card
    pruned: Card
    base_hash: str
    seed: int
    commit: str
    budget_met: bool

    @property
    def left(self) -> dict[str, float]:
        """What the pruned model has of the base's FLOPs and weights, as fractions."""
        return {"flops": self.pruned.macs / self.base.macs, "weights": self.pruned.weights / self.base.weights}


def write_cards(run_folder: Path, cards: Cards) -> Path:
    """Write `card.json` into the run folder and return its path."""
    path = Path(run_folder) / CARDS_FILE
    write_atomically(path, json.dumps(asdict(cards), indent=2) + "\n")
    return path


def read_cards(run_folder: Path) -> Cards:
    """The cards that `write_cards` stored. Raises LabError naming the file and the key that is wrong."""
    path = Path(run_folder) / CARDS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        models = {side: Card(**content[side]) for side in ("base", "pruned")}
        return Cards(**(content | models))
    except OSError as error:
        raise LabError(f"{path}: can't be read ({error.strerror}); give the folder of a finished run") from error
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(f"{path}: not a card of this version ({error}); run the experiment again") from error
