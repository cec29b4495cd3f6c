"""Each way in which a comparison can be unfair is found and told with names and numbers, and not without cause."""

import json
from typing import Any

import pytest

from pruning_lab.tasks.report.fairness import KINDS, across, within
from pruning_lab.tasks.report.study_rows import StudyRow
from pruning_lab.tasks.report.study_summary import compare
from tests.tasks.report.studies import study_row


def fair() -> list[StudyRow]:
    return [study_row(method, seed, limit) for method in ("ipad", "l1") for seed in (1, 2) for limit in (0.5, 0.1)]


def with_last(**changes: Any) -> list[StudyRow]:
    """A fair comparison, but for its last run: l1 at 10 % FLOPs with seed 2."""
    return [*fair()[:-1], study_row("l1", **{"seed": 2, "limit": 0.1, **changes})]


UNFAIR: dict[str, tuple[list[StudyRow], str]] = {
    "budget": (with_last(met=0, flops_fraction=0.14), "l1 at 10 % FLOPs: 1 of 2 runs ended above the budget."),
    "reached": (with_last(flops_fraction=0.04), "l1 at 10 % FLOPs went on to 7.0 % of FLOPs"),
    "seeds": (fair()[:-1], "l1 at 10 % FLOPs has 1 seed, where others have 2."),
    "missing": (fair()[:-3] + fair()[-2:-1], "l1 has no run at 10 % FLOPs."),
    "epochs": (with_last(epochs=24.0), "At 10 % FLOPs, l1 recovered for 18 epochs, ipad for 12."),
    "commit": (with_last(commit="0123456789abcdef"), "96fd26e (7 runs), 0123456 (1 run)"),
    "settings": (with_last(differing=json.dumps({"precision": "bfloat16"})), "precision is bfloat16 (l1)."),
    "machine": (with_last(base_latency_ms=15.0), "from 10.0 ms to 15.0 ms"),
    "data": (with_last(base_test_iou=0.92), "The base's own test IoU is 91.00 % in one run and 92.00 % in another."),
}


def test_a_fair_comparison_has_no_warning() -> None:
    (comparison,) = compare(fair())
    assert within(comparison) == across([comparison]) == []


@pytest.mark.parametrize("kind", UNFAIR)
def test_what_is_unfair_is_told_with_names_and_numbers(kind: str) -> None:
    rows, told = UNFAIR[kind]
    (comparison,) = compare(rows)
    found = within(comparison)
    assert kind in {unfair.kind for unfair in found}
    assert any(told in unfair.text for unfair in found), [unfair.text for unfair in found]


@pytest.mark.parametrize("kind", [kind for kind in UNFAIR if kind != "missing"])
def test_nothing_else_is_told_with_it(kind: str) -> None:
    (comparison,) = compare(UNFAIR[kind][0])
    assert {unfair.kind for unfair in within(comparison)} == {kind}


def test_other_settings_of_recovery_count_as_another_recovery() -> None:
    (comparison,) = compare(with_last(differing=json.dumps({"recovery.final_epochs": 30})))
    assert [(unfair.kind, unfair.text) for unfair in within(comparison)] == [
        ("epochs", "recovery.final_epochs is 30 (l1).")
    ]


def test_as_many_but_other_seeds_are_told() -> None:
    (comparison,) = compare(with_last(seed=7))
    (unfair,) = within(comparison)
    assert unfair.text == "l1 at 10 % FLOPs has the seeds 1, 7, where others have 1, 2."


def test_code_in_no_commit_is_told() -> None:
    (comparison,) = compare([study_row("a", commit="abc-dirty"), study_row("b", commit="abc-dirty")])
    (unfair,) = within(comparison)
    assert (unfair.kind, "no commit" in unfair.text) == ("commit", True)


def test_other_bases_and_other_data_are_told_across_tables() -> None:
    rows = [study_row(base="a1"), study_row(base="b2"), study_row(base="c3", data="eyes")]
    found = {unfair.kind: unfair.text for unfair in across(compare(rows))}
    assert found == {
        "data": "The runs are on nuclei, eyes: compare within one of them only.",
        "base": "On nuclei, the runs of unet start from 2 bases (a1, b2); each has a table.",
    }


def test_every_kind_is_tried() -> None:
    assert KINDS.keys() == {*UNFAIR, "base"}
    assert all(KINDS.values())
