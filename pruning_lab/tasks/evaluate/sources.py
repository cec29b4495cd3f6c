"""What is evaluated on what: the data of a run or a folder of other files, and the run's base. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from pruning_lab.checkpoint.folder import load, original
from pruning_lab.checkpoint.trust import Trust
from pruning_lab.common.errors import LabError
from pruning_lab.data import SegmentationData
from pruning_lab.data.files import FileSplit
from pruning_lab.data.layouts.folders import find_pairs
from pruning_lab.data.masks import MaskRules, colors_table
from pruning_lab.data.survey import survey
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder
from pruning_lab.lab.output.card import read_cards
from pruning_lab.lab.output.run_folder import read_config
from pruning_lab.lab.validation import Metric
from pruning_lab.tasks.config import build, plain
from pruning_lab.tasks.image_search import reading_of
from pruning_lab.training.bases import kept_base

NAMES = ("images", "masks", "image_suffix", "mask_suffix")
RULES = ("ignore_index", "mask_values", "mask_colors", "mask_nearest")
READING = ("channels", "pages", "orientation", "megapixels", "axis")


def config_of(run: Path) -> DictConfig:
    """The config that a run left in its folder. Raises LabError where there is none."""
    config = OmegaConf.create(dict(read_config(run / "config.yaml")))
    for key in ("data", "loader", "model", "precision", "channels_last"):
        if key not in config:
            raise LabError(f"{run / 'config.yaml'} has no {key}; give the folder of a finished run")
    return config


def metrics_of(own: DictConfig, config: DictConfig) -> dict[str, Metric]:
    """Metrics of the user's own by name: those of the run, and this command's, which count where both have one."""
    found: dict[str, Metric] = {}
    for each in (own, config):
        node = OmegaConf.select(each, "validation.metrics")
        found |= build(node) if node else {}
    return found


def data_of_run(config: DictConfig, facts: InputFacts) -> SegmentationData:
    """The run's own data, normalized as its model was trained."""
    data: SegmentationData = build(config.data)
    own = {field.name: getattr(data, field.name) for field in fields(SegmentationData)}
    return SegmentationData(**{**own, "mean": facts.mean, "std": facts.std})


def data_in_folder(
    root: Path, data: Mapping[str, Any], changes: Mapping[str, Any], facts: InputFacts
) -> SegmentationData:
    """The images and masks of a folder, read, scaled and resized as the run's data; all three splits are these.

    Args:
        root: holds a folder of images and one of masks.
        data: the group `data` of the run's config.
        changes: keys in which this folder differs from it; those that are None do not count.

    Raises:
        LabError: a key is unknown, or a file is missing or wrong.
    """
    if facts.size is None or not facts.class_names:
        raise LabError("the run's model tells no input size or class names; give the folder of a finished run")
    unknown = sorted(set(changes) - {*NAMES, *RULES, *READING})
    if unknown:
        raise LabError(f"task.reading.{unknown[0]} is not one of {', '.join((*NAMES, *RULES, *READING))}")
    told = {key: value for given in (data, changes) for key, value in given.items() if value is not None}
    chosen = {key: told[key] for key in (*RULES, *READING) if key in told}
    chosen.setdefault("ignore_index", facts.ignore_index)
    if not root.is_dir():
        raise LabError(f"task.root={root} is no folder: give one that holds images/ and masks/")
    names = {key: told[key] for key in NAMES if key in told}
    values = chosen.get("mask_values")
    rules = MaskRules(
        len(facts.class_names),
        chosen["ignore_index"],
        None if values is None else {int(key): int(value) for key, value in values.items()},
        colors_table(chosen.get("mask_colors")),
        chosen.get("mask_nearest", False),
    )
    reading = reading_of({"channels": len(facts.mean), **{key: chosen[key] for key in READING if key in chosen}})
    # Of the folder's own values no scale is taken: "type" reads none.
    found = survey({"train": find_pairs(root, root, **names)}, replace(reading, scale="type"))
    pairs = found.pairs["train"]
    headers = [found.headers[pair.image] for pair in pairs]
    split = FileSplit(pairs, headers, facts.size, replace(found.how, scale=facts.scale), rules)
    return SegmentationData(
        name=root.resolve().name,
        class_names=facts.class_names,
        ignore_index=rules.ignore_index,
        train=split,
        val=split,
        test=split,
        mean=facts.mean,
        std=facts.std,
        identity=str(root),
        channels=len(facts.mean),
        scale=facts.scale,
    )


def base_of(run: Path, model: Path, config: DictConfig, bases: str, trust: Trust) -> nn.Module | None:
    """The trained base of a run; None where neither its own folder of bases nor this one has it.

    Args:
        run, model: the folders of the run and of its model.
        config: the run's.
        bases: this command's folder of bases.
    """
    digest = read_cards(run).base_hash
    for folder in dict.fromkeys((Path(config.get("bases", bases)), Path(bases))):
        found = kept_base(folder, digest, lambda: original(model, trust))
        if found is not None:
            return found
    return None


def model_of_run(run: Path, kept: Path | None = None, trust: bool = False) -> nn.Module:
    """The model of a run's folder, or another one that it keeps. Raises LabError where it can't be loaded."""
    return load(kept or checkpoint_folder(run), trusted(config_of(run), trust))


def base_of_run(run: Path, bases: str, trust: bool = False) -> nn.Module | None:
    """The trained base of a run's folder, see `base_of`."""
    config = config_of(run)
    return base_of(run, checkpoint_folder(run), config, bases, trusted(config, trust))


def trusted(config: DictConfig, trust: bool) -> Trust:
    """The run's config builds its data and loader, so that its model's package may be used as well."""
    return trust or (str(plain(config.model)["_target_"]).partition(".")[0],)
