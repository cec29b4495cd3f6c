"""Cutting a live model: what remains is what was there, bit for bit, in the model, its gradients and the optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pruning_lab.common.copies import copy_of
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut, cut_shapes
from pruning_lab.graph.cutting.mask import mask
from pruning_lab.graph.cutting.module_sizes import fit_attributes
from tests.graph.helpers import draw
from tests.networks.constructs import make


def kept(graph: ChannelGraph, removed: Tensor, name: str, tensor: Tensor) -> Tensor:
    """What must be left of a tensor, by boolean indexing of one dimension after the other."""
    for dim, row in graph.tensors[name].axes.items():
        stays = torch.tensor([index < 0 or not bool(removed[index]) for index in row.tolist()])
        tensor = tensor.movedim(dim, 0)[stays].movedim(0, dim)
    return tensor


def trained(name: str, optimizer: Callable[..., torch.optim.Optimizer], channels_last: bool = False):
    """A network after two steps of training, its graph, its optimizer and its inputs."""
    model, inputs = make(name)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        inputs = tuple(item.to(memory_format=torch.channels_last) for item in inputs)
    graph = ChannelGraph.trace(model, inputs)
    made = optimizer(model.parameters())
    for _ in range(2):
        made.zero_grad()
        model.train()(*inputs).square().mean().backward()
        made.step()
    return model.eval(), graph, made, inputs


OPTIMIZERS = {
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
    "amsgrad": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, amsgrad=True),
    "sgd with momentum": lambda parameters: torch.optim.SGD(parameters, lr=1e-2, momentum=0.9),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=1e-3, momentum=0.9, centered=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["residual", "transposed", "shared convolution", "depthwise multiplier 2"])
def test_all_that_remains_is_carried_over_bit_for_bit(name: str, channels_last: bool, optimizer: str) -> None:
    model, graph, made, _ = trained(name, OPTIMIZERS[optimizer], channels_last)
    removed = draw(graph, 3)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    gradients = {key: value.grad.clone() for key, value in model.named_parameters()}
    moments = {key: copy.deepcopy(made.state[value]) for key, value in model.named_parameters()}
    before = copy.copy(graph)
    cut(model, graph, removed, made)
    for key, value in [*model.named_parameters(), *model.named_buffers()]:
        assert torch.equal(value, kept(before, removed, key, state[key])), key
    for key, value in model.named_parameters():
        assert torch.equal(value.grad, kept(before, removed, key, gradients[key])), key
        for slot, item in made.state[value].items():
            expected = moments[key][slot]
            if isinstance(item, Tensor) and item.dim():
                expected = kept(before, removed, key, expected)
                assert item.is_contiguous(memory_format=memory_format(value, channels_last)), key
            assert torch.equal(torch.as_tensor(item), torch.as_tensor(expected)), (key, slot)
        assert value.is_contiguous(memory_format=memory_format(value, channels_last)), key


def memory_format(tensor: Tensor, channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last and tensor.dim() == 4 else torch.contiguous_format


def test_the_optimizer_holds_the_new_parameters_in_the_old_order() -> None:
    model, inputs = make("residual")
    graph = ChannelGraph.trace(model, inputs)
    slow, fast = list(model.first.parameters()), [p for n, p in model.named_parameters() if not n.startswith("first")]
    optimizer = torch.optim.SGD([{"params": slow, "lr": 0.1}, {"params": fast, "lr": 0.5}], momentum=0.9)
    cut(model, graph, draw(graph, 0), optimizer)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in model.first.parameters()]
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}


def test_a_shared_parameter_stays_shared() -> None:
    model, inputs = make("shared convolution")
    graph = ChannelGraph.trace(model, inputs)
    optimizer = torch.optim.Adam(model.parameters())
    cut(model, graph, draw(graph, 0), optimizer)
    assert model.alias.weight is model.twice.weight
    assert sum(p is model.twice.weight for p in optimizer.param_groups[0]["params"]) == 1


def test_frozen_and_half_precision_parameters_keep_their_kind() -> None:
    model, inputs = make("plain")
    graph = ChannelGraph.trace(model, inputs)
    model[0].weight.requires_grad_(False)
    model.to(torch.bfloat16)
    cut(model, graph, [0, 1])
    assert not model[0].weight.requires_grad
    assert model[0].bias.requires_grad
    assert model[0].weight.dtype == torch.bfloat16


def test_modules_know_their_new_sizes() -> None:
    model, inputs = make("plain")
    graph = ChannelGraph.trace(model, inputs)
    cut(model, graph, [0, 1, 2, 8])
    assert (model[0].out_channels, model[1].num_features, model[3].in_channels) == (5, 5, 5)
    assert (model[3].out_channels, model[4].in_channels) == (5, 5)


@pytest.mark.parametrize("name", ["depthwise multiplier 2", "transposed, depthwise multiplier 2", "depthwise"])
def test_grouped_convolutions_know_their_new_number_of_groups(name: str) -> None:
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    groups = model[1].groups
    cut(model, graph, [0, 2])
    assert model[1].groups == groups - 2
    assert model[1].in_channels == groups - 2


def test_fit_attributes_reads_sizes_off_the_tensors() -> None:
    layer = nn.ConvTranspose2d(6, 8, 2, groups=2)
    layer.weight = nn.Parameter(torch.zeros(4, 3, 2, 2))
    assert fit_attributes(layer) == {"out_channels": 6, "in_channels": 4, "groups": 2}
    assert (layer.in_channels, layer.out_channels) == (4, 6)
    assert fit_attributes(nn.ReLU()) == {}
    norm = nn.LayerNorm(5)
    norm.weight = nn.Parameter(torch.ones(3))
    assert fit_attributes(norm) == {"normalized_shape": (3,)}


def snapshot(model: nn.Module, graph: ChannelGraph) -> tuple:
    return (
        {key: value.clone() for key, value in model.state_dict().items()},
        {key: id(value) for key, value in model.named_parameters()},
        {key: row.tolist() for key, row in graph.layers.items()},
    )


def same(one: tuple, other: tuple) -> bool:
    return one[1:] == other[1:] and all(torch.equal(one[0][key], other[0][key]) for key in one[0])


@pytest.mark.parametrize(
    ("groups", "words"),
    [([1, 15], ["group 15", "filter 1 of 4", "output"]), (list(range(8)), ["layer 0", "all its filters"])],
)
def test_a_refused_cut_is_one_line_and_changes_nothing(groups: list[int], words: list[str]) -> None:
    model, inputs = make("plain")
    graph = ChannelGraph.trace(model, inputs)
    before = snapshot(model, graph)
    with pytest.raises(LabError) as caught:
        cut(model, graph, groups)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)
    assert same(before, snapshot(model, graph))


def test_an_optimizer_state_of_another_shape_is_refused_before_anything_changes() -> None:
    model, inputs = make("plain")
    graph = ChannelGraph.trace(model, inputs)
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.state[model[3].weight]["factor"] = torch.zeros(3)
    before = snapshot(model, graph)
    with pytest.raises(LabError, match=r"Adam keeps 'factor'.*optimizer_state=reset"):
        cut(model, graph, [0], optimizer)
    assert same(before, snapshot(model, graph))


def test_cutting_nothing_changes_nothing() -> None:
    model, inputs = make("plain")
    graph = ChannelGraph.trace(model, inputs)
    before = snapshot(model, graph)
    cut(model, graph, [])
    mask(model, graph, [])
    assert same(before, snapshot(model, graph))


def test_a_graph_of_another_state_of_the_model_is_refused() -> None:
    model, inputs = make("plain")
    graph = ChannelGraph.trace(model, inputs)
    stale = copy.copy(graph)
    cut(model, graph, [0])
    with pytest.raises(LabError, match=r"0.weight.*trace"):
        cut(model, stale, [1])


def test_mask_zeroes_only_what_reads_the_groups() -> None:
    model, inputs = make("dense connections")
    graph = ChannelGraph.trace(model, inputs)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    mask(model, graph, [1])
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, state[key])]
    assert changed == ["two.weight", "three.weight", "last.weight"]
    assert (model.two.weight[:, 4] == 0).all()
    assert torch.equal(model.two.weight[:, :4], state["two.weight"][:, :4])


def test_hooks_and_old_losses_survive_a_cut() -> None:
    model, inputs = make("plain")
    graph = ChannelGraph.trace(model, inputs)
    seen = []
    model[0].register_forward_hook(lambda module, args, output: seen.append(output.shape[1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    old_loss = model.train()(*inputs).square().mean()
    cut(model, graph, [0, 1], optimizer)
    old_loss.backward()
    optimizer.zero_grad()
    model(*inputs).square().mean().backward()
    optimizer.step()
    assert seen == [8, 6]


def pruned_by(how: str) -> nn.Module:
    """A small network whose second convolution wears what torch.nn.utils.prune leaves on."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
    if how == "unstructured":
        prune.random_unstructured(first, "weight", 0.3)
        prune.random_unstructured(second, "weight", 0.3)
    elif how == "structured":
        prune.ln_structured(second, "weight", 0.3, n=2, dim=0)
    else:
        prune.l1_unstructured(second, "weight", 0.3)
        prune.random_unstructured(second, "bias", 0.3)
    return nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()


