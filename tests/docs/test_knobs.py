"""The pages of knobs and of the options of importance are read off conf/."""

from pathlib import Path
from types import ModuleType

import pytest

from docs import importance_options, knobs
from docs.knobs import Knob, plain, read_option
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
        if path.parent.name not in ("experiment", "debug", "hparams_search")
        for knob in read_option(path).knobs
        if not knob.meaning and "." not in knob.path
    ]
    assert silent == []


def test_a_list_of_steps_is_one_knob(tmp_path: Path) -> None:
    option = read_option(written(tmp_path, "# All.\nsteps:\n  - name: A\n    p: 0.3\n  - {name: B}\n"))
    assert option.knobs == (Knob("steps", "", "All."),)


def test_signs_in_a_comment_are_no_markup() -> None:
    assert plain("|a| * b_i of `c|d_e`") == r"\|a\| \* b\_i of `c|d_e`"


@pytest.mark.parametrize("page", [knobs, importance_options], ids=["knobs", "importance"])
def test_a_page_says_what_conf_says(page: ModuleType, tmp_path: Path) -> None:
    name = page.__name__
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), f"run: python -m {name}"
    assert page.main(["--into", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page.render()


def test_every_option_of_importance_is_of_a_kind() -> None:
    options = sorted((conf_folder() / "importance").glob("*.yaml"))
    assert {importance_options.kind_of(path) for path in options} == importance_options.KINDS.keys()
