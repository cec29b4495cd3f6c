"""How much a group matters. One contract: `(model, graph, batches) -> float tensor [n_groups]`, higher is worth more.

`batches` is an iterable of (image [N, C, H, W], mask [N, H, W]). Knows neither config, nor tracking, nor datasets.
"""

from pruning_lab.importance.ablation.ablation import Ablation
from pruning_lab.importance.activations.apoz import Apoz
from pruning_lab.importance.activations.chip import Chip
from pruning_lab.importance.activations.hrank import HRank
from pruning_lab.importance.activations.ipad import Ipad
from pruning_lab.importance.activations.mean_activation import MeanActivation
from pruning_lab.importance.activations.reconstruction import Reconstruction
from pruning_lab.importance.combined.combine import Product, RankAverage, WeightedSum
from pruning_lab.importance.combined.moving_average import MovingAverage
from pruning_lab.importance.combined.normalized import Normalized
from pruning_lab.importance.combined.per_saving import PerSaving
from pruning_lab.importance.combined.reduced import Reduced
from pruning_lab.importance.contract import Batches, FilterImportance, Importance, check_scores
from pruning_lab.importance.controls.layer_shares import LargestLayerRandom, Uniform
from pruning_lab.importance.controls.random import Random
from pruning_lab.importance.downstream import Downstream
from pruning_lab.importance.function import Function
from pruning_lab.importance.gradients.hessian import Hessian
from pruning_lab.importance.gradients.jacobian import Jacobian
from pruning_lab.importance.gradients.taylor import Taylor
from pruning_lab.importance.objective import cross_entropy, main_output
from pruning_lab.importance.scoring import score
from pruning_lab.importance.torch_pruning import TorchPruning
from pruning_lab.importance.weights.bn_scale import BnScale
from pruning_lab.importance.weights.fpgm import Fpgm
from pruning_lab.importance.weights.group_magnitude import GroupMagnitude
from pruning_lab.importance.weights.lamp import Lamp
from pruning_lab.importance.weights.weight_norm import WeightNorm

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
    "Jacobian",
    "Lamp",
    "LargestLayerRandom",
    "MeanActivation",
    "MovingAverage",
    "Normalized",
    "PerSaving",
    "Product",
    "Random",
    "RankAverage",
    "Reconstruction",
    "Reduced",
    "Taylor",
    "TorchPruning",
    "Uniform",
    "WeightNorm",
    "WeightedSum",
    "check_scores",
    "cross_entropy",
    "main_output",
    "score",
]
