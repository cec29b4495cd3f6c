"""Every option of data, augmentation and loader fits the code, and shows all of its knobs."""

import inspect
from pathlib import Path

import hydra
import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from pruning_lab.data import Augmentation, AugmentBy, Eyes, Loaders, SegmentationData
from tests.paths import CONF


def options(group: str) -> list[Path]:
    """Options that stand on their own; a preset of another option shows only what it changes."""
    found = [path for path in sorted((CONF / group).glob("*.yaml")) if "_target_" in OmegaConf.load(path)]
    assert found
    return found


def loaded(path: Path) -> DictConfig:
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    return config


@pytest.mark.parametrize("path", options("data"), ids=lambda path: path.stem)
def test_a_data_option_lists_every_parameter_with_its_default(path):
    config = loaded(path)
    kind = hydra.utils.get_class(config._target_)
    assert issubclass(kind, SegmentationData)
    parameters = inspect.signature(kind).parameters
    assert [key for key in config if key != "_target_"] == list(parameters)
    for name, parameter in parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            value = OmegaConf.to_container(config)[name]
            assert (tuple(value) if isinstance(value, list) else value) == parameter.default


def test_eyes_can_be_made_from_their_option():
    config = OmegaConf.merge(loaded(CONF / "data" / "eyes.yaml"), {"train": 2, "val": 1, "test": 1})
    assert hydra.utils.instantiate(config).fingerprint() == Eyes(train=2, val=1, test=1).fingerprint()


@pytest.mark.parametrize("path", options("augmentation"), ids=lambda path: path.stem)
def test_an_augmentation_option_gives_valid_samples(path):
    needed = {"path": "docs.examples.augmentation.rolled"} if path.stem == "function" else {}
    augmentation = hydra.utils.instantiate(OmegaConf.merge(loaded(path), needed))
    assert isinstance(augmentation, AugmentBy if path.stem == "function" else Augmentation)
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    mask = (image[..., 0] // 64).astype(np.uint8)
    change = augmentation.for_data((40, 56), 255)
    results = [change.seeded(seed)(image, mask) for seed in range(25)]
    assert all(one.shape == image.shape and other.shape == mask.shape for one, other in results)
    assert {int(value) for _, other in results for value in np.unique(other)} <= {0, 1, 2, 3, 255}
    different = len({one.tobytes() for one, _ in results})
    assert different == 1 if path.stem == "none" else different > 15


def test_the_loader_option_is_what_loaders_take():
    config = loaded(CONF / "loader" / "default.yaml")
    parameters = inspect.signature(Loaders).parameters
    knobs = {key: value for key, value in config.items() if key not in ("_target_", "_partial_")}
    assert {key: parameters[key].default for key in knobs} == knobs
