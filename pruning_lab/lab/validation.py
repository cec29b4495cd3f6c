"""How well a network segments: IoU, Dice, accuracy and loss on a split. Must not know of pruning."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import in_mode
from pruning_lab.lab.promise import Promise
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.losses import Loss

Metric = Callable[[Tensor], float]


@dataclass(frozen=True)
class Validation:
    """How the models of a run are judged and which one is kept.

    Args:
        promise: history -> how promising each of its rows is.
        keep: how many of the last models stay in memory as snapshots.
        save_snapshots: keep these in the run's folder too, when it ends.
        metrics: metrics of the user's own, by name: callables that map the confusion matrix of a split (int64
            [classes, classes], true class in rows, predicted class in columns) to a number.

    Raises:
        LabError: none is kept, or a metric can't be called.
    """

    promise: Promise
    keep: int = 5
    metrics: Mapping[str, Metric] | None = None
    save_snapshots: bool = False

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise LabError(f"validation.keep={self.keep} must be at least 1: the run saves one of its snapshots")
        given = self.metrics or {}
        if not isinstance(given, Mapping):
            raise LabError(f"validation.metrics={given} must be a mapping: {{name: {{_target_: package.function}}}}")
        for name, metric in given.items():
            if not callable(metric):
                raise LabError(f"validation.metrics.{name}={metric} can't be called; give a _target_, _partial_: true")


class Validator:
    """Measures a model over all batches of a split.

    Args:
        classes: number of classes, at least 2.
        class_names: one name per class, for the metrics' names.
        loss: callable (logits, mask) -> scalar.
        settings: where and how precisely the model runs.
        ignore_index: mask value of pixels that do not count.
        metrics: see `Validation`.
    """

    def __init__(
        self,
        classes: int,
        class_names: Sequence[str],
        *,
        loss: Loss,
        settings: ComputeSettings | None = None,
        ignore_index: int | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        if classes < 2:
            raise LabError(f"a segmentation needs at least 2 classes, the data has {classes}")
        if len(class_names) != classes:
            raise LabError(f"data.class_names has {len(class_names)} names for {classes} classes: give one for each")
        self.classes = classes
        self.class_names = tuple(class_names)
        self.loss = loss
        self.settings = settings or ComputeSettings()
        self.ignore_index = ignore_index
        self.metrics = dict(metrics or {})

    def evaluate(self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Scores of the model in evaluation mode; its training flags are as before afterwards.

        Args:
            batches: (image [N, C, H, W], mask int64 [N, H, W]).

        Returns:
            What `segmentation_scores` gives, the user's metrics by their names, and `loss`: the mean of the
            batches' losses, each weighted by its number of images.

        Raises LabError when the model has another number of classes, or no pixel is labelled.
        """
        confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64, device=self.settings.device)
        sizes: list[int] = []
        losses: list[Tensor] = []
        self.settings.place(model)
        with in_mode(model, training=False), torch.inference_mode():
            # No number is looked at before the end: a GPU would stop and wait at each.
            for image, mask in self.settings.bring(batches):
                logits = self.settings.logits(model, image)
                if logits.shape[1] != self.classes:
                    raise LabError(f"model.classes: the model gives {logits.shape[1]}, the data has {self.classes}")
                confusion += confusion_matrix(logits.argmax(1), mask, self.classes, self.ignore_index)
                losses.append(self.loss(logits, mask).reshape(()))
                sizes.append(len(image))
            if not sizes:
                raise LabError("the split to validate on is empty: add images to it")
            loss_sum = 0.0
            for loss, size in zip(torch.stack(losses).tolist(), sizes, strict=True):
                loss_sum += loss * size
            return self._scores(confusion.cpu(), loss_sum / sum(sizes))

    def _scores(self, confusion: Tensor, loss: float) -> dict[str, float]:
        scores = segmentation_scores(confusion, self.class_names) | {"loss": loss}
        for name, metric in self.metrics.items():
            if name in scores:
                raise LabError(f"validation.metrics.{name}: the name is taken by a metric of the lab, use another")
            scores[name] = float(metric(confusion))
        return scores


def confusion_matrix(prediction: Tensor, mask: Tensor, classes: int, ignore_index: int | None) -> Tensor:
    """Pixels by true class (rows) and predicted class (columns), int64 [classes, classes], where the masks are.

    Args:
        prediction, mask: class indices, int64 [N, H, W]; pixels whose mask is `ignore_index` are not counted.

    Raises LabError on a CPU when a mask holds a class that there is not; a GPU leaves such pixels out.
    """
    places = classes**2
    index = mask * classes + prediction + 1
    if ignore_index is not None:
        index = index.where(mask != ignore_index, 0)
    if index.is_cuda:
        # bincount would wait for the largest index, to know how long its answer is.
        counts = index.histc(places + 1, 0, places + 1)
    else:
        counts = index.flatten().bincount(minlength=places + 1)
        if len(counts) > places + 1:
            raise LabError(f"a mask holds class {int(mask.max())}, the data has {classes}: check data.ignore_index")
    return counts[1:].reshape(classes, classes)


def segmentation_scores(confusion: Tensor, class_names: Sequence[str]) -> dict[str, float]:
    """IoU, Dice and accuracy from a confusion matrix, int64 [classes, classes], true class in rows.

    With TP, FP and FN of a class counted over all labelled pixels of all images together: `iou/<class>` = TP
    / (TP + FP + FN), `dice/<class>` = 2 TP / (2 TP + FP + FN). `iou` and `dice` are their plain means over
    the classes that occur in the masks; a class that occurs nowhere has no entry, and pixels wrongly given to
    it count against the classes that they belong to. So which classes are averaged depends on the data alone,
    and not on the model. `accuracy` is the share of pixels that are right. All are in [0, 1].

    Raises LabError when no pixel is labelled.
    """
    pixels = confusion.double()
    hit, true, predicted = pixels.diagonal(), pixels.sum(1), pixels.sum(0)
    if true.sum() == 0:
        raise LabError("the split to validate on has no labelled pixel: check data.ignore_index")
    present = true > 0
    iou = hit / (true + predicted - hit)
    dice = 2 * hit / (true + predicted)
    scores = {
        "iou": iou[present].mean().item(),
        "dice": dice[present].mean().item(),
        "accuracy": (hit.sum() / true.sum()).item(),
    }
    for index in present.nonzero().flatten().tolist():
        scores[f"iou/{class_names[index]}"] = iou[index].item()
        scores[f"dice/{class_names[index]}"] = dice[index].item()
    return scores
