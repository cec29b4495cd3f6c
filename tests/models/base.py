"""What every network of the lab must do. A new one is tested by a subclass that says how to build it."""

import inspect
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn


class SegmentationModelTests:
    """Subclass it as `Test...` and give `build`: a small model for images of so many channels."""

    sizes = ((32, 32), (33, 47), (17, 8))

    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        raise NotImplementedError

    @pytest.mark.parametrize("in_channels", [1, 3, 4])
    def test_gives_logits_for_images_of_any_number_of_channels(self, in_channels: int) -> None:
        model = self.build(classes=5, in_channels=in_channels).eval()
        with torch.inference_mode():
            assert model(torch.rand(2, in_channels, 32, 32)).shape == (2, 5, 32, 32)

    def test_gives_logits_of_the_images_own_size(self) -> None:
        model = self.build(classes=2, in_channels=3).eval()
        with torch.inference_mode():
            for size in self.sizes:
                assert model(torch.rand(1, 3, *size)).shape == (1, 2, *size)

    def test_every_weight_receives_a_gradient(self) -> None:
        model = self.build(classes=3, in_channels=3)
        model(torch.rand(2, 3, 32, 32)).square().mean().backward()
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
        image = torch.rand(2, 3, 32, 32)
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

    def test_can_be_exported_to_a_graph(self) -> None:
        model = self.build(classes=2, in_channels=3).eval()
        image = torch.rand(2, 3, 33, 47)
        exported = torch.export.export(model, (image,), strict=False).module()
        with torch.inference_mode():
            torch.testing.assert_close(exported(image), model(image))
