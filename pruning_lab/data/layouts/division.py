"""The names of splits, and how one pool of files is divided into them. Knows no files, only their labels."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from pruning_lab.common.errors import LabError
from pruning_lab.data.files import FilePair

SPLITS = ("train", "val", "test")
ALSO_CALLED = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def split_called(name: str) -> str | None:
    """Return train, val or test for what people call them; None for anything else."""
    return next((split for split, names in ALSO_CALLED.items() if name.strip().lower() in names), None)


def complete(
    found: dict[str, list[FilePair]], split: Mapping[str, float] | None, seed: int, what: str
) -> dict[str, list[FilePair]]:
    """Return all three splits: those that were found, and the others taken from train as `split` says.

    `what` names, for the user, what has no val or test. Raises LabError if `split` does not speak of a missing one.
    """
    if split is not None:
        _check_fractions(split)
    missing = [name for name in SPLITS if name not in found]
    if missing:
        fractions = dict(split or {})
        if any(name not in fractions for name in missing):
            example = ",".join(f"{name}:0.15" for name in missing)
            raise LabError(f"{what} for {' and '.join(missing)}: add it, or set data.split={{{example}}}")
        found = found | divide(found["train"], {name: fractions[name] for name in missing}, seed)
    return {name: found[name] for name in SPLITS}


def divide(pairs: Sequence[FilePair], fractions: Mapping[str, float], seed: int) -> dict[str, list[FilePair]]:
    """Return `pairs` divided into the named parts, rounded to whole files, and "train", which gets the rest.

    Files are drawn in the order of a hash of seed and label, so that a file added later moves hardly any
    other. Raises LabError for fractions out of range, or if a part would stay empty.
    """
    _check_fractions(fractions)
    order = sorted(pairs, key=lambda pair: sha256(f"{seed} {pair.label}".encode()).digest())
    parts = {}
    start = 0
    for name, fraction in fractions.items():
        stop = start + round(fraction * len(order))
        parts[name] = sorted(order[start:stop], key=lambda pair: pair.label)
        start = stop
    parts["train"] = sorted(order[start:], key=lambda pair: pair.label)
    for name, part in parts.items():
        if not part:
            raise LabError(f"{len(pairs)} images are too few for {dict(fractions)}: {name} would be empty; add images")
    return parts


def _check_fractions(split: Mapping[str, float]) -> None:
    strange = [name for name in split if name not in SPLITS[1:]]
    if strange:
        raise LabError(f"data.split has the key {strange[0]}: give fractions for val and test")
    if any(not 0 < fraction < 1 for fraction in split.values()) or sum(split.values()) >= 1:
        raise LabError(f"data.split={dict(split)}: the fractions must lie between 0 and 1 and leave some for training")
