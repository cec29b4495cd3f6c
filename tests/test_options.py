"""Every option of every config group composes, shows all its knobs, and builds what it names."""

from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from torch import nn

from pruning_lab import importance
from pruning_lab.checkpoint import Builder, save
from pruning_lab.common.errors import LabError
from pruning_lab.data import Augmentation, AugmentBy, Eyes, Loaders, SegmentationData
from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.validation import Validation
from pruning_lab.resources.latency import LatencyPlan, Target
from pruning_lab.resources.table import RESOURCES
from pruning_lab.selection import Floors, Selection
from pruning_lab.tasks.config import build, check_keys, fill_null, plain
from pruning_lab.training.loop import TaskLoss
from pruning_lab.training.losses import CrossEntropy
from pruning_lab.training.recovery import BaseTraining, Recovery
from tests.networks.scored import EXAMPLE, batches
from tests.networks.scored import build as network
from tests.networks.tiny import TinyNet, make_batches
from tests.paths import CONF
from tests.tasks.test_config import NEEDED, composed

PRESETS = ("experiment", "debug", "hparams_search", "launcher")
PLACED = {"optimizer": "base.optimizer", "scheduler": "base.scheduler", "promise": "validation.promise"}
"""Groups that stand inside another one -> where."""

OPTIONS = sorted(
    (path.parent.relative_to(CONF).as_posix(), path.stem)
    for path in CONF.rglob("*.yaml")
    if path.parent != CONF and path.parent.name not in PRESETS
)
FILLED_IN = {"optimizer", "total_steps", "data", "augmentation", "seed", "config", "folder", "choices"}
"""What the lab gives to a `_partial_` by itself."""

CONTRACTS: dict[str, type | tuple[type, ...]] = {
    "augmentation": (Augmentation, AugmentBy),
    "base": BaseTraining,
    "data": SegmentationData,
    "floors": Floors,
    "latency": LatencyPlan,
    "model": nn.Module,
    "recovery": Recovery,
    "selection": Selection,
    "target": Target,
    "validation": Validation,
}
"""Group -> what its options build; those of other groups build something that is called."""

NOT_CALLED = ("tracking", "distillation")
DATA_PRESETS = ("cityscapes", "coco", "eyes_few", "eyes_tested", "fields_few", "fields_tested", "voc_own")
"""They show only what they change of another option."""
NEED_FILES = ("data=cityscapes", "data=coco", "data=oxford_pet", "data=voc", "data=voc_own")


def of_group(group: str) -> list[str]:
    return [option for each, option in OPTIONS if each == group]


def place_of(group: str) -> str:
    return PLACED.get(group, group.replace("/", "."))


@cache
def _chosen(group: str, option: str) -> DictConfig:
    place = f"{group}@{PLACED[group]}" if group in PLACED else group
    config = composed(f"{place}={option}", *NEEDED.get(f"{group}={option}", []))
    check_keys(config)
    return config


def chosen(group: str, option: str) -> DictConfig:
    """A whole config with this option chosen, whose keys were checked."""
    return copy.deepcopy(_chosen(group, option))


