"""Channels in unequal chunks, as shifted MLPs have them: a cut must leave every chunk where it began."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from tests.graph.helpers import cut_against_masked, draw
from tests.networks.parts import conv

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Shifted(nn.Module):
    """Each chunk of the channels is shifted by another number of pixels."""

    def __init__(self, width: int, chunks: int) -> None:
        super().__init__()
        self.first, self.last, self.chunks = conv(3, width), conv(width, 2), chunks

    def forward(self, image: Tensor) -> Tensor:
        parts = torch.chunk(self.first(image), self.chunks, dim=1)
        assert len(parts) == self.chunks
        return self.last(torch.cat([part.roll(by, 2) for by, part in enumerate(parts)], 1))


@pytest.mark.parametrize(("width", "chunks"), [(32, 5), (14, 3), (9, 2)])
def test_what_lies_at_one_place_of_all_chunks_leaves_together(width: int, chunks: int) -> None:
    model = Shifted(width, chunks).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    length = -(-width // chunks)
    assert graph.group(1).filters == [("first", index) for index in range(1, width, length)]
    assert graph.prunable[graph.layers["first"]].sum() == width - chunks
    for seed in range(5):
        assert cut_against_masked(model, graph, draw(graph, seed, fraction=0.8), (IMAGE,)) < 1e-5


def test_every_chunk_keeps_a_channel() -> None:
    model = Shifted(32, 5).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    assert "keeps a channel for the last of its unequal parts" in graph.frozen["first"]
    cut(model, graph, graph.prunable)
    assert len(graph.layers["first"]) == 5
    assert model(IMAGE).shape == (2, 2, 8, 8)
