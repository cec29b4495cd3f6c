import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.history import History, summary


def history_of(*rows: dict[str, float]) -> History:
    history = History()
    for row in rows:
        history.append(row)
    return history


def pruned_history() -> History:
    """Fractions that skip the 50 % mark exactly, pass 25 % at its very value, and never reach 10 %."""
    return history_of(
        {"step": 0, "resources/flops_fraction": 1.0, "resources/weights_fraction": 1.0, "val/iou": 0.90},
        {"step": 1, "resources/flops_fraction": 0.6, "resources/weights_fraction": 0.45, "val/iou": 0.91},
        {"step": 2, "resources/flops_fraction": 0.4, "resources/weights_fraction": 0.30, "val/iou": 0.88},
        {"step": 3, "resources/flops_fraction": 0.25, "resources/weights_fraction": 0.09, "val/iou": 0.85},
        {"step": 4, "resources/flops_fraction": 0.25, "resources/weights_fraction": 0.09, "val/iou": 0.89},
    )


def test_the_file_has_a_header_of_all_names_in_first_seen_order_and_a_line_per_step(tmp_path: Path) -> None:
    history = history_of(
        {"step": 0, "val/iou": 0.5},
        {"val/iou_before_recovery": 0.25, "val/iou": 0.75, "step": 1},
    )
    history.write(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == ("step,val/iou,val/iou_before_recovery\n0,0.5,\n1,0.75,0.25\n")


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(categories=["L", "P", "Zs"]), min_size=1),
            st.floats(allow_nan=False),
            max_size=4,
        ),
        max_size=6,
    )
)
def test_what_is_written_is_read_back_bit_for_bit(rows: list[dict[str, float]]) -> None:
    history = history_of(*({**row, "step": step} for step, row in enumerate(rows)))
    with tempfile.TemporaryDirectory() as folder:
        history.write(Path(folder) / "history.csv")
        assert History.read(Path(folder) / "history.csv").rows == history.rows


def test_nan_survives_the_file_and_differs_from_no_value(tmp_path: Path) -> None:
    history_of({"step": 0, "val/loss": math.nan}, {"step": 1, "val/iou": 1.0}).write(tmp_path / "history.csv")
    first, second = History.read(tmp_path / "history.csv")
    assert math.isnan(first["val/loss"])
    assert "val/loss" not in second


def test_scalars_of_any_library_become_floats() -> None:
    history = history_of({"step": torch.tensor(0), "val/iou": torch.tensor(0.5)})  # type: ignore[dict-item]
    assert history[0] == {"step": 0, "val/iou": 0.5}
    assert type(history[0]["val/iou"]) is float


def test_a_column_has_a_value_per_row() -> None:
    history = history_of({"step": 0}, {"step": 1, "val/iou": 0.5})
    column = history.column("val/iou")
    assert math.isnan(column[0])
    assert column[1] == 0.5


def test_a_column_that_no_row_has_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(KeyError, match=r"val/iuo.*step, val/iou"):
        history_of({"step": 0, "val/iou": 0.5}).column("val/iuo")


@pytest.mark.parametrize("step", [1, 0])
def test_a_step_is_written_once_and_in_order(step: int) -> None:
    with pytest.raises(ValueError, match=f"step {step} is not after step 1"):
        history_of({"step": 1}, {"step": step})


def test_a_row_needs_its_step() -> None:
    with pytest.raises(ValueError, match="needs a 'step'"):
        history_of({"val/iou": 0.5})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("step,val/iou\n0,0.5\n1,half\n", "line 3, column val/iou: 'half' is not a number"),
        ("step,val/iou\n0\n", "line 2: not as many cells"),
        ("step\n0,1\n", "line 2: not as many cells"),
        ("step\n1\n1\n", "line 3: step 1 is not after step 1"),
        ("val/iou\n1\n", "line 2: a history row needs a 'step'"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(LabError) as caught:
        History.read(path)
    assert str(caught.value).startswith(f"{path}, {complaint}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"nowhere.history\.csv: can't be read"):
        History.read(tmp_path / "nowhere" / "history.csv")


def test_the_summary_tells_the_chosen_row_and_the_best_score_within_each_milestone() -> None:
    assert summary(pruned_history(), chosen=4) == {
        "best/val_iou": 0.89,
        "best/flops_fraction": 0.25,
        "best/weights_fraction": 0.09,
        "best/step": 4,
        "at/flops_50/val_iou": 0.89,
        "at/flops_25/val_iou": 0.89,
        "at/weights_50/val_iou": 0.91,
        "at/weights_25/val_iou": 0.89,
        "at/weights_10/val_iou": 0.89,
    }


def test_the_summary_follows_the_choice() -> None:
    assert summary(pruned_history(), chosen=1)["best/val_iou"] == 0.91
