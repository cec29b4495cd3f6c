"""What every network of the lab must do. A new one is tested by a subclass that says how to build it."""

import copy
import inspect
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from pruning_lab.checkpoint import load, save
from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from tests.graph.helpers import all_understood
from tests.networks.two_paths import random_groups


class NetworkTests:
    """Subclass it as `Test...` and give `build`: a small model for images of so many channels."""

    side = 32
    """Height and width of images on which it can train."""

    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        raise NotImplementedError

    def output_shape(self, classes: int, height: int, width: int) -> tuple[int, ...]:
        """Of one image's logits."""
        raise NotImplementedError

    def image(self, number: int = 2, channels: int = 3) -> Tensor:
        return torch.rand(number, channels, self.side, self.side)

    @pytest.mark.parametrize("in_channels", [1, 3, 4])
    def test_gives_logits_for_images_of_any_number_of_channels(self, in_channels: int) -> None:
        model = self.build(classes=5, in_channels=in_channels).eval()
        with torch.inference_mode():
            logits = model(self.image(2, in_channels))
        assert logits.shape == (2, *self.output_shape(5, self.side, self.side))

    def test_every_weight_receives_a_gradient(self) -> None:
        model = self.build(classes=3, in_channels=3)
        model(self.image()).square().mean().backward()
        silent = [name for name, weight in model.named_parameters() if weight.grad is None]
        assert not silent

    def test_the_same_seed_builds_the_same_weights(self) -> None:
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            states.append(self.build(classes=2, in_channels=3).state_dict())
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    def test_a_stored_state_gives_the_same_logits_in_another_instance(self, tmp_path: Path) -> None:
        model = self.build(classes=2, in_channels=3)
        image = self.image()
        with torch.no_grad():
            model(image)
        save_model(model, str(tmp_path / "weights.safetensors"))
        other = self.build(classes=2, in_channels=3)
        load_model(other, tmp_path / "weights.safetensors")
        with torch.inference_mode():
            assert torch.equal(model.eval()(image), other.eval()(image))

    def test_its_attributes_are_the_arguments_that_build_it_again(self) -> None:
        model = self.build(classes=3, in_channels=4)
        arguments = {name: getattr(model, name) for name in inspect.signature(type(model)).parameters}
        shapes = {name: value.shape for name, value in model.state_dict().items()}
        again = type(model)(**arguments)
        assert {name: value.shape for name, value in again.state_dict().items()} == shapes
        assert not arguments.get("pretrained", False)

    def test_half_of_it_is_cut_exactly_still_trains_and_comes_back_from_its_folder(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        model = lively(self.build(classes=3, in_channels=3))
        image = self.image(1)
        graph = ChannelGraph.trace(model, image)
        assert all_understood(graph)
        groups = random_groups(graph, 0.5)
        assert int(groups.sum()) > 0.3 * len(graph)
        assert verify(model, graph, groups, image) < 1e-4
        cut(model, graph, groups)
        copy.deepcopy(model).train()(self.image()).square().mean().backward()
        again = load(save(tmp_path, model, graph))
        with torch.inference_mode():
            torch.testing.assert_close(again(image), model(image))


class SegmentationModelTests(NetworkTests):
    """For networks that give logits of the image's own size."""

    sizes: tuple[tuple[int, int], ...] = ((32, 32), (33, 47), (17, 8))

    def output_shape(self, classes: int, height: int, width: int) -> tuple[int, ...]:
        return classes, height, width

    def test_gives_logits_of_the_images_own_size(self) -> None:
        model = self.build(classes=2, in_channels=3).eval()
        with torch.inference_mode():
            for size in self.sizes:
                assert model(torch.rand(1, 3, *size)).shape == (1, 2, *size)

    def test_can_be_exported_to_a_graph(self) -> None:
        model = self.build(classes=2, in_channels=3).eval()
        image = torch.rand(2, 3, 33, 47)
        exported = torch.export.export(model, (image,), strict=False).module()
        with torch.inference_mode():
            torch.testing.assert_close(exported(image), model(image))


class ClassifierTests(NetworkTests):
    """For networks that give one answer per image."""

    def output_shape(self, classes: int, height: int, width: int) -> tuple[int, ...]:
        return (classes,)


def lively(model: nn.Module) -> nn.Module:
    """In evaluation mode, with batch norms that do something: what is one or zero when new hides mistakes."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    return model.eval()
