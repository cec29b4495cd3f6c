"""An importance method of one's own, as a function and as a class."""

from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Batches, FilterImportance
from pruning_lab.importance.contract import FilterScores, to_groups
from pruning_lab.importance.weights.kernels import filter_weights


def spread(model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
    """Standard deviation of a filter's weights; the mean over the filters of a group: float [n_groups]."""
    by_layer = {layer: kernels.flatten(1).std(1) for layer, kernels in filter_weights(model, graph).items()}
    return to_groups(graph, by_layer)


class Spread(FilterImportance):
    """The same with an option. It scores filters, and leaves it to `Reduced` how a group's filters become one score."""

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def by_filter(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        """Layer name -> float [filters]."""
        weights = filter_weights(model, graph)
        return {layer: kernels.flatten(1).std(1) ** self.power for layer, kernels in weights.items()}