@pytest.mark.parametrize("how", ["unstructured", "structured", "bias"])
def test_masks_that_were_left_on_are_cut_along(how: str) -> None:
    model, image = pruned_by(how), torch.randn(1, 3, 8, 8)
    graph = ChannelGraph.trace(model, image)
    assert list(graph.layers) == ["0", "3", "5"]
    gone = graph.layers["0"][:3].tolist() + graph.layers["3"][:2].tolist()
    reference = copy_of(model)
    mask(reference, graph, gone)
    cut(model, graph, gone)
    torch.testing.assert_close(model(image), reference(image))
    second = model[3]
    assert second.weight_mask.shape == second.weight_orig.shape == second.weight.shape == (6, 5, 3, 3)
    assert (second.in_channels, second.out_channels) == (5, 6)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", [nn.GroupNorm, nn.InstanceNorm2d, nn.BatchNorm2d])
def test_normalizations_know_their_channels_whether_they_hold_a_tensor_or_not(kind: Any, affine: bool) -> None:
    norm = kind(4, 16, affine=affine) if kind is nn.GroupNorm else kind(16, affine=affine)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), norm, nn.Conv2d(16, 2, 1)).eval()
    graph = ChannelGraph.trace(model, torch.randn(1, 3, 8, 8))
    cut(model, graph, [int(graph.prunable.nonzero()[0])])
    known = norm.num_channels if kind is nn.GroupNorm else norm.num_features
    assert known == model[0].out_channels == model[2].in_channels < 16


