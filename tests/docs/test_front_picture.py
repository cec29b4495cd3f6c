"""The picture of the front page shows the points of the study's tables."""

from pathlib import Path

import pytest

from docs.front_picture import PICTURE, ROWS, SHOWN, STUDY, described, draw, main, read_tables

PAGE = """# The study

### eyes of another table

| method | 50 % FLOPs | 5 % FLOPs |
| :-- | --: | --: |
| random | 1.0 | 2.0 |

<!-- healing:start -->
### eyes

Test IoU in percent, mean ± standard deviation over seeds; the base has 90.5.

**Healing: none**

| method | compensation | 50 % FLOPs | 5 % FLOPs |
| :-- | --: | --: | --: |
| random | least_squares | 3.0 | 4.0 |

**Healing: 1 epoch**

| method | compensation | 50 % FLOPs | 5 % FLOPs |
| :-- | --: | --: | --: |
| random | least_squares | 80.1 ± 0.2 | **70.0** |
| random | norms | 5.0 | 6.0 |
| unknown | norms | 1.0 ± 0.2 | 2.0 ± 0.2 |

### Our best against the best peer

| data | healing |
| :-- | --: |
| eyes | 1 epoch |
<!-- healing:end -->
"""


def test_points_are_read_off_the_tables() -> None:
    (table,) = read_tables(PAGE)
    assert (table.data, table.healing, table.base) == ("eyes", "1 epoch", 90.5)
    assert table.curves == {("random", "least_squares"): [(50.0, 80.1, 0.2), (5.0, 70.0, 0.0)]}


def test_every_method_of_the_picture_is_in_every_table_of_the_study() -> None:
    tables = read_tables(STUDY.read_text(encoding="utf-8"))
    assert [(table.data, table.healing) for table in tables] == [
        (data, healing) for data in ("eyes", "fields", "nuclei") for healing in ROWS
    ]
    assert all(table.curves.keys() == SHOWN.keys() for table in tables)


def test_the_picture_is_of_the_tables_as_they_are() -> None:
    tables = read_tables(STUDY.read_text(encoding="utf-8"))
    assert described(tables) in PICTURE.read_text(encoding="utf-8"), "run: python -m docs.front_picture"


@pytest.mark.slow
def test_a_picture_says_what_it_shows(tmp_path: Path) -> None:
    tables = read_tables(STUDY.read_text(encoding="utf-8"))
    text = draw(tables, tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert all(name in text for name, _, _ in SHOWN.values())
    assert main(["--into", str(tmp_path / "again.svg")]) == 0
    assert (tmp_path / "again.svg").read_text(encoding="utf-8") == text
