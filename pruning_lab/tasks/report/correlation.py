"""How far methods' scores agree with full ablation, on the base that a study's runs share. Knows runs, not reports."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NoReturn

import torch
from omegaconf import OmegaConf
from scipy.stats import spearmanr
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Ablation, Importance, score
from pruning_lab.importance.scopes import first_layers
from pruning_lab.lab.base_model import hash_of_base
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.console import Reporter
from pruning_lab.lab.output.run_folder import Run
from pruning_lab.tasks.assembly import BASE_KEYS, assemble, prepared_data
from pruning_lab.tasks.config import build
from pruning_lab.tasks.report.agreement import JUDGE, Agreement
from pruning_lab.training.bases import load_or_train
from pruning_lab.training.compute import seed_everything

FEWEST_GROUPS = 4
"""A layer with fewer prunable groups has no correlation of its own."""

FROM_THE_RUN = (*BASE_KEYS, "data", "loader", "connections", "seed", "threads")
"""Settings that lead to a run's base and to its images."""

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class ScoringSetup:
    """Everything that a base's methods are judged with: the base, and the same images for all of them."""

    base: str
    model: nn.Module
    graph: ChannelGraph
    batches: Sequence[Batch]
    seed: int
    effect: str

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(len(image) for image, _ in self.batches)


@dataclass(frozen=True)
class AblationScores:
    """What full ablation found, for each half of the images: the effect of every group, [n_groups]."""

    halves: list[list[float]]
    images: list[int]
    seconds: float

    @property
    def whole(self) -> Tensor:
        """The mean over all images, float [n_groups]."""
        weights = torch.tensor(self.images, dtype=torch.float64)
        return (torch.tensor(self.halves, dtype=torch.float64) * weights[:, None]).sum(0) / weights.sum()


def judge(
    methods: Mapping[str, Run],
    images: int,
    effect: str,
    places: Sequence[Path],
    config: Mapping[str, Any],
    reporter: Reporter,
) -> list[Agreement]:
    """Score a base with every method and with full ablation, on the same training images.

    Args:
        methods: name -> a run of it; all from the same base.
        images: how many training images everything is computed on.
        effect: what ablation measures, see `Ablation`.
        places: folders of trained bases, searched in this order; ablation is kept beside the base for the next time.
        config: a whole config, resolved; the runs' own settings of `FROM_THE_RUN` take the place of its.

    Raises:
        LabError: the base is in none of the folders, or the config of a run can't be built any more.
    """
    setup, bases = open_setup(next(iter(methods.values())), images, effect, places, config, reporter)
    with reporter.task(f"ablation of base {setup.base}", None):
        truth = ablation_scores_of(setup, bases)
    agreements = [_reliability(setup, truth)]
    with reporter.task(f"correlations on base {setup.base}", len(methods)) as task:
        for name, run in methods.items():
            agreements.append(agreement(setup, truth, name, run.config["importance"]))
            task.advance()
    return agreements


def open_setup(
    run: Run, images: int, effect: str, places: Sequence[Path], config: Mapping[str, Any], reporter: Reporter
) -> tuple[ScoringSetup, Path]:
    """The base of a run with its channel graph and images, and the folder that it came from."""
    base, seed = run.cards.base_hash, run.cards.seed
    bases = next((folder for folder in places if (folder / base).is_dir()), None)
    if bases is None:
        raise LabError(f"base {base} is not in {' or '.join(map(str, places))}; give bases=, or task.ablation=false")
    lab = _experiment(run, config)
    if hash_of_base(lab) != base:
        reporter.warn(f"base {base}: its data, the code or torch changed since it was trained; it is taken as it is")
    model, _, _ = load_or_train(bases, base, lab.model.build, _refuse)
    seed_everything(seed)
    model = lab.training.settings.place(model).eval()
    graph = ChannelGraph.trace(model, lab.example(), connections=lab.model.connections)
    return ScoringSetup(base, model, graph, lab.data.loaders(seed).score_batches(images), seed, effect), bases


