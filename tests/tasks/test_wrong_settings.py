"""Every wrong setting gets one line that names the key and says what to do, before anything is read or trained."""

from __future__ import annotations

import copy
import functools
from contextlib import nullcontext
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.config import run_task
from tests.tasks.runs import write_pairs
from tests.tasks.test_config import composed
from tests.tasks.wrong_choices import BY_CHOICE, DATA

TYPES = [
    "base.epochs=many",
    "base.epochs=[1]",
    "base.steps=few",
    "base.steps=2.5",
    "base.seed=one",
    "base.optimizer.lr=fast",
    "base.optimizer.weight_decay=much",
    "base.scheduler.warmup_fraction=some",
    "recovery.epochs=many",
    "recovery.steps=1.5",
    "recovery.final_epochs=long",
    "recovery.final_learning_rate=slow",
    "recovery.optimizer_state=3",
    "recovery.optimizer.lr=fast",
    "recovery.scheduler.final_fraction=low",
    "model.width=wide",
    "model.width=2.5",
    "model.width=true",
    "model.depth=deep",
    "model.growth=big",
    "model.upsampling=3",
    "model.classes=two",
    "model.in_channels=rgb",
    "data.train=some",
    "data.val=1.5",
    "data.test=x",
    "data.size=96",
    "data.size=[96,wide]",
    "data.seed=x",
    "loader.batch_size=2.5",
    "loader.batch_size=eight",
    "loader.workers=many",
    "loader.score_images=all",
    "loss.label_smoothing=soft",
    "loss.dice_weight=heavy",
    "loss.smooth=very",
    "loss.class_weights=3",
    "loss.class_weights=[1,a]",
    "loss.ignore_index=none",
    "importance.omega=half",
    "importance.p=one",
    "importance.equalizer=ten",
    "importance.normalize=3",
    "selection.amount.share=a lot",
    "selection.amount.resource=3",
    "selection.per_saving=maybe",
    "selection.round_to=eight",
    "selection.round_to=2.5",
    "selection.prefer=flops",
    "selection.prefer={flops: lots}",
    "floors.by_module=abc",
    "floors.by_module={inc.conv1: half}",
    "floors.by_module={inc.conv1: {flops: half}}",
    "floors.by_type={Conv2d: half}",
    "stop.flops=half",
    "stop.flops=[0.5]",
    "validation.keep=few",
    "validation.keep=2.5",
    "validation.promise.metric=3",
    "latency.every=often",
    "latency.batches=3",
    "latency.batches=[1,x]",
    "latency.warmup=long",
    "latency.repeats=2.5",
    "tracking.uri=3",
    "tracking.experiment=3",
    "threads=some",
    "threads=1.5",
    "seed=one",
    "seed=1.5",
    "clip_norm=tight",
    "max_steps=few",
    "max_steps=2.5",
    "channels_last=3x",
    "deterministic=maybe",
    "verify=maybe",
    "pictures=maybe",
    "drop_unused=maybe",
]
RANGES = [
    "base.epochs=-1",
    "base.epochs=inf",
    "base.steps=-1",
    "base.optimizer.lr=-1",
    "base.optimizer.weight_decay=-1",
    "base.scheduler.warmup_fraction=2",
    "recovery.epochs=-0.5",
    "recovery.steps=-1",
    "recovery.final_epochs=-1",
    "recovery.final_learning_rate=0",
    "recovery.final_learning_rate=-0.1",
    "recovery.optimizer_state=lose",
    "recovery.optimizer.lr=-1",
    "recovery.scheduler.warmup_fraction=-1",
    "loader.batch_size=0",
    "loader.batch_size=-1",
    "loader.workers=-1",
    "loss.label_smoothing=1",
    "loss.label_smoothing=-0.1",
    "loss.smooth=0",
    "loss.class_weights=[0,0]",
    "loss.class_weights=[-1,1]",
    "selection.amount.share=0",
    "selection.amount.share=1.5",
    "selection.amount.share=-0.1",
    "selection.amount.resource=milliseconds",
    "selection.round_to=0",
    "selection.round_to=-8",
    "selection.prefer={flops: -1}",
    "selection.prefer={flops: 0}",
    "selection.prefer={speed: 1}",
    "floors.by_module={inc.conv1: 2}",
    "floors.by_module={inc.conv1: -0.1}",
    "floors.by_module={inc.conv1: {speed: 0.5}}",
    "floors.by_type={Conv2d: 20}",
    "stop.flops=25",
    "stop.flops=0",
    "stop.flops=-0.5",
    "stop.flops=nan",
    "latency.every=-1",
    "latency.batches=[]",
    "latency.batches=[0]",
    "latency.warmup=-1",
    "latency.repeats=1",
    "threads=0",
    "threads=-2",
    "seed=-1",
    "max_steps=-3",
    "name=../../x",
    "name=a/b",
    "name=.hidden",
    "name=''",
    "loader.score_images=0",
    "returns=val/iou",
    "returns=best/speed",
    "returns=3",
    "data.size=[16]",
    "data.size=[0,16]",
    "data.size=[1000000,1000000]",
    "loader.workers=100000",
    "threads=1000000",
    "base.seed=-1",
    "loss.dice_weight=-1",
    "loss.dice_weight=nan",
    "loss.ignore_index=-1",
    "base.optimizer.lr=inf",
    "base.optimizer.lr=nan",
    "recovery.epochs=nan",
    "selection.amount.share=nan",
    "stop.flops=inf",
    "validation.keep=0",
    "validation.metrics=[speed]",
    "validation.metrics={speed: 3}",
    "tracking.experiment=''",
]
UNKNOWN = [
    "+foo=1",
    "+sede=3",
    "+importance.omga=1",
    "+model.wdth=4",
    "+stop.flop=0.5",
    "+recovery.optimizer.learning_rate=1",
    "+base.scheduler.warm=1",
    "+loader.batches=3",
    "+latency.repeat=3",
    "+validation.kept=3",
]