def nodes(config: Any) -> Iterator[dict[str, Any]]:
    """All mappings with a `_target_`, at any depth, the outermost first."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield config
        for item in config.values():
            yield from nodes(item)
    elif isinstance(config, list):
        for item in config:
            yield from nodes(item)


def parameters_of(target: str) -> Mapping[str, inspect.Parameter]:
    """Those that have names of their own."""
    found = inspect.signature(get_method(target)).parameters
    return {name: each for name, each in found.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}


@cache
def finished_run() -> str:
    """A folder with a model as a run leaves it, of the network that is scored here."""
    folder = tempfile.mkdtemp()
    model = network("chain")
    save(Path(folder) / "model", model, ChannelGraph.trace(model, EXAMPLE), Builder("tests.Chain"), prove=False)
    return folder


@cache
def folder_of_images() -> str:
    """Two images with masks in each split."""
    folder = Path(tempfile.mkdtemp())
    for split in ("train", "val", "test"):
        for kind, shape in (("images", (8, 8, 3)), ("masks", (8, 8))):
            (folder / split / kind).mkdir(parents=True)
            for number in range(2):
                cv2.imwrite(str(folder / split / kind / f"{number}.png"), np.full(shape, number, dtype=np.uint8))
    return str(folder)


def ready(group: str, option: str) -> DictConfig:
    """The option's node with everything given that it needs to be built, and small where it can be."""
    config = chosen(group, option)
    node = OmegaConf.select(config, place_of(group))
    given = {
        "data=folder": {"root": folder_of_images()} if option == "folder" else {},
        "importance=function": {"path": "tests.importance.test_family.first_weights", "parameters": {"power": 2}},
        "importance=random_at_widths": {"run": finished_run() if option == "random_at_widths" else ""},
    }.get(f"{group}={option}", {})
    if group == "data" and option.startswith("eyes"):
        given = {"train": 2, "val": 1, "test": 1}
    for key, value in given.items():
        OmegaConf.update(node, key, value, force_add=True)
    if group == "model":
        fill_null(node, classes=2, in_channels=3)
    return node


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_shows_every_parameter_of_what_it_names(group: str, option: str) -> None:
    found = list(nodes(plain(OmegaConf.select(chosen(group, option), place_of(group)))))
    assert found
    # A method inside another one shows what its preset sets.
    for node in found[:1] if group == "importance" else found:
        if node["_target_"].startswith("pruning_lab."):
            hidden = parameters_of(node["_target_"]).keys() - node.keys()
            assert hidden <= (FILLED_IN if node.get("_partial_") else set())


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_builds_what_it_names(group: str, option: str) -> None:
    node = ready(group, option)
    if f"{group}={option}" in NEED_FILES:
        with pytest.raises(LabError, match=r"data\.root"):
            build(node)
        return
    made = build(node)
    if group in CONTRACTS:
        assert isinstance(made, CONTRACTS[group])
    elif group not in NOT_CALLED:
        assert callable(made)


@pytest.mark.parametrize("choice", ["stop=all", "stop=any", "promise=best_within_budget"])
def test_an_option_over_all_resources_lists_them_as_the_table_does(choice: str) -> None:
    group, _, option = choice.partition("=")
    shown = OmegaConf.select(chosen(group, option), place_of(group))
    assert [key for key in shown if key in RESOURCES] == list(RESOURCES)


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_composes_and_opens_with_its_own_command(path: Path) -> None:
    choice = f"+experiment={path.stem}"
    check_keys(composed(choice, *NEEDED.get(choice, [])))
    opening = path.read_text().splitlines()[1]
    assert opening.startswith("# python -m pruning_lab ")
    assert choice in opening


# Importance: every method scores, and every key of its own has a comment.


