"""How well a network segments: IoU, Dice, accuracy and loss on a split. Must not know of pruning."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

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
        metrics: metrics of the user's own, by name: callables that map the confusion matrix of a split (int64
            [classes, classes], true class in rows, predicted class in columns) to a number.
    """

    promise: Promise
    keep: int = 5
    metrics: Mapping[str, Metric] | None = None


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
        confusion = MulticlassConfusionMatrix(self.classes, ignore_index=self.ignore_index, validate_args=False).to(
            self.settings.device
        )
        images, loss_sum = 0, 0.0
        self.settings.place(model)
        with in_mode(model, training=False), torch.inference_mode():
            for image, mask in batches:
                image, mask = self.settings.move(image, mask)
                logits = self.settings.logits(model, image)
                if logits.shape[1] != self.classes:
                    raise LabError(f"model.classes: the model gives {logits.shape[1]}, the data has {self.classes}")
                confusion.update(logits.argmax(1), mask)
                loss_sum += self.loss(logits, mask).item() * len(image)
                images += len(image)
        if images == 0:
            raise LabError("the split to validate on is empty: add images to it")
        return self._scores(confusion.compute().cpu(), loss_sum / images)

    def _scores(self, confusion: Tensor, loss: float) -> dict[str, float]:
        scores = segmentation_scores(confusion, self.class_names) | {"loss": loss}
        for name, metric in self.metrics.items():
            if name in scores:
                raise LabError(f"validation.metrics.{name}: the name is taken by a metric of the lab, use another")
            scores[name] = float(metric(confusion))
        return scores


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
