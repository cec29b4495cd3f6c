"""The cells of the study of healing: which methods with which compensation, seeds and training. Runs nothing.

A cell is one job that prunes to four budgets. Peers have their batch norms measured anew as ours have, so that what
least squares adds is not what any recalibration gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BUDGETS = (0.5, 0.25, 0.1, 0.05)
DATA = {"eyes": "healing_study", "fields": "healing_study_fields", "nuclei": "healing_study_nuclei"}
"""Data set -> the experiment of its cells."""

HEALING = {
    "none": ("recovery.epochs=0", "recovery.final_epochs=0"),
    "1 epoch": ("recovery.epochs=0", "recovery.final_epochs=1"),
    "5 epochs": ("recovery.epochs=0", "recovery.final_epochs=5"),
    "full": (),
}
"""How much is trained -> overrides; all of it at the end, but for the preset's own recovery after each cut (full)."""

PLAIN, NORMS, SOLVED = "none", "norms", "least_squares"

_AT_EACH = {"none": 2, "1 epoch": 2, "5 epochs": 2}

METHODS: dict[tuple[str, str], dict[str, int]] = {
    ("reconstruction", SOLVED): _AT_EACH | {"full": 5},
    ("steady_taylor", SOLVED): _AT_EACH | {"full": 5},
    ("ipad", SOLVED): _AT_EACH | {"full": 3},
    ("downstream", SOLVED): _AT_EACH | {"full": 3},
    ("random", SOLVED): _AT_EACH | {"full": 2},
    ("uniform", SOLVED): _AT_EACH | {"full": 2},
    ("peer_taylor", NORMS): _AT_EACH | {"full": 5},
    ("peer_magnitude", NORMS): _AT_EACH | {"full": 5},
    ("peer_fastnas", NORMS): dict.fromkeys(HEALING, 1),
    ("reconstruction_gradient", SOLVED): {"none": 2},
    ("random", NORMS): {"none": 2, "full": 2},
    ("jacobian", NORMS): {"none": 2, "full": 1},
    ("steady_taylor", NORMS): {"full": 5},
    ("uniform", NORMS): {"full": 1},
    ("peer_taylor", PLAIN): {"none": 2},
    ("ipad_paper", PLAIN): {"full": 1},
    ("downstream_paper", PLAIN): {"full": 1},
    ("l1", SOLVED): {"none": 2},
    ("taylor", SOLVED): {"none": 2},
    ("downstream_of_ipad", SOLVED): {"none": 2},
    ("downstream_of_l1", SOLVED): {"none": 2},
    ("downstream_of_taylor", SOLVED): {"none": 2},
}
"""(method, compensation) -> healing -> seeds; where nothing or little is trained, little is left to chance."""

DOWNSTREAM_OF = "downstream_of_"
"""Before the name of a method: half that method's score, half what lies downstream."""
OWN = ("l1", "taylor")
"""Everyone's methods, which are here to be downstream's own."""

SCRATCH_OF = ("reconstruction", SOLVED)
SCRATCH_BUDGETS = (0.25, 0.1)
SCRATCH_SEEDS = 3
"""Fresh weights at the widths of a method's fully healed networks, at these budgets, with so many seeds."""

PEERS = ("peer_taylor", "peer_magnitude")
"""Torch-Pruning's, which ours are compared with seed by seed."""
SEARCHED = ("peer_fastnas",)
"""Needs the extra packages that `fastnas` names, and minutes for its search; so it has one seed."""
CONTROLS = ("random", "uniform", "scratch")

MINUTES = {"none": 0.45, "1 epoch": 0.55, "5 epochs": 0.9, "full": 1.6, "scratch": 0.6}
"""Minutes of one quiet core for a cell, as measured; `--hours` bounds what is really spent."""
SEARCH = 1.8
"""Minutes of FastNAS's four searches."""


@dataclass(frozen=True)
class Cell:
    """One job of the study.

    Attributes:
        budget: of a network trained from scratch, which is one run; None for a job that prunes to all budgets.
    """

    data: str
    method: str
    compensation: str
    healing: str
    seed: int
    budget: float | None = None

    @property
    def name(self) -> str:
        """The path of its folder below that of the study."""
        own = f"{self.method}-{self.compensation}" + ("" if self.budget is None else f"-{self.budget:g}")
        return f"{self.data}/{self.healing.replace(' ', '_')}/{own}/seed_{self.seed}"

    @property
    def minutes(self) -> float:
        """What it takes on one quiet core, estimated."""
        search = SEARCH if self.method in SEARCHED else 0.0
        return search + MINUTES["scratch" if self.method == "scratch" else self.healing]

    def runs(self, root: Path) -> dict[float, Path]:
        """Budget -> the folder of its run."""
        if self.budget is not None:
            return {self.budget: root / self.name}
        return {budget: root / self.name / f"flops_{budget:g}" for budget in BUDGETS}

    def needs(self) -> Cell | None:
        """The cell whose networks this one takes the widths of."""
        if self.budget is None:
            return None
        return Cell(self.data, *SCRATCH_OF, self.healing, self.seed)

    def arguments(self, root: Path, nuclei: str = "", bases: str = "") -> list[str]:
        """The command line of its job."""
        source = self.needs()
        method = self.method if source is None else source.method
        chosen = [f"importance={method}", f"compensation={self.compensation}"]
        if method == "reconstruction_gradient":
            chosen[0] = "importance=reconstruction"
            chosen += ["importance.method.weigh=gradient", "importance.method.relative_to=none"]
        if method.startswith(DOWNSTREAM_OF):
            own = method.removeprefix(DOWNSTREAM_OF)
            chosen[0] = "importance=downstream"
            chosen += [f"+importance@importance.own={own}", "importance.mix=0.5"]
        if method in SEARCHED:
            limits = ",".join(f"{budget:g}" for budget in BUDGETS)
            path = "importance.path=tests.benchmarks.fastnas.scores"
            chosen[:1] = ["importance=function", path, f"importance.parameters={{limits:[{limits}]}}"]
        if source is not None and self.budget is not None:
            chosen += ["task=scratch", f"task.run={source.runs(root)[self.budget]}", f"stop.flops={self.budget:g}"]
        return [
            f"+experiment={DATA[self.data]}",
            *chosen,
            f"seed={self.seed}",
            *HEALING[self.healing],
            *([f"data.root={nuclei}"] if self.data == "nuclei" else []),
            *([f"bases={bases}"] if bases else []),
            "tracking=none",
            "check=false",
            "pictures=false",
            "threads=1",
            f"hydra.run.dir={root / self.name}",
        ]


def all_cells(data: Sequence[str] = tuple(DATA), seeds: int = 5) -> list[Cell]:
    """Every cell, seed by seed, so that a study that was cut short has few seeds of all and not all of few.

    Args:
        data: names of data sets.
        seeds: at most.
    """
    return [cell for seed in range(1, seeds + 1) for cell in _of_seed(data, seed)]


def _of_seed(data: Sequence[str], seed: int) -> Iterator[Cell]:
    for healing in HEALING:
        for (method, compensation), wanted in METHODS.items():
            for name in data:
                if seed <= wanted.get(healing, 0):
                    yield Cell(name, method, compensation, healing, seed)
    for budget in SCRATCH_BUDGETS if seed <= SCRATCH_SEEDS else ():
        for name in data:
            yield Cell(name, "scratch", PLAIN, "full", seed, budget)
