"""How far the scores of methods agree with full ablation, as records. Knows no scores."""

from __future__ import annotations

from dataclasses import dataclass

AGREEMENT_FILE = "correlation.csv"

JUDGE = "full ablation"
"""The record of the judge itself: how far it agrees between two halves of its images, and what it cost."""


@dataclass(frozen=True)
class Agreement:
    """A method's scores on the base beside those of full ablation on the same images.

    Attributes:
        base: hash of the base.
        spearman: rank correlation over all prunable groups of the network.
        within_layers: mean of the rank correlations within layers.
        groups: prunable groups.
        layers: how many layers have groups enough for a correlation of their own.
        images: given to either.
        seconds: that the method took for all groups.
        seed: of the images and of what is random in a method.
        effect: what ablation measured: loss, flips, soft_mask or logits.
        note: why there are no numbers (they are NaN), else empty.
    """

    base: str
    method: str
    spearman: float
    within_layers: float
    groups: int
    layers: int
    images: int
    seconds: float
    seed: int
    effect: str
    note: str = ""
