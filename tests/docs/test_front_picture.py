"""The picture of the front page shows the points of the study's tables."""

from pathlib import Path

from docs.front_picture import PICTURE, SHOWN, STUDY, described, draw, main, read_tables

PAGE = """# The study

### eyes, unet

The base (abc), from which all runs start, has 90.5 at 1 M MACs.

| method | 50 % FLOPs | 5 % FLOPs | s/step |
| :-- | --: | --: | --: |
| random | 80.1 ± 0.2 ≈ | **70.0 ± 1.5** | 0.1 |
| unknown | 1.0 ± 0.2 | 2.0 ± 0.2 | 0.1 |
"""


def test_points_are_read_off_the_tables() -> None:
    (table,) = read_tables(PAGE)
    assert (table.data, table.base) == ("eyes", 90.5)
    assert table.curves == {"random": [(50.0, 80.1, 0.2), (5.0, 70.0, 1.5)]}


def test_every_method_of_the_picture_is_in_every_table_of_the_study() -> None:
    tables = read_tables(STUDY.read_text(encoding="utf-8"))
    assert [table.data for table in tables] == ["eyes_tested", "nuclei"]
    assert all(table.curves.keys() == SHOWN.keys() for table in tables)


def test_the_picture_is_of_the_tables_as_they_are() -> None:
    tables = read_tables(STUDY.read_text(encoding="utf-8"))
    assert described(tables) in PICTURE.read_text(encoding="utf-8"), "run: python -m docs.front_picture"


def test_a_picture_says_what_it_shows(tmp_path: Path) -> None:
    tables = read_tables(STUDY.read_text(encoding="utf-8"))
    text = draw(tables, tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert all(name in text for name, _, _ in SHOWN.values())
    assert main(["--into", str(tmp_path / "again.svg")]) == 0
    assert (tmp_path / "again.svg").read_text(encoding="utf-8") == text