@pytest.mark.parametrize("option", of_group("importance"))
def test_an_importance_option_scores_however_it_is_converted(option: str) -> None:
    node = ready("importance", option)
    model = network("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    for method in (build(node), get_method("hydra.utils.instantiate")(node)):
        importance.check_scores(method(model, graph, batches(images=2)), graph, option)


@pytest.mark.parametrize("option", of_group("importance"))
def test_an_importance_option_explains_every_key_of_its_own(option: str) -> None:
    lines = (CONF / "importance" / f"{option}.yaml").read_text().splitlines()
    for key in parameters_of(chosen("importance", option).importance._target_):
        place = next(index for index, line in enumerate(lines) if line.startswith(f"{key}:"))
        assert any(line.startswith("# ") for line in lines[max(0, place - 3) : place]), key


def test_every_importance_method_has_an_option() -> None:
    options = (plain(chosen("importance", option).importance) for option in of_group("importance"))
    named = {node["_target_"].rpartition(".")[2] for option in options for node in nodes(option)}
    classes = {name for name in importance.__all__ if name[0].isupper()}
    assert classes - named == {"Batches", "FilterImportance", "Importance"}


# Data: the defaults of the options are those of the code.


@pytest.mark.parametrize("option", [option for option in of_group("data") if option not in DATA_PRESETS])
def test_a_data_option_lists_every_parameter_with_its_default(option: str) -> None:
    own = OmegaConf.load(CONF / "data" / f"{option}.yaml")
    parameters = parameters_of(own._target_)
    assert [key for key in own if key != "_target_"] == list(parameters)
    for name, parameter in parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            value = plain(own)[name]
            assert (tuple(value) if isinstance(value, list) else value) == parameter.default


def test_eyes_can_be_made_from_their_option() -> None:
    assert build(ready("data", "eyes")).fingerprint() == Eyes(train=2, val=1, test=1).fingerprint()


@pytest.mark.parametrize("option", of_group("augmentation"))
def test_an_augmentation_option_gives_valid_samples(option: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    mask = (image[..., 0] // 64).astype(np.uint8)
    change = build(ready("augmentation", option)).for_data((40, 56), 255)
    results = [change.seeded(seed)(image, mask) for seed in range(25)]
    assert all(one.shape == image.shape and other.shape == mask.shape for one, other in results)
    assert {int(value) for _, other in results for value in np.unique(other)} <= {0, 1, 2, 3, 255}
    different = len({one.tobytes() for one, _ in results})
    assert different == 1 if option == "none" else different > 15


def test_the_loader_option_is_what_loaders_take() -> None:
    parameters = inspect.signature(Loaders).parameters
    node = plain(chosen("loader", "default").loader)
    knobs = {key: value for key, value in node.items() if not key.startswith("_")}
    assert {key: parameters[key].default for key in knobs} == knobs


# Training: what stands inside another group goes with everything there.


@pytest.mark.parametrize("recovery", of_group("recovery"))
@pytest.mark.parametrize("optimizer", of_group("optimizer"))
@pytest.mark.parametrize("scheduler", of_group("scheduler"))
def test_every_recovery_heals_with_every_optimizer_and_scheduler(recovery: str, optimizer: str, scheduler: str) -> None:
    config = composed(
        f"recovery={recovery}",
        f"optimizer@recovery.optimizer={optimizer}",
        f"scheduler@recovery.scheduler={scheduler}",
        "recovery.steps=2",
    )
    made: Recovery = build(config.recovery)
    model = TinyNet()
    report = made.heal(
        model, made.new_optimizer(model), lambda epoch: make_batches(), objective=TaskLoss(CrossEntropy())
    )
    assert report.steps == 2
    assert report.learning_rate_start == config.recovery.optimizer.lr


def test_base_and_recovery_have_learning_rates_of_their_own() -> None:
    config = composed("base.optimizer.lr=0.5", "recovery.optimizer.lr=0.1")
    model = TinyNet()
    base: BaseTraining = build(config.base)
    recovery: Recovery = build(config.recovery)
    assert base.optimizer(model.parameters()).defaults["lr"] == 0.5
    assert recovery.new_optimizer(model).defaults["lr"] == 0.1


@pytest.mark.parametrize("promise", of_group("promise"))
def test_the_promise_is_chosen_within_validation(promise: str) -> None:
    validation = build(chosen("promise", promise).validation)
    assert type(validation.promise).__name__.lower() == promise.replace("_", "")
    assert validation.keep == 5


# Presets for debugging go with every model and every amount.


@pytest.mark.parametrize("preset", sorted(path.stem for path in (CONF / "debug").glob("*.yaml")))
@pytest.mark.parametrize("model", of_group("model"))
def test_a_debug_preset_goes_with_every_model(model: str, preset: str) -> None:
    config = composed(f"model={model}", f"+debug={preset}", *NEEDED.get(f"model={model}", []))
    check_keys(config)
    if preset == "limit" and model != "custom":
        known = parameters_of(config.model._target_)
        small = {"width": 8, "depth": 2, "backbone": "resnet26_narrow", "head_width": 32, "encoder": "resnet18"}
        assert {key: config.model[key] for key in known if key in small} == {k: small[k] for k in known if k in small}


@pytest.mark.parametrize("amount", of_group("selection/amount"))
def test_the_limit_preset_goes_with_every_amount(amount: str) -> None:
    config = composed(f"selection/amount={amount}", "+debug=limit")
    check_keys(config)
    assert config.selection.amount.get("share", 0.15) == 0.15


def test_what_a_preset_lets_options_lack_is_known_to_some_of_them() -> None:
    preset = OmegaConf.load(CONF / "debug" / "limit.yaml")
    for key in preset.may_lack:
        place, _, name = key.rpartition(".")
        options = [chosen(group, option) for group, option in OPTIONS if place_of(group) == place]
        targets = [OmegaConf.select(config, place)._target_ for config in options]
        assert OmegaConf.select(preset, key) is not None
        assert any(name in parameters_of(target) for target in targets), key


def test_what_stands_on_the_command_line_stands_above_the_preset() -> None:
    config = composed("+debug=limit", "model.width=5")
    check_keys(config)
    assert config.model.width == 5
