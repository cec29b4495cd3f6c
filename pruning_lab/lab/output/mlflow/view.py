"""How MLflow's pages show runs, and where they are: a saved view, and addresses. Makes no call."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow 3 that an experiment is about training, not about agents."""

WORKFLOW = "workflowType=machine_learning"
"""What the address of a page needs for MLflow 3 to open its machine-learning view, with the charts."""

LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` answers."""

VIEW = "iou_against_flops"
"""A saved view of MLflow's runs page."""

VIEW_TAG = "mlflow.sharedViewState."
"""Before a view's name: the tag of the experiment that holds it."""

SHOWN_METRICS = ("best/val_iou", "best/flops_fraction", "best/weights_fraction", "test/iou")
"""What stands for a run in a table that has room for four numbers; MLflow's menu of columns has the others."""

SECTION = "iou_over_flops"
"""The charts that a comparison starts from; MLflow adds a section for every group of metrics below it."""


def _chart(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A chart as MLflow's pages keep it."""
    fixed = {"metricSectionId": SECTION, "deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    return {"type": kind, "uuid": name, "displayName": name, **fixed, **more}


def _line(metric: str) -> dict[str, Any]:
    """The course of a metric over the FLOPs that are left."""
    axes = {"scaleType": "linear", "xAxisScaleType": "linear", "lineSmoothness": 0, "range": {}}
    shared = {"useGlobalLineChartConfig": True, "useGlobalXaxisKey": True}
    return _chart("LINE", metric, metricKey=metric, selectedMetricKeys=[metric], **OVER_FLOPS, **axes, **shared)


OVER_FLOPS = {"xAxisKey": "metric", "selectedXAxisMetricKey": "resources/flops_fraction"}

VIEW_STATE: dict[str, Any] = {
    "globalLineChartConfig": {**OVER_FLOPS, "lineSmoothness": 0},
    "compareRunCharts": [
        _chart(
            "SCATTER",
            "best/val_iou over best/flops_fraction",
            xaxis={"key": "best/flops_fraction", "type": "METRIC"},
            yaxis={"key": "best/val_iou", "type": "METRIC"},
        ),
        _line("val/iou"),
        _line("val/iou_before_recovery"),
    ],
    "compareRunSections": [{"uuid": SECTION, "name": "IoU over FLOPs", "display": True, "isReordered": False}],
    "isAccordionReordered": True,
    "orderByKey": "metrics.`best/val_iou`",
    "orderByAsc": False,
    "selectedColumns": [f"metrics.`{name}`" for name in SHOWN_METRICS],
}
"""Charts have FLOPs on the x axis where MLflow has the step, and the table has the metrics that stand for a run."""


def sweep_view_name(parent: str) -> str:
    """The saved view of one sweep's runs, by the run above them."""
    return f"sweep_{parent[:12]}"


def sweep_view(parent: str, changed: Sequence[str]) -> dict[str, object]:
    """The view of one sweep's runs.

    Args:
        parent: the run above them.
        changed: parameters that tell them apart.
    """
    columns = [*VIEW_STATE["selectedColumns"], *(f"params.`{name}`" for name in changed)]
    return {**VIEW_STATE, "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'", "selectedColumns": columns}


def sweep_address(store: str, experiment_id: str, parent: str) -> str:
    """Where people see the runs of a sweep side by side, in words."""
    view = f"compareRunsMode=CHART&viewStateShareKey={sweep_view_name(parent)}"
    return _in_words(store, f"/#/experiments/{experiment_id}/runs?{WORKFLOW}&{view}")


def run_address(store: str, experiment_id: str, run_id: str) -> str:
    """Where people see a run, in words.

    Args:
        store: the store's address, without a password.
    """
    return _in_words(store, f"/#/experiments/{experiment_id}/runs/{run_id}?{WORKFLOW}")


def _in_words(store: str, page: str) -> str:
    if store.startswith("http"):
        return store.rstrip("/") + page
    return f"{LOCAL}{page} after mlflow ui --backend-store-uri {shlex.quote(store)}"
