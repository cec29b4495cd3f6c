"""Trained bases on disk, each under a hash of all that made it: runs compared start from the same one.

Must not know the config or the data: it is told what made a base and how to make it.
"""

import hashlib
import inspect
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import disk_trouble, is_full, replacing, write_atomically

_log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
_MAKES_A_BASE = ("data/", "models/", "training/", "surgery/unused.py")
_LEAVES_A_BASE_ALONE = tuple(
    f"training/{name}.py" for name in ("bases", "distillation", "drafts", "progress", "saved_files", "threads")
)


def base_hash(parts: dict[str, Any]) -> str:
    """16 hex digits that stand for `parts`, whatever the order of its keys.

    Args:
        parts: plain data (dicts with string keys, lists, strings, numbers, None) that together determine the
            base.

    Raises TypeError for anything else, because the text of an arbitrary object need not be the same twice.
    """
    return hashlib.sha256(_canonical(parts).encode()).hexdigest()[:16]


def code_version(*objects: object) -> str:
    """16 hex digits of the source that makes a base: the lab's own data, models and training, and more.

    Args:
        objects: a user's own model, loss and so on, whose source files are then covered too; what was typed
            into an interpreter or a notebook has none, and is not covered.
    """
    own = {path.relative_to(_PACKAGE).as_posix(): path for path in sorted(_PACKAGE.rglob("*.py"))}
    named = {
        name: path for name, path in own.items() if name.startswith(_MAKES_A_BASE) and name not in _LEAVES_A_BASE_ALONE
    }
    for thing in objects:
        kind = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
        path = _source_file(kind)
        if path is not None:
            named[f"{kind.__module__}.{kind.__qualname__}"] = path
    return base_hash({name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in named.items()})


def load_or_train(
    bases: Path | None,
    digest: str,
    build: Callable[[], nn.Module],
    train: Callable[[nn.Module], dict[str, Any]],
) -> tuple[nn.Module, dict[str, Any], bool]:
    """The trained base: the kept one where there is one, else trained now and kept.

    However many processes ask for the same base at once, one trains it and the others wait. What comes back
    was read from disk in either case, so that a run can't tell whether it trained its base itself. Drafts,
    `.DIGEST.*` in the folder, leave when the base is there.

    A trained base that can't be written, as on a full disk, is not lost: a warning is logged, and it comes back.

    Args:
        bases: folder of all kept bases; None trains without keeping.
        digest: `base_hash` of everything that makes this base.
        build: makes the untrained model.
        train: trains it in place and returns what is worth knowing about that, as plain data.

    Returns:
        The model (on the CPU when it was kept), what `train` returned, and whether it was kept before.

    Raises LabError when the folder can't be written.
    """
    if bases is None:
        model = build()
        return model, train(model), False
    entry = bases / digest
    try:
        bases.mkdir(parents=True, exist_ok=True)
        lock = FileLock(bases / f"{digest}.lock")
        lock.acquire()
    except OSError as problem:
        mend = "make room there" if is_full(problem) else "give another folder"
        raise LabError(
            f"bases={bases} can't be written ({problem.strerror}): {mend}, or set base.reuse=false"
        ) from None
    try:
        found = _read(entry, digest, build)
        if found is not None:
            _sweep_drafts(bases, digest)
            return *found, True
        model = build()
        told = train(model)
        try:
            _write(entry, digest, model, told)
        except OSError as problem:
            _log.warning("The base is not kept, and the run goes on with it: %s.", disk_trouble(problem, bases))
            return model, told, False
        stored = _read(entry, digest, build)
        _sweep_drafts(bases, digest)
    finally:
        lock.release()
    if stored is None:
        raise LabError(f"the base written to {entry} can't be read back: check that disk, or set base.reuse=false")
    return *stored, False


def kept_base(bases: Path, digest: str, build: Callable[[], nn.Module]) -> nn.Module | None:
    """The kept base of this hash, on the CPU; None where there is none that can be used."""
    found = _read(bases / digest, digest, build)
    return None if found is None else found[0]


def _source_file(kind: type | FunctionType) -> Path | None:
    """None for what has no file: built-in types, and classes typed into an interpreter."""
    try:
        path = inspect.getsourcefile(kind)
    except (TypeError, OSError):
        return None
    return Path(path) if path and Path(path).is_file() else None


def _read(entry: Path, digest: str, build: Callable[[], nn.Module]) -> tuple[nn.Module, dict[str, Any]] | None:
    """Model and info of an entry; None when there is none, or, with a warning, when it is damaged."""
    if not entry.exists():
        return None
    weights = entry / "weights.safetensors"
    model = build()
    try:
        card = json.loads((entry / "base.json").read_text())
        if card["base_hash"] != digest or card["weights_sha256"] != _file_hash(weights):
            raise ValueError("its hash does not match")
        load_model(model, weights)
        return model, card["info"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as problem:
        _log.warning("The kept base %s is damaged (%s); it is trained anew.", entry, problem)
        return None


def _write(entry: Path, digest: str, model: nn.Module, info: dict[str, Any]) -> None:
    """Stores an entry whole or not at all, in place of a damaged one."""
    draft = Path(tempfile.mkdtemp(prefix=f".{digest}.", dir=entry.parent))
    try:
        weights = draft / "weights.safetensors"
        with replacing(weights) as file:
            save_model(model, str(file))
        card = {"base_hash": digest, "weights_sha256": _file_hash(weights), "info": info}
        write_atomically(draft / "base.json", json.dumps(card, indent=2) + "\n")
        if entry.exists():
            shutil.rmtree(entry)
        os.replace(draft, entry)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sweep_drafts(bases: Path, digest: str) -> None:
    for draft in bases.glob(f".{digest}.*"):
        shutil.rmtree(draft, ignore_errors=True)


def _canonical(parts: dict[str, Any]) -> str:
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