def test_modules_that_share_a_weight_all_know_its_size() -> None:
    one, other = nn.Conv2d(8, 8, 1, bias=False), nn.Conv2d(8, 8, 1, bias=False)
    other.weight = one.weight
    model = nn.Sequential(nn.Conv2d(3, 8, 1), one, nn.ReLU(), other, nn.Conv2d(8, 2, 1)).eval()
    graph = ChannelGraph.trace(model, torch.randn(1, 3, 8, 8))
    cut(model, graph, [int(graph.prunable.nonzero()[0])])
    assert other.weight is one.weight
    assert (other.in_channels, other.out_channels) == (one.in_channels, one.out_channels) == (7, 7)


@pytest.mark.parametrize("name", ["residual", "group norm", "pixel shuffle"])
def test_a_cut_of_shapes_has_the_shapes_of_a_cut_and_no_weights(name: str) -> None:
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    removed = draw(graph, 0)
    small, shaped = copy_of(model), copy_of(model)
    cut(small, copy.copy(graph), removed)
    cut_shapes(shaped, copy.copy(graph), removed)
    expected = {key: value.shape for key, value in small.state_dict().items()}
    assert {key: value.shape for key, value in shaped.state_dict().items()} == expected
    assert [item.shape for item in [shaped(*inputs)]] == [item.shape for item in [small(*inputs)]]
    changed = [key for key, value in model.named_parameters() if value.shape != expected[key]]
    assert changed
    assert all(not shaped.get_parameter(key).any() for key in changed)
