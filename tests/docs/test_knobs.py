"""The page of knobs is read off conf/."""

from pathlib import Path

from docs.knobs import PAGE, Knob, main, read_option, render
from pruning_lab.tasks.config import conf_folder


def written(folder: Path, text: str) -> Path:
    path = folder / "option.yaml"
    path.write_text(text)
    return path


def test_a_comment_above_or_behind_a_key_is_its_meaning(tmp_path: Path) -> None:
    option = read_option(written(tmp_path, "# About it.\n_target_: a.B\n# Above.\none: 1\ntwo: 2  # behind\n"))
    assert option.about == "About it."
    assert option.knobs == (Knob("one", "1", "Above."), Knob("two", "2", "behind"))


def test_nested_keys_carry_their_path(tmp_path: Path) -> None:
    option = read_option(written(tmp_path, "amount:\n  _target_: a.B\n  # How much.\n  share: 0.1\n"))
    assert option.knobs == (Knob("amount.share", "0.1", "How much."),)


def test_a_comment_on_the_first_key_is_not_about_the_file(tmp_path: Path) -> None:
    option = read_option(written(tmp_path, "# Only the key.\none: 1\n"))
    assert option.about == ""
    assert option.knobs == (Knob("one", "1", "Only the key."),)


def test_every_knob_of_the_project_has_a_meaning() -> None:
    silent = [
        f"{path.parent.name}/{path.name}: {knob.path}"
        for path in conf_folder().rglob("*.yaml")
        if path.parent.name not in ("experiment", "debug")
        for knob in read_option(path).knobs
        if not knob.meaning and "." not in knob.path
    ]
    assert silent == []


def test_a_list_of_steps_is_one_knob(tmp_path: Path) -> None:
    option = read_option(written(tmp_path, "# All.\nsteps:\n  - name: A\n    p: 0.3\n  - {name: B}\n"))
    assert option.knobs == (Knob("steps", "", "All."),)


def test_the_page_lists_the_knobs_as_they_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m docs.knobs"


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    assert main(["--into", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == render()
