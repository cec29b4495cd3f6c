"""The page of importance options says of each what it is."""

import pytest

from docs.importance_options import KINDS, PAGE, kind_of, render
from docs.knobs import read_option
from pruning_lab.tasks.config import conf_folder

OPTIONS = sorted((conf_folder() / "importance").glob("*.yaml"))


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_has_a_kind_and_a_description(path) -> None:
    assert kind_of(path) in KINDS
    assert read_option(path).about
    assert f"| `{path.stem}` |" in render()


def test_no_two_options_are_the_same_file() -> None:
    contents = [[line for line in path.read_text().splitlines() if not line.startswith("#")] for path in OPTIONS]
    assert all(contents.count(one) == 1 for one in contents)


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m docs.importance_options"
