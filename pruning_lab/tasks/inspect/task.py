"""The task `inspect`: a model, its floors and its budget looked over, without data and without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.tracing.connections import Connections
from pruning_lab.lab.output import units
from pruning_lab.lab.output.console import ConsoleReporter
from pruning_lab.lab.patience import watched_pass
from pruning_lab.lab.room import check_network
from pruning_lab.lab.timing import asks_for_latency
from pruning_lab.resources.latency import Target
from pruning_lab.resources.latency.measuring import latency_model
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.surgery.unused import drop_unused
from pruning_lab.tasks.assembly import connections_of, fill_rounding
from pruning_lab.tasks.config import build, fill_null, write_config
from pruning_lab.tasks.inspect.facts import Inspection, inspect_model
from pruning_lab.tasks.inspect.picture import channel_graph
from pruning_lab.tasks.inspect.tables import latency_table, layers_table, reads_table, sentences, write_inspection
from pruning_lab.training.compute import resolve_device, seed_everything
from pruning_lab.training.threads import Threads


def inspect(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    size: Sequence[int] = (256, 256),
    channels: int | None = None,
    classes: int = 2,
    latency: bool = False,
) -> None:
    """Look a model over, without data and without training; tables and a picture go into the run's folder.

    Args:
        size: height and width of the image.
        channels: of the image; None takes the model's `in_channels`, else 3.
        classes: for a model that leaves them open.
        latency: measure and tell what layers take on the target; done in any case where stop or selection ask for it.

    Raises:
        LabError: a size is impossible, or the model does not run on such an image.
    """
    Threads(config.threads)()
    image = _blank_image(config, size, channels)
    fill_null(config.model, classes=classes, in_channels=image.shape[1])
    fill_rounding(config)
    write_config(config, folder)
    seed_everything(config.seed)
    weights, _ = check_network(lambda: build(config.model), image, longest_pass=config.longest_pass)
    ConsoleReporter().say(f"network: {units.size(weights)} of weights")
    model = build(config.model)
    _check_runs(model, image, config.longest_pass)
    connections = connections_of(config)
    gone = drop_unused(model, image, connections) if config.drop_unused else []
    parts = {part: build(config[part]) for part in ("floors", "selection", "stop", "importance")}
    asked = latency or parts["selection"].wants_latency or asks_for_latency(parts["stop"])
    timed = _timer(config, model, image, connections) if asked else None
    facts = inspect_model(model, image, **parts, connections=connections, dropped=tuple(gone), timed=timed)
    _tell(facts, folder)


def _timer(
    config: DictConfig, model: nn.Module, image: Tensor, connections: Connections | None
) -> Callable[[ChannelGraph], LatencyModel]:
    """Makes the model of latency on the target that the config names."""
    target: Target = build(config.target) or Target()
    device = str(resolve_device(config.device))
    full = target.filled(device, config.precision, config.channels_last, image.shape[2:], torch.get_num_threads())
    say = ConsoleReporter().say
    return lambda graph: latency_model(model, graph, full, image.shape[1], connections, tell=say)


def _tell(facts: Inspection, folder: Path) -> None:
    reporter = ConsoleReporter()
    reporter.show(layers_table(facts))
    reporter.show(reads_table(facts))
    if facts.latency is not None:
        reporter.show(latency_table(facts.latency))
    for line in sentences(facts):
        reporter.say(line)
    write_inspection(folder, facts)
    channel_graph(facts, folder / "figures" / "channel_graph.png")
    reporter.say(f"saved in {folder}")


def _check_runs(model: nn.Module, image: Tensor, longest_pass: float | None) -> None:
    """Raises LabError for a model whose pass takes too long; whatever else stops it is told by the graph."""
    try:
        watched_pass(model, image, longest_pass)
    except LabError:
        raise
    except Exception:  # of any kind, as models please
        return


def _blank_image(config: DictConfig, size: Sequence[int], channels: int | None) -> Tensor:
    """Zeros, float32 [1, channels, *size]."""
    if channels is None:
        channels = config.model.get("in_channels") or 3
    if len(size) != 2 or min(*size, channels) < 1:
        raise LabError(f"task.size={list(size)} with {channels} channels is no image; give [height, width]")
    return torch.zeros(1, channels, *size)
