"""`task=upload`: sends what a tracking store has missed of runs, from their folders. Knows no store."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pruning_lab.common.claims import HeldError, claimed
from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.journal import FOLDER, Journal
from pruning_lab.lab.output.mlflow import Uploaded, summarize
from pruning_lab.lab.output.mlflow import upload as send
from pruning_lab.lab.output.mlflow.store import address_of
from pruning_lab.lab.output.run_folder import read_config
from pruning_lab.lab.output.sweep_record import from_plain

NOT_SEARCHED = {"mlartifacts", "bases"}
"""Folders beside the runs: copies for the tracking store, and trained bases."""


def upload(config: DictConfig, folder: Path, choices: Mapping[str, Any], runs: str | list[str]) -> None:
    """Send what the tracking store has missed of runs that no process holds, and mark those that were killed.

    Args:
        runs: a folder, a pattern of folders, or a list of these; runs are looked for at and below them.

    Raises:
        LabError: there is no such folder, none has a record for a tracking store, or the store can't be used.
    """
    places = [runs] if isinstance(runs, str) else list(runs)
    found = list(tracked_folders(places))
    if not found:
        raise LabError(
            f"task.runs: no run with a record for a tracking store at or below {', '.join(places)}; give folders of "
            "runs that were not made with tracking=none"
        )
    given, news = config.tracking.get("uri"), 0
    for place in found:
        for line in _upload_all_of(place, given):
            news += 1
            print(f"{place}: {line}", flush=True)
    for journal in _one_of_each_sweep(found):
        if summarize(journal, uri_of(journal, given)):
            news += 1
            print(f"the sweep of {journal.run_folder}: its summary is up to date now", flush=True)
    print(f"{len(found)} folders looked through" + ("" if news else "; the store has everything"))


def tracked_folders(places: Sequence[str]) -> Iterator[Path]:
    """Folders of runs that hold a record for a tracking store.

    Raises:
        LabError: a place does not exist.
    """
    seen: set[Path] = set()
    for place in places:
        tops = sorted(glob.glob(os.path.expanduser(place), recursive=True))
        if not tops:
            raise LabError(f"task.runs={place}: there is no such folder; give the folder of a sweep, or of a run")
        for top in tops:
            for where, folders, _ in os.walk(top):
                folders[:] = sorted(name for name in folders if name not in NOT_SEARCHED)
                folder = Path(where).resolve()
                if folder not in seen and any((folder / FOLDER).glob("[0-9]*.jsonl")):
                    seen.add(folder)
                    yield folder


def _upload_all_of(place: Path, uri: str | None) -> Iterator[str]:
    """Upload every run that worked in a folder; a line for each that was not complete."""
    try:
        with claimed(place):
            for journal in Journal.all_of(place):
                done = send(journal, uri_of(journal, uri))
                if not done.nothing:
                    yield _told(done)
    except HeldError:
        yield "still at work, and sends its own"


def uri_of(journal: Journal, given: str | None) -> str:
    """The whole address of the store that a run goes to: the one that is given, or its own.

    Raises:
        LabError: its own had a password, and its config, which told it, is gone.
    """
    if given is None:
        try:
            tracking = read_config(journal.run_folder / "config.yaml").get("tracking")
        except LabError:
            tracking = None
        given = tracking.get("uri") if isinstance(tracking, Mapping) else None
    if given is None:
        given = str(journal.about["address"])
        if ":***@" in given:
            raise LabError(f"{journal.run_folder} tells no password for {given}; give tracking.uri=...")
    return address_of(given, Path(journal.about["root"]))


def _one_of_each_sweep(folders: Sequence[Path]) -> list[Journal]:
    """A journal of one job for every sweep that has jobs in these folders."""
    chosen: dict[tuple[Path, str], Journal] = {}
    for folder in folders:
        for journal in Journal.all_of(folder):
            if sweep := from_plain(journal.about["sweep"], folder):
                chosen[sweep.folder, journal.about["address"]] = journal
    return list(chosen.values())


def _told(done: Uploaded) -> str:
    parts = ["was killed, and is marked so"] if done.mended else []
    parts += [f"{done.entries} entries sent"] if done.entries else []
    parts += [f"not taken: {reason}" for reason in done.refused]
    return "; ".join(parts)
