"""What recovery learns from the base: values by hand, and that nothing but the pruned model learns."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.distillation import (
    Answer,
    Attention,
    Distillation,
    Features,
    Several,
    SoftTargets,
    none,
    objective_of,
)
from pruning_lab.training.loop import Objective, TaskLoss, train
from pruning_lab.training.losses import CrossEntropy
from tests.networks.scored import EXAMPLE, build
from tests.networks.tiny import TinyNet, make_batches, same_state, state_of

METHODS = {
    "soft_targets": SoftTargets,
    "attention": Attention,
    "features": Features,
    "several": lambda weight=1.0: Several({"soft": SoftTargets(weight=weight), "maps": Attention(["conv"], weight)}),
}


def pruned_net(removed: tuple[int, ...] = (0, 2)) -> tuple[TinyNet, TinyNet, ChannelGraph]:
    """A base, and the same network without some filters of `conv`."""
    torch.manual_seed(0)
    base = TinyNet()
    model = copy.deepcopy(base)
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    cut(model, graph, graph.layers["conv"][list(removed)].tolist())
    return base, model, graph


def objective(
    method: Distillation | None, base: nn.Module, model: nn.Module, graph: ChannelGraph, **how: str
) -> Objective:
    return objective_of(method, CrossEntropy(), base, model, graph, ComputeSettings(**how))


def value_of(method: Distillation, pruned: Answer, base: Answer, net: nn.Module, graph: ChannelGraph) -> float:
    (comparison,) = method.comparisons(net, graph)
    return comparison.compare(pruned, base).item()


def outputs(conv: Tensor) -> Answer:
    return Answer(torch.zeros(1), {"conv": [conv]})


def test_soft_targets_are_the_divergence_of_softened_probabilities() -> None:
    _, model, graph = pruned_net()
    ours, theirs = torch.tensor([[[[0.0]], [[0.0]]]]), torch.tensor([[[[2.0]], [[0.0]]]])
    p = 1 / (1 + math.exp(-1))  # softmax of (2, 0) at temperature 2
    by_hand = 3 * 2**2 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    value = value_of(SoftTargets(temperature=2, weight=3), Answer(ours), Answer(theirs), model, graph)
    assert value == pytest.approx(by_hand)


def test_soft_targets_are_averaged_over_images_and_pixels() -> None:
    _, model, graph = pruned_net()
    ours, theirs = torch.randn(1, 2, 1, 1), torch.randn(1, 2, 1, 1)
    one = value_of(SoftTargets(), Answer(ours), Answer(theirs), model, graph)
    many = [Answer(logits.expand(3, 2, 4, 5)) for logits in (ours, theirs)]
    assert value_of(SoftTargets(), *many, model, graph) == pytest.approx(one)


def test_attention_compares_maps_of_length_one_whatever_the_number_of_channels() -> None:
    _, model, graph = pruned_net()
    wide = torch.tensor([3.0, 0.0, 1.0, 0.0]).reshape(1, 2, 1, 2)  # mean squares (5, 0): the map is (1, 0)
    narrow = torch.tensor([1.0, 1.0]).reshape(1, 1, 1, 2)  # the map is (1, 1) / sqrt(2)
    by_hand = 0.5 * ((1 - math.sqrt(0.5)) ** 2 + 0.5)
    value = value_of(Attention(["conv"], weight=0.5), outputs(narrow), outputs(wide), model, graph)
    assert value == pytest.approx(by_hand)
    assert value_of(Attention(["conv"]), outputs(7 * narrow), outputs(narrow), model, graph) == pytest.approx(0)


def test_features_compare_the_filters_that_are_left_with_the_same_ones_of_the_base() -> None:
    _, model, graph = pruned_net(removed=(0, 2))
    theirs = torch.tensor([9.0, 2.0, 9.0, 1.0]).reshape(1, 4, 1, 1)
    ours = torch.tensor([1.0, 1.0]).reshape(1, 2, 1, 1)
    value = value_of(Features(["conv"], weight=2), outputs(ours), outputs(theirs), model, graph)
    assert value == pytest.approx(2 * (2 - 1) ** 2 / (2**2 + 1**2))
    same = theirs[:, [1, 3]]
    assert value_of(Features(["conv"]), outputs(same), outputs(theirs), model, graph) == 0


def test_several_are_added_up() -> None:
    base, model, graph = pruned_net()
    (image, mask), *_ = make_batches()
    task = objective(none(), base, model, graph)(model.eval(), image, mask)
    parts = [SoftTargets(), Attention(["conv"]), Features(["head"])]
    together = objective(Several(dict(enumerate(parts))), base, model, graph)
    extra = [objective(part, base, model, graph)(model, image, mask) - task for part in parts]
    assert all(value > 1e-4 for value in extra)
    assert together(model, image, mask).item() == pytest.approx((task + sum(extra)).item())


def test_no_distillation_is_the_plain_loss_alone() -> None:
    base, model, graph = pruned_net()
    assert isinstance(objective(none(), base, model, graph), TaskLoss)


@pytest.mark.parametrize("method", METHODS)
def test_an_uncut_model_has_nothing_to_learn_from_its_base(method: str) -> None:
    base, model, graph = pruned_net(removed=())
    (image, mask), *_ = make_batches()
    plain = TaskLoss(CrossEntropy())(model.eval(), image, mask)
    assert objective(METHODS[method](), base, model, graph)(model, image, mask).item() == pytest.approx(plain.item())


@pytest.mark.parametrize("method", METHODS)
def test_weight_zero_is_plain_training_bit_for_bit(method: str) -> None:
    states = []
    for chosen in (METHODS[method](weight=0.0), none()):
        base, model, graph = pruned_net()
        learned = objective(chosen, base, model, graph)
        train(model, lambda _: make_batches(), objective=learned, optimizer=SGD(model.parameters(), 0.1), epochs=2)
        states.append(state_of(model))
    assert same_state(*states)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_only_the_pruned_model_learns(method: str, precision: str) -> None:
    base, model, graph = pruned_net()
    base.train()
    before = state_of(base)
    learned = objective(METHODS[method](), base, model.train(), graph, precision=precision)
    (image, mask), *_ = make_batches()
    value = learned(model, image, mask)
    value.backward()
    assert value.dtype == torch.float32
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert same_state(state_of(base), before)
    assert base.training
    assert all(parameter.grad is None for parameter in (*base.parameters(), *learned.teacher.parameters()))
    assert not any(module._forward_hooks for net in (model, learned.teacher) for module in net.modules())


def test_training_on_the_base_alone_brings_the_pruned_model_closer_to_it() -> None:
    base, model, graph = pruned_net()
    learned = objective_of(SoftTargets(), lambda logits, mask: 0 * logits.sum(), base, model, graph, ComputeSettings())
    rates = [
        train(
            model, lambda _: make_batches(), objective=learned, optimizer=SGD(model.parameters(), 0.05), epochs=epochs
        )
        for epochs in (1, 20, 1)
    ]
    assert rates[-1].mean_loss < rates[0].mean_loss / 2


def test_a_block_is_compared_by_its_exact_name_and_layers_by_patterns() -> None:
    model = build("residual")
    graph = ChannelGraph.trace(model, EXAMPLE)
    (comparison,) = Attention(["expand_norm", "*ep*"]).comparisons(model, graph)
    assert comparison.modules == ("expand_norm", "depthwise")


def test_a_linear_layers_features_are_in_its_last_dimension() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.hidden(image.movedim(1, -1)).relu()).movedim(-1, 1)

    torch.manual_seed(0)
    base = Tokens()
    model = copy.deepcopy(base)
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 4, 4))
    cut(model, graph, graph.layers["hidden"][:2].tolist())
    (image, mask), *_ = make_batches(size=4)
    learned = objective(Features(["hidden"]), base, model, graph)
    assert learned(model, image, mask).item() == pytest.approx(TaskLoss(CrossEntropy())(model, image, mask).item())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SoftTargets(temperature=0), r"distillation\.temperature=0"),
        (lambda: SoftTargets(weight=-1), r"distillation\.weight=-1"),
        (partial(Attention, ["cnov"]), r"cnov fits no layer.*did you mean conv"),
        (partial(Attention, []), r"distillation\.layers is empty"),
        (partial(Features, ["norm"]), r"norm has no filters"),
    ],
)
def test_a_mistake_names_the_key_or_the_layer(make, told: str) -> None:
    _, model, graph = pruned_net()
    with pytest.raises(LabError, match=told) as caught:
        make().comparisons(model, graph)
    assert "\n" not in str(caught.value)


def test_a_module_that_gives_out_no_tensor_is_named() -> None:
    class Pair(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            return image, image

    class Net(TinyNet):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, image: Tensor) -> Tensor:
            return super().forward(self.pair(image)[0])

    model = Net()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    (image, mask), *_ = make_batches()
    with pytest.raises(LabError, match="pair gives out a tuple"):
        objective(Attention(["pair"]), model, model, graph)(model, image, mask)
