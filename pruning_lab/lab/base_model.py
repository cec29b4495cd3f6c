"""The base of a run: its hash, and the trained network, kept from before or trained now."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.base_losses import by_epoch, write_losses
from pruning_lab.lab.start import TRAINING
from pruning_lab.lab.step import progress, training_costs
from pruning_lab.training.bases import base_hash, code_version, load_or_train
from pruning_lab.training.compute import seed_everything
from pruning_lab.training.drafts import TrainingDraft


def hash_of_base(lab: Experiment) -> str:
    """What the base of this experiment is known by, whether it has been trained yet or not."""
    code = code_version(lab.training.loss, lab.model.build())
    facts = {"data": lab.data.dataset.fingerprint(), "code": code, "torch": torch.__version__}
    return base_hash({**lab.training.base_recipe, **facts})


def trained_base(lab: Experiment) -> tuple[str, nn.Module]:
    """The base's hash, and the base on the CPU: one that was kept, or trained now.

    The mean loss of each epoch of its training goes into the run's folder.
    """
    training, reporter = lab.training, lab.output.reporter
    batches = lab.data.loaders(training.base.seed).train_loader
    digest = hash_of_base(lab)

    def build() -> nn.Module:
        seed_everything(training.base.seed)
        model = lab.model.build()
        check_weights(model)
        return model

    bases = training.bases if training.base.reuse else None
    draft = TrainingDraft((bases or lab.output.folder) / f".{digest}{TRAINING}", training.save_every)

    def train(model: nn.Module) -> dict[str, Any]:
        with reporter.task("base", training.base.total_steps(len(batches(0)))) as task:
            report = training.base.train(
                model, batches, loss=training.loss, settings=training.settings, on_batch=progress(task), draft=draft
            )
        return {**training_costs(report), "losses": by_epoch(report.losses, len(batches(0)))}

    model, info, kept = load_or_train(bases, digest, build, train)
    seconds = info["cost/recovery_seconds"]
    if losses := info.get("losses"):
        write_losses(lab.output.folder, losses)
    reporter.say(f"base {digest}: {'kept from before' if kept else f'trained in {seconds:.0f} s'}")
    return digest, model.cpu()


def check_weights(model: nn.Module) -> None:
    """Raises LabError for a model that has nothing to train or to cut."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise LabError(f"model {type(model).__name__} has no weights to train or to cut; choose another")
