"""The channel graph: groups of filters that leave together, their consumers, and what every tensor has of them.

The door of the folder: it reads a model's channels and proves by trial cuts that they can be cut. What there is to ask
of a graph is in `structure.channels`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from torch import Tensor, nn

from pruning_lab.common.modules import check_has_values
from pruning_lab.graph.build import Reading, read_graph
from pruning_lab.graph.proof.larger_images import holds_when_larger
from pruning_lab.graph.proof.trial_cuts import freeze_guilty
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.graph.tracing.recording import Inputs, as_inputs


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python's search for cycles takes a third of the time where many small objects are made, and finds nothing."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _proved(model: nn.Module, channels: Channels, reading: Reading, inputs: tuple[Tensor, ...]) -> Channels:
    """What trials leave of a reading; where a view splits channels, of the better of two."""
    proved = freeze_guilty(model, channels, reading, inputs)
    if channels.structure.split == 1:
        return proved
    plain, plainly = read_graph(model, inputs, split=1, before=reading)
    tried = plain.cuttable() >= proved.cuttable()
    if tried:  # it looked worse before either was tried
        plain = freeze_guilty(model, plain, plainly, inputs)
    if plain.cuttable() < proved.cuttable() and holds_when_larger(model, channels, inputs):
        return proved
    return plain if tried else freeze_guilty(model, plain, plainly, inputs)


@dataclass
class ChannelGraph(Channels):
    """Groups, layers and consumers of a model, as it is now and as it was when it was traced; see `Channels`."""

    @staticmethod
    def trace(
        model: nn.Module, example_input: Inputs, prove: bool = True, connections: Connections | None = None
    ) -> ChannelGraph:
        """Read the channel graph of a model. The model is not changed.

        Args:
            model: any module that runs without gradients.
            example_input: tensor [N, C, ...] or tuple of tensors, on the model's device. Resource counts are for
                this input, so give it one image for costs per image.
            prove: where the model's own code may hold a number of channels, try cuts on a copy, and freeze the
                groups that can't be cut.
            connections: (layer, filter, consumer layer) -> input channel, or several, or None; in the indices that
                the model has now. It overrides what is found for the layers that it answers for. For a model that
                can't be recorded it is the whole graph, and is asked about normalizations as well, where these do
                not follow their layer directly.

        Raises:
            TraceError: the model does not run; the message says why.
            LabError: connections name a channel that there is not, or a cut along them is not exact; or the model has
                no values, as on the meta device.
        """

        check_has_values(model)
        inputs = as_inputs(example_input)
        with _without_collector():
            channels, reading = read_graph(model, inputs, connections)
            if prove:
                channels = _proved(model, channels, reading, inputs)
        return ChannelGraph(**{part.name: getattr(channels, part.name) for part in fields(Channels)})
