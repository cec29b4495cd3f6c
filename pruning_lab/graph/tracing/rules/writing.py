"""What is written into a part of a tensor: the channels that were there and those that come share their places."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pruning_lab.graph.tracing.interpreter import Interpreter, Rule
from pruning_lab.graph.tracing.labelled import Labelled, varying
from pruning_lab.graph.tracing.labels import NotFollowedError
from pruning_lab.graph.tracing.tape import Step, written

aten = torch.ops.aten


def into_part(
    interpreter: Interpreter,
    step: Step,
    base: Labelled,
    part: Labelled,
    view: Any,
    place: int | None,
    args: tuple,
    kwargs: dict,
) -> Labelled:
    """Rows of the base meet rows of the part wherever `view` of the base looks; its other places stay as they were.

    A base along which all is alike gets labels of its own, so that what is written to it later meets what is there now.
    """
    axes = dict(base.axes)
    for dim, size in enumerate(base.shape):
        if dim in base.loose:
            axes[dim] = interpreter.space.fresh(size)
        found = _places(base, dim, view, place, args, kwargs)
        if found is None or (dim not in axes and found[0] not in part.axes):
            continue
        there = interpreter.axis(Labelled(base.shape, axes), dim)[found[1]]
        if found[0] not in part.loose:
            interpreter.tie(there, interpreter.axis(part, found[0]))
        interpreter.suspect(there)
    return Labelled(base.shape, axes)


def _places(
    base: Labelled, dim: int, view: Any, place: int | None, args: tuple, kwargs: dict
) -> tuple[int, Tensor] | None:
    """The view's dimension along which the base's `dim` runs, and which of its places it shows.

    Raises:
        NotFollowedError: the view mixes the dimension with others.
    """
    shown = view(Labelled(base.shape, {dim: torch.arange(base.shape[dim])}).spread(dim), *args, **kwargs)
    shown = shown if place is None else shown[place]
    along = varying(shown)
    if len(along) > 1:
        raise NotFollowedError("written through a view that splits a dimension")
    if not along:
        return None
    index = [0] * shown.ndim
    index[along[0]] = slice(None)  # type: ignore[call-overload]
    return along[0], shown[tuple(index)]


def scattered_into(
    interpreter: Interpreter, step: Step, base: Labelled, part: Labelled, dim: int = 0, *args: Any, **kwargs: Any
) -> Labelled:
    """slice_scatter, select_scatter: the same, told in one operator."""
    view = _VIEWS[step.target]
    if view is aten.select.int:
        interpreter.freeze(interpreter.axis(base, dim), "picks single channels by position")
    return into_part(interpreter, step, base, part, view, None, (dim, *args), kwargs)


_VIEWS: dict[object, Any] = {
    aten.slice_scatter.default: aten.slice.Tensor,
    aten.select_scatter.default: aten.select.int,
}

RULES: dict[object, Rule] = {written: into_part, **dict.fromkeys(_VIEWS, scattered_into)}
