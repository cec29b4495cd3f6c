"""How a network is trained: base, recovery, losses, schedules, distillation. Knows nothing of how a run goes on."""

from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.distillation import Attention, Features, Several, SoftTargets, none
from pruning_lab.training.losses import CrossEntropy, Dice, Sum, cross_entropy_dice
from pruning_lab.training.recovery import BaseTraining, Recovery
from pruning_lab.training.schedules import constant, cosine, linear

__all__ = [
    "Attention",
    "BaseTraining",
    "ComputeSettings",
    "CrossEntropy",
    "Dice",
    "Features",
    "Recovery",
    "Several",
    "SoftTargets",
    "Sum",
    "constant",
    "cosine",
    "cross_entropy_dice",
    "linear",
    "none",
]