@pytest.fixture(scope="module")
def whole() -> DictConfig:
    return composed()


def changed(whole: DictConfig, override: str, folder: Path) -> DictConfig:
    config = copy.deepcopy(whole)
    (parsed,) = OverridesParser.create().parse_overrides([override])
    with open_dict(config) if parsed.is_add() else nullcontext():
        OmegaConf.update(config, parsed.key_or_group, parsed.value(), force_add=parsed.is_add())
    config.output_root = str(folder)
    return config


def mistake(whole: DictConfig, folder: Path, override: str) -> str:
    """The line that a wrong setting gets; it is set as Hydra sets it, on a copy of one composed config."""
    with pytest.raises((LabError, OmegaConfBaseException)) as caught:
        run_task(changed(whole, override, folder), str(folder / "run"), {})
    assert not (folder / "run").exists(), "nothing was read or written"
    return f"{caught.value} {caught.value.__cause__ or ''}"


@pytest.mark.parametrize("override", [*TYPES, *RANGES, *UNKNOWN])
def test_a_wrong_setting_is_named(whole: DictConfig, override: str, tmp_path: Path) -> None:
    key = override.partition("=")[0].lstrip("+")
    line = mistake(whole, tmp_path, override)
    assert key in line


def test_the_table_has_many_rows_and_none_twice() -> None:
    rows = [*TYPES, *RANGES, *UNKNOWN]
    assert len(rows) == len(set(rows))
    assert len(rows) >= 150
    assert len(rows) + len(BY_CHOICE) >= 220


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    for first, (split, count) in enumerate({"train": 4, "val": 2, "test": 2}.items()):
        write_pairs(root / split, count, 20 * first)
    return root


@functools.cache
def with_choices(choices: str, files: Path) -> DictConfig:
    small = ["device=cpu", "base.epochs=0", *choices.split()]
    if "data=folder" in small:
        small = [f"data.root={files}", *DATA, *small]
    elif "task=inspect" not in small:
        small += ["data.train=4", "data.val=2", "data.test=2", "data.size=[16,16]"]
    if not any(choice.startswith("model=") for choice in small):
        small += ["model.width=2", "model.depth=1"]
    return composed(*small, *([] if "tracking" in choices else ["tracking=none"]))


@pytest.mark.slow
@pytest.mark.parametrize(("choices", "override", "named"), BY_CHOICE)
def test_a_wrong_setting_of_any_option_is_named(
    choices: str, override: str, named: str, files: Path, tmp_path: Path
) -> None:
    key = named or override.partition("=")[0].lstrip("+")
    with pytest.raises((LabError, OmegaConfBaseException)) as caught:
        run_task(changed(with_choices(choices, files), override, tmp_path), str(tmp_path / "run"), {})
    line = str(caught.value)
    assert key in line
    assert "\n" not in line or isinstance(caught.value, OmegaConfBaseException)
    assert not (tmp_path / "bases").exists(), "nothing was trained"
