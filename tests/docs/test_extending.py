"""The examples of docs/extending.md keep their contracts, and run together from the command line's config."""

from pathlib import Path

import numpy as np
import pytest
import torch

from docs.examples.augmentation import rolled
from docs.examples.data import discs
from docs.examples.importance import Spread, spread
from docs.examples.loss import Focal
from docs.examples.metric import balanced_accuracy
from docs.examples.model import Plain
from docs.examples.stop import WeightsFirst
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Reduced, check_scores
from pruning_lab.lab.output.run_folder import read_run
from pruning_lab.tasks.config import check_keys, run_task
from pruning_lab.training import CrossEntropy
from tests.paths import ROOT
from tests.tasks.test_config import composed

EXAMPLES = ROOT / "docs" / "examples"
OWN = f"hydra.searchpath=[file://{EXAMPLES / 'conf'}]"


@pytest.fixture
def plain() -> tuple[Plain, ChannelGraph]:
    torch.manual_seed(0)
    model = Plain(classes=2, width=6).eval()
    return model, ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))


def test_the_importance_scores_every_group_and_a_constant_filter_lowest(plain: tuple[Plain, ChannelGraph]) -> None:
    model, graph = plain
    with torch.no_grad():
        model.enter[0].weight[2] = model.inner[0].weight[2] = 0.1
    scores = spread(model, graph, [])
    check_scores(scores, graph, spread)
    group = int(graph.layers["enter.0"][2])
    assert scores.masked_fill(~graph.prunable, 9).argmin() == group
    assert torch.allclose(Spread()(model, graph, []), scores)
    assert torch.allclose(Spread(power=2)(model, graph, []).masked_select(graph.prunable).min(), torch.zeros(()))
    assert (Reduced(Spread(), "max")(model, graph, []) >= scores).all()


@pytest.mark.parametrize(
    ("weights", "flops", "unmet"),
    [(0.6, 0.6, {"weights"}), (0.6, 0.5, {"weights"}), (0.5, 0.6, {"flops"}), (0.5, 0.5, set())],
)
def test_the_stop_rule_says_what_is_next(weights: float, flops: float, unmet: set[str]) -> None:
    assert WeightsFirst(0.5, 0.5)({"weights": weights, "flops": flops}) == unmet


def test_the_stop_rule_refuses_percents() -> None:
    with pytest.raises(LabError, match=r"stop\.flops=50"):
        WeightsFirst(0.5, 50)


def test_the_loss_is_cross_entropy_at_gamma_0_and_less_for_sure_pixels() -> None:
    logits, mask = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.ones(2, 4, 4).long()
    mask[0, 0] = 255
    assert torch.allclose(Focal(0, ignore_index=255)(logits, mask), CrossEntropy(ignore_index=255)(logits, mask))
    assert Focal(2, ignore_index=255)(logits, mask) < Focal(1, ignore_index=255)(logits, mask)


def test_the_data_are_the_same_for_the_same_index() -> None:
    data = discs(size=(16, 24), train=4)
    image, mask = data.train[1]
    assert (image.shape, mask.shape, image.dtype, mask.dtype) == ((16, 24, 3), (16, 24), np.uint8, np.uint8)
    assert np.array_equal(image, discs(size=(16, 24), train=4).train[1][0])
    assert set(np.unique(mask)) == {0, 1}
    assert data.fingerprint() != discs(size=(16, 24), train=5).fingerprint()


def test_the_augmentation_moves_image_and_mask_together() -> None:
    image, mask = discs().train[0]
    rolled_image, rolled_mask = rolled(image, mask, np.random.default_rng(3))
    assert not np.array_equal(rolled_image, image)
    bright = image.mean(-1) > 160
    assert np.array_equal(rolled_image.mean(-1) > 160, np.roll(bright, _shift(mask, rolled_mask), axis=1))


def _shift(mask: np.ndarray, moved: np.ndarray) -> int:
    return next(by for by in range(mask.shape[1]) if np.array_equal(np.roll(mask, by, axis=1), moved))


def test_the_metric_counts_every_class_alike() -> None:
    assert balanced_accuracy(torch.tensor([[90, 0, 0], [5, 5, 0], [0, 0, 0]])) == pytest.approx(0.75)


@pytest.mark.slow
def test_all_of_them_make_a_run(tmp_path: Path) -> None:
    own = ["data=discs", "loss=focal", "importance=spread", "stop=weights_first", "augmentation=function"]
    model = ["model=custom", "model._target_=docs.examples.model.Plain", "+model.classes=null", "~model.depth"]
    small = [
        "base.epochs=2",
        "recovery.final_epochs=1",
        "model.width=6",
        "selection.amount.share=0.2",
    ]
    more = [
        "augmentation.path=docs.examples.augmentation.rolled",
        "validation.metrics={balanced: {_target_: docs.examples.metric.balanced_accuracy, _partial_: true}}",
        "validation.promise.metric=val/balanced",
        "tracking=none",
        "device=cpu",
        f"output_root={tmp_path}",
    ]
    config = composed(OWN, "+experiment=unet_ipad", "+debug=limit", *own, *model, *small, *more)
    check_keys(config)
    run_task(config, str(tmp_path / "run"), {"task": "prune", "importance": "spread"})
    run = read_run(tmp_path / "run")
    last = run.history[-1]
    assert run.cards.budget_met
    assert last["resources/weights_fraction"] <= 0.6
    assert last["resources/flops_fraction"] <= 0.5
    assert 0 <= last["val/balanced"] <= 1


def test_every_example_stands_on_the_page() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f"examples/{path.name}" not in page] == []
