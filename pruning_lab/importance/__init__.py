"""How much a group matters. One contract: `(model, graph, batches) -> float tensor [n_groups]`, higher is worth more.

`batches` is an iterable of (image [N, C, H, W], mask [N, H, W]). Knows neither config, nor tracking, nor datasets.
"""

from pruning_lab.importance.function import Function
from pruning_lab.importance.ipad import Ipad
from pruning_lab.importance.random import Random
from pruning_lab.importance.scoring import Batches, Importance, check_scores
from pruning_lab.importance.weight_norm import WeightNorm

__all__ = ["Batches", "Function", "Importance", "Ipad", "Random", "WeightNorm", "check_scores"]
