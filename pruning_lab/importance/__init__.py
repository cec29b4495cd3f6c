"""How much a group matters. One contract: `(model, graph, batches) -> float tensor [n_groups]`, higher is worth more.

`batches` is an iterable of (image [N, C, H, W], mask [N, H, W]). Knows neither config, nor tracking, nor datasets.
"""

from pruning_lab.importance.ablation import Ablation
from pruning_lab.importance.apoz import Apoz
from pruning_lab.importance.at_widths import random_at_widths
from pruning_lab.importance.bn_scale import BnScale
from pruning_lab.importance.chip import Chip
from pruning_lab.importance.combine import Product, RankAverage, WeightedSum
from pruning_lab.importance.downstream import Downstream
from pruning_lab.importance.fpgm import Fpgm
from pruning_lab.importance.function import Function
from pruning_lab.importance.group_magnitude import GroupMagnitude
from pruning_lab.importance.hessian import Hessian
from pruning_lab.importance.hrank import HRank
from pruning_lab.importance.ipad import Ipad
from pruning_lab.importance.lamp import Lamp
from pruning_lab.importance.mean_activation import MeanActivation
from pruning_lab.importance.moving_average import MovingAverage
from pruning_lab.importance.normalized import Normalized
from pruning_lab.importance.objective import cross_entropy, main_output
from pruning_lab.importance.per_saving import PerSaving
from pruning_lab.importance.random import Random
from pruning_lab.importance.reduced import Reduced
from pruning_lab.importance.scoring import Batches, FilterImportance, Importance, check_scores
from pruning_lab.importance.shares import LargestLayerRandom, Uniform
from pruning_lab.importance.taylor import Taylor
from pruning_lab.importance.torch_pruning import TorchPruning
from pruning_lab.importance.weight_norm import WeightNorm

__all__ = [
    "Ablation",
    "Apoz",
    "Batches",
    "BnScale",
    "Chip",
    "Downstream",
    "FilterImportance",
    "Fpgm",
    "Function",
    "GroupMagnitude",
    "HRank",
    "Hessian",
    "Importance",
    "Ipad",
    "Lamp",
    "LargestLayerRandom",
    "MeanActivation",
    "MovingAverage",
    "Normalized",
    "PerSaving",
    "Product",
    "Random",
    "RankAverage",
    "Reduced",
    "Taylor",
    "TorchPruning",
    "Uniform",
    "WeightNorm",
    "WeightedSum",
    "check_scores",
    "cross_entropy",
    "main_output",
    "random_at_widths",
]
