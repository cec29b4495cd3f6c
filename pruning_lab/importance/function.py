"""Any function of the user's, by its dotted path."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches


class Function:
    """Calls `path(model, graph, batches, **parameters)`.

    Args:
        path: dotted path of a callable, `my_package.my_module.my_function`.
        parameters: keyword arguments that are passed on.

    Raises:
        LabError: nothing callable is found there.
    """

    def __init__(self, path: str, parameters: dict[str, Any] | None = None) -> None:
        module, _, name = path.rpartition(".")
        try:
            self.function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise LabError(
                f"importance.path={path} can't be imported ({error}); give package.module.function"
            ) from error
        if not callable(self.function):
            raise LabError(f"importance.path={path} is not callable")
        self.parameters = parameters or {}

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        return self.function(model, graph, batches, **self.parameters)
