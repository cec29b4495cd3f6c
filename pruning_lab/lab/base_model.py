"""The base of a run: its hash, and the trained network, kept from before or trained now."""

from __future__ import annotations

import torch
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.step import progress, training_costs
from pruning_lab.training.bases import base_hash, code_version, load_or_train
from pruning_lab.training.compute import seed_everything


def hash_of_base(lab: Experiment) -> str:
    """What the base of this experiment is known by, whether it has been trained yet or not."""
    code = code_version(lab.loss, lab.build_model())
    facts = {"data": lab.data.fingerprint(), "code": code, "torch": torch.__version__}
    return base_hash({**lab.base_recipe, **facts})


def trained_base(lab: Experiment) -> tuple[str, nn.Module]:
    """The base's hash, and the base on the CPU: one that was kept, or trained now."""
    loaders = lab.loaders(lab.base.seed)
    digest = hash_of_base(lab)

    def build() -> nn.Module:
        seed_everything(lab.base.seed)
        model = lab.build_model()
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise LabError(f"model {type(model).__name__} has no weights to train or to cut; choose another")
        return model

    def train(model: nn.Module) -> dict[str, float]:
        with lab.reporter.task("base", lab.base.total_steps(len(loaders.train_loader(0)))) as task:
            report = lab.base.train(
                model, loaders.train_loader, loss=lab.loss, settings=lab.settings, on_batch=progress(task)
            )
        return training_costs(report)

    model, info, kept = load_or_train(lab.bases if lab.base.reuse else None, digest, build, train)
    seconds = info["cost/recovery_seconds"]
    lab.reporter.say(f"base {digest}: {'kept from before' if kept else f'trained in {seconds:.0f} s'}")
    return digest, model.cpu()