def ablation_scores_of(setup: ScoringSetup, bases: Path) -> AblationScores:
    """Full ablation of every group on each half of the images, read back where it has been done before."""
    path = bases / f"{setup.base}.ablation_{setup.effect}_{setup.images}_images_seed_{setup.seed}.json"
    if path.is_file():
        stored = AblationScores(**json.loads(path.read_text(encoding="utf-8")))
        if len(stored.halves[0]) == len(setup.graph):
            return stored
    halves = [half for half in _halves(setup.batches) if len(half[0])]
    started = time.perf_counter()
    scores = [Ablation(effect=setup.effect)(setup.model, setup.graph, [half]).tolist() for half in halves]
    truth = AblationScores(scores, [len(image) for image, _ in halves], time.perf_counter() - started)
    write_atomically(path, json.dumps(asdict(truth)) + "\n")
    return truth


def agreement(setup: ScoringSetup, truth: AblationScores, name: str, importance: Mapping[str, Any]) -> Agreement:
    """One method's record; where it can't score the base, the record says why."""
    seed_everything(setup.seed)
    started = time.perf_counter()
    try:
        method: Importance = build(OmegaConf.create(dict(importance)))
        scores = score(method, setup.model, setup.graph, setup.batches)
    except LabError as error:
        return _record(setup, name, None, math.nan, str(error))
    seconds = time.perf_counter() - started
    return _record(setup, name, correlations(scores, truth.whole, setup.graph), seconds)


def correlations(scores: Tensor, truth: Tensor, graph: ChannelGraph) -> tuple[float, float]:
    """Spearman's correlation of two scores [n_groups] of the groups that can be cut.

    Scores that are all the same say nothing of the order, and count as 0.

    Returns:
        (over all of the network, mean over layers with at least `FEWEST_GROUPS` of them). NaN where the truth itself
        has no order, or no layer has groups enough.
    """
    within = [_spearman(scores[groups], truth[groups]) for groups in _layers(graph)]
    known = [value for value in within if not math.isnan(value)]
    return _spearman(scores[graph.prunable], truth[graph.prunable]), fmean(known) if known else math.nan


def _layers(graph: ChannelGraph) -> list[Tensor]:
    """The prunable groups of each layer that has enough, a bool [n_groups] for each; a group is in its first layer."""
    places = first_layers(graph)
    masks = [graph.prunable & (places == place) for place in range(len(graph.layers))]
    return [mask for mask in masks if int(mask.sum()) >= FEWEST_GROUPS]


def _spearman(scores: Tensor, truth: Tensor) -> float:
    if len(truth.unique()) < 2:
        return math.nan
    if len(scores.unique()) < 2:
        return 0.0
    return float(spearmanr(scores.numpy(), truth.numpy()).statistic)


def _reliability(setup: ScoringSetup, truth: AblationScores) -> Agreement:
    """The judge's own record: what one half of its images says beside the other."""
    if len(truth.halves) < 2:
        return _record(setup, JUDGE, (math.nan, math.nan), truth.seconds)
    first, second = (torch.tensor(half, dtype=torch.float64) for half in truth.halves)
    return _record(setup, JUDGE, correlations(first, second, setup.graph), truth.seconds)


def _record(
    setup: ScoringSetup, name: str, found: tuple[float, float] | None, seconds: float, note: str = ""
) -> Agreement:
    spearman, within = found or (math.nan, math.nan)
    return Agreement(
        base=setup.base,
        method=name,
        spearman=spearman,
        within_layers=within,
        groups=int(setup.graph.prunable.sum()),
        layers=len(_layers(setup.graph)),
        images=setup.images,
        seconds=seconds,
        seed=setup.seed,
        effect=setup.effect,
        note=note,
    )


def _halves(batches: Sequence[Batch]) -> Iterator[Batch]:
    images, masks = (torch.cat(parts) for parts in zip(*batches, strict=True))
    middle = (len(images) + 1) // 2
    yield images[:middle], masks[:middle]
    yield images[middle:], masks[middle:]


def _experiment(run: Run, config: Mapping[str, Any]) -> Experiment:
    """An experiment with the run's base and images; nothing is written to the run's folder."""
    merged = OmegaConf.create({**config, **{key: run.config[key] for key in FROM_THE_RUN if key in run.config}})
    return assemble(merged, prepared_data(merged), run.folder, {})


def _refuse(model: nn.Module) -> NoReturn:
    raise LabError("the kept base is damaged; run one job of the study again, which trains it anew")
