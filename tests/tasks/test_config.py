"""Keys and values of a config: every misspelt key is named."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.config import check_keys, conf_folder, fill_null, flat_parameters, register_schema

CONF = conf_folder()
NEEDED = {
    "augmentation=function": ["augmentation.path=docs.examples.augmentation.rolled"],
    "data=cityscapes": ["data.root=x"],
    "data=coco": ["data.root=x"],
    "data=folder": ["data.root=x"],
    "data=oxford_pet": ["data.root=x"],
    "data=voc": ["data.root=x"],
    "data=voc_own": ["data.root=x"],
    "model=custom": ["model._target_=torch.nn.Identity"],
    "importance=function": ["importance.path=a.b"],
    "importance=random_at_widths": ["importance.run=x"],
    "task=scratch": ["task.run=x"],
    "task=flat": ["task.run=x"],
    "task=upload": ["task.runs=x"],
    "+experiment=importance_study_nuclei": ["data.root=x"],
    "+experiment=healing_study_nuclei": ["data.root=x"],
    "+experiment=latency_study_nuclei": ["data.root=x"],
    "task=train_longer": ["task.run=x"],
    "task=resume": ["task.run=x"],
    "task=report": ["task.runs=x"],
    "task=predict": ["task.run=x", "task.images=x"],
    "task=evaluate": ["task.run=x"],
    "task=export": ["task.run=x"],
}


def composed(*overrides: str) -> DictConfig:
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


@pytest.mark.parametrize("override", ["seeed=1", "importance.omga=0.3", "recovery.optimizer.lrr=1"])
def test_a_misspelt_key_on_the_command_line_is_named(override: str) -> None:
    with pytest.raises(ConfigCompositionException) as caught:
        composed(override)
    assert override.partition("=")[0].rpartition(".")[2] in str(caught.value) + str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("importance.omga", 0.3, "importance.omga is not a parameter.*did you mean importance.omega"),
        ("recovery.optimizer.learning", 1, "recovery.optimizer.learning"),
        ("selection.amount.shares", 1, "did you mean selection.amount.share"),
        ("importance._target_", "pruning_lab.importance.Nothing", "importance._target_"),
        ("importance._target_", "???", "importance._target_ is not set"),
    ],
)
def test_a_misspelt_key_inside_a_yaml_is_named(path: str, value: object, told: str) -> None:
    config = composed()
    OmegaConf.update(config, path, value, force_add=True)
    with pytest.raises(LabError, match=told) as caught:
        check_keys(config)
    assert "\n" not in str(caught.value)


def test_a_value_that_has_to_be_given_is_asked_for() -> None:
    with pytest.raises(LabError, match=r"data\.root is not set"):
        check_keys(composed("data=folder"))


def test_a_missing_argument_of_a_users_own_class_is_named() -> None:
    config = composed("model=custom", "model._target_=torch.nn.Conv2d")
    with pytest.raises(LabError, match=r"model\.in_channels is missing"):
        check_keys(config)


def test_a_misspelt_top_level_key_in_an_experiment_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nsede: 3\n")
    with pytest.raises(ConfigCompositionException, match="sede"):
        composed(f"hydra.searchpath=[file://{tmp_path}]", "+experiment=mine")


def test_null_is_filled_in_and_what_is_set_stays() -> None:
    node = OmegaConf.create({"classes": None, "in_channels": 1})
    fill_null(node, classes=4, in_channels=3, other=1)
    assert node == {"classes": 4, "in_channels": 1}


def test_parameters_are_short_and_grouped() -> None:
    chosen = {"importance": "l1", "optimizer@base.optimizer": "adamw", "selection/amount": "share_of_flops"}
    flat = flat_parameters(composed("importance=l1"), chosen)
    assert flat["importance"] == "l1"
    assert flat["selection.amount"] == "share_of_flops"
    assert flat["base.optimizer"] == "adamw"
    assert flat["importance.p"] == 1
    assert flat["stop"] == "pruning_lab.selection.All"
    assert not any("_target_" in name or "_partial_" in name for name in flat)
