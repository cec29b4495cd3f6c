import inspect
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_method, instantiate
from omegaconf import OmegaConf

from pruning_lab.training.loop import TaskLoss
from pruning_lab.training.losses import CrossEntropy
from pruning_lab.training.recovery import BaseTraining, Recovery
from tests.networks.tiny import TinyNet, make_batches
from tests.paths import CONF

GROUPS = ("model", "loss", "optimizer", "scheduler", "recovery", "base", "validation", "promise")
OPTIONS = [
    f"{group}={path.stem}"
    for group in GROUPS
    for path in sorted((CONF / group).glob("*.yaml"))
    if (group, path.stem) != ("model", "custom")
]


def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose(overrides=list(overrides)))


def nodes(config: Any) -> list[dict[str, Any]]:
    """All parts of a config that name a target."""
    if not isinstance(config, dict):
        return []
    here = [config] if "_target_" in config else []
    return here + [node for value in config.values() for node in nodes(value)]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_key_of_an_option_is_a_parameter_of_its_target_and_every_parameter_a_key(option: str) -> None:
    found = nodes(composed(f"+{option}"))
    assert found
    for node in found:
        keys = {key for key in node if not key.startswith("_")}
        parameters = set(inspect.signature(get_method(node["_target_"])).parameters)
        assert keys <= parameters
        if node["_target_"].startswith("pruning_lab."):
            assert parameters - keys <= {"optimizer", "total_steps"}


@pytest.mark.parametrize("recovery", ["default", "none", "long"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("scheduler", ["constant", "linear", "cosine"])
def test_every_recovery_heals_with_every_optimizer_and_scheduler(recovery: str, optimizer: str, scheduler: str) -> None:
    config = composed(
        f"+recovery={recovery}",
        f"optimizer@recovery.optimizer={optimizer}",
        f"scheduler@recovery.scheduler={scheduler}",
        "recovery.steps=2",
    )
    made: Recovery = instantiate(config["recovery"], _convert_="all")
    model = TinyNet()
    report = made.heal(
        model, made.new_optimizer(model), lambda epoch: make_batches(), objective=TaskLoss(CrossEntropy())
    )
    assert report.steps == 2
    assert report.learning_rate_start == config["recovery"]["optimizer"]["lr"]


def test_base_and_recovery_have_learning_rates_of_their_own() -> None:
    config = composed("+recovery=default", "+base=default", "base.optimizer.lr=0.5", "recovery.optimizer.lr=0.1")
    model = TinyNet()
    base: BaseTraining = instantiate(config["base"], _convert_="all")
    recovery: Recovery = instantiate(config["recovery"], _convert_="all")
    assert base.optimizer(model.parameters()).defaults["lr"] == 0.5
    assert recovery.new_optimizer(model).defaults["lr"] == 0.1


@pytest.mark.parametrize("promise", ["best_within_budget", "metric_minus_price", "last"])
def test_the_promise_is_chosen_within_validation(promise: str) -> None:
    config = composed("+validation=default", f"promise@validation.promise={promise}")
    validation = instantiate(config["validation"], _convert_="all")
    assert type(validation.promise).__name__.lower() == promise.replace("_", "")
    assert validation.keep == 5
