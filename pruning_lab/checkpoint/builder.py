"""How a network is built: a class or function by its dotted path, and its arguments. Knows no folder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from pruning_lab.checkpoint.trust import resolve_builder
from pruning_lab.common.errors import LabError

REMEMBERED = "_pruning_lab_builder"
"""The attribute in which a network that `Builder.build` made keeps how."""

KEPT_BY_LIBRARIES = ("_hub_mixin_config",)
"""Attributes in which a library keeps all that a network was built with (segmentation_models_pytorch does)."""


@dataclass(frozen=True)
class Builder:
    """How the original is built: a class or function by its dotted path, and keyword arguments that JSON can hold.

    A network that `build` gives needs no builder when it is saved; it remembers this one:

        model = Builder("torchvision.models.segmentation.fcn_resnet50", {"weights_backbone": None}).build()
    """

    target: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """The network, which remembers how it was built.

        Raises:
            LabError: there is no such builder.
        """
        model = resolve_builder(self.target, trust=True)(**self.arguments)
        vars(model)[REMEMBERED] = self
        return model

    @staticmethod
    def of(model: nn.Module) -> Builder:
        """How a model was built, as far as it can tell: it remembers it, or keeps its arguments as attributes.

        Raises:
            LabError: a constructor argument without a default is not kept as an attribute.
        """
        if isinstance(remembered := vars(model).get(REMEMBERED), Builder):
            return remembered
        kind = type(model)
        kept: Any = next((vars(model)[name] for name in KEPT_BY_LIBRARIES if name in vars(model)), {})
        arguments: dict[str, Any] = dict(kept) if isinstance(kept, Mapping) else {}
        for name, parameter in _named_parameters(kind):
            if name in arguments:
                continue
            if _is_plain(value := getattr(model, name, inspect.Parameter.empty)):
                arguments[name] = value
            elif parameter.default is inspect.Parameter.empty:
                raise LabError(
                    f"{kind.__name__} does not keep its argument '{name}', so it can't be built again from its "
                    "checkpoint; pass save(..., builder=Builder(target, arguments))"
                )
        return Builder(f"{kind.__module__}.{kind.__qualname__}", {name: _listed(arguments[name]) for name in arguments})


def forgotten(model: nn.Module, builder: Builder) -> list[str]:
    """Constructor arguments that a builder read off the model had to leave at their defaults."""
    return [name for name, _ in _named_parameters(type(model)) if name not in builder.arguments]


def _named_parameters(kind: type) -> list[tuple[str, inspect.Parameter]]:
    unnamed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(kind).parameters.items()
    return [(name, parameter) for name, parameter in parameters if parameter.kind not in unnamed]


def _is_plain(value: Any) -> bool:
    """Whether it is made of what JSON can hold, so that it comes back as it was; of tuples lists come back."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (int, float, str, bool))


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value
