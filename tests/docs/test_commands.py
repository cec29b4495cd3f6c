"""What README and docs tell to type is accepted: commands compose, Python runs, links lead somewhere."""

from __future__ import annotations

import contextlib
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

import pruning_lab
from pruning_lab.tasks.config import LabConfig, check_keys, conf_folder
from tests.docs.pages import PAGES, Found, anchors, commands, links, python_blocks, spans
from tests.paths import ROOT
from tests.tasks.test_config import NEEDED, composed

PLACEHOLDERS = {
    "PATH": "some/folder",
    "RUN": "some/run",
    "<run>": "some-run",
    "<report>": "some-report",
    "<sweep>": "some-sweep",
    "METHOD": "l1",
    "NAME": "l1",
    "SEEDS": "41,42",
    "VARIANT": "model.depth=4",
}
LAB = re.compile(r"^(?:(?:\.venv/bin/)?python3? -m pruning_lab|pruning-lab)(?: (?P<arguments>.*))?$")
MODULE = re.compile(r"^(?:\.venv/bin/)?python3? -m (?P<module>(?:pruning_lab|docs|tests)\.[\w.]+)(?P<arguments>.*)$")
ANSWERED_AT_ONCE = {"--help", "--version"}
NOT_INSTALLED = ("hydra/launcher=",)
"""Choices that a plugin of Hydra brings, which the page tells to install."""

GROUPS = {path.name for path in conf_folder().iterdir() if path.is_dir()} | set(LabConfig.__dataclass_fields__)
OVERRIDE = re.compile(r"^[+~]{0,2}(?P<key>\w+)[\w./@]*=.+$")
OF_PREDICT = ("output", "overlays", "probabilities", "values", "trust", "resize", "tile", "overlap", "batch_size")
OF_REPORT = ("formats", "pictures", "ablation")
OF_SHOW = ("port", "max_megabytes")
OF_EVALUATE = ("split=", "root=", "reading.", "worst=", "base=")
OF_EXPORT = ("format=", "precision=", "pixels=", "head=", "take=", "fold=", "dynamic_", "opset=", "size=", "images=")
OF_CALIBRATION = ("score_", "calibration", "float_ends=")
GOES_WITH = {
    "task.same=": "task=scratch",
    "task.limits=": "task=budgets",
    **dict.fromkeys((f"task.{key}=" for key in OF_PREDICT), "task=predict"),
    **dict.fromkeys((f"task.{key}" for key in OF_EVALUATE), "task=evaluate"),
    **dict.fromkeys((f"task.{key}=" for key in OF_REPORT), "task=report"),
    **dict.fromkeys((f"task.{key}" for key in (*OF_EXPORT, *OF_CALIBRATION)), "task=export"),
    **dict.fromkeys((f"task.{key}=" for key in OF_SHOW), "task=show"),
    "data.download=": "data=voc",
    "data.": "data=folder",
}
"""What a sentence takes for granted around a key -> the choice that has it, the first that fits."""

NOT_RUN = {
    "docs/channels.md": "its function is for a network with layers of these names",
    "docs/first_run.md": "loads a run that the reader has made",
    "CONTRIBUTING.md": "a docstring to follow, without a body",
}
"""Pages whose Python is compiled only, and why."""

COMMANDS = [found for page in PAGES for found in commands(page)]
LAB_COMMANDS = [found for found in COMMANDS if LAB.match(found.text)]
MODULE_COMMANDS = [found for found in COMMANDS if MODULE.match(found.text)]
PYTHON = [found for page in PAGES for found in python_blocks(page)]


def filled(text: str) -> str:
    for placeholder, value in PLACEHOLDERS.items():
        text = re.sub(rf"(?<![\w])({re.escape(placeholder)})(?![\w])", value, text)
    return text


def told_together(found: Found) -> list[str] | None:
    """The overrides that a piece of code in a sentence consists of; None where it is something else, or left open."""
    if "..." in found.text or "<" in found.text:
        return None
    with contextlib.suppress(ValueError):
        words = shlex.split(filled(found.text))
        keys = [match["key"] for word in words if (match := OVERRIDE.match(word))]
        if words and len(keys) == len(words) and set(keys) <= GROUPS and all("mlflow" not in word for word in words):
            return words
    return None


# The page of knobs names every option, and tests/tasks/test_config.py composes every option.
SPANS = [found for page in PAGES if page.stem != "knobs" for found in spans(page) if told_together(found)]


def swept(override: Override) -> list[str]:
    """The values of a sweep; of an interval, that of a search, both ends."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        return [str(value.start), str(value.end)]
    return list(override.sweep_string_iterator())


def each_job(words: list[str]) -> Iterator[list[str]]:
    """The overrides of every job of a sweep, so that each value is met once."""
    parsed = OverridesParser.create().parse_overrides(words)
    values = [
        [f"{one.input_line.partition('=')[0]}={value}" for value in swept(one)] if one.is_sweep_override() else [word]
        for one, word in zip(parsed, words, strict=True)
    ]
    for job in range(max(map(len, values), default=1)):
        yield [several[job % len(several)] for several in values]


def compose_and_check(words: list[str]) -> None:
    """As the command line does, up to the point where the task would begin."""
    words = [word for word in words if not word.startswith(NOT_INSTALLED)]
    for job in each_job(words):
        keys = {word.partition("=")[0] for word in job}
        needed = [extra for word in job for extra in NEEDED.get(word, []) if extra.partition("=")[0] not in keys]
        check_keys(composed(*job, *needed))


def test_there_is_something_to_try() -> None:
    assert len(LAB_COMMANDS) > 30
    assert len(SPANS) > 30
    assert len(PYTHON) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("found", LAB_COMMANDS, ids=str)
def test_a_command_is_accepted(found: Found) -> None:
    match = LAB.match(found.text)
    assert match is not None
    words = shlex.split(filled(match["arguments"] or ""), comments=True)
    if "hydra/launcher=ray_jobs" in words:
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs an environment of its own")
    if ANSWERED_AT_ONCE & set(words):
        return
    if "--cfg" in words:
        del words[words.index("--cfg") : words.index("--cfg") + 2]
    if "--config-dir" in words:
        at = words.index("--config-dir")
        words[at : at + 2] = [f"hydra.searchpath=[file://{ROOT / words[at + 1]}]"]
    compose_and_check([word for word in words if word != "-m"])


@pytest.mark.slow
@pytest.mark.parametrize("found", SPANS, ids=str)
def test_overrides_within_a_sentence_are_accepted(found: Found) -> None:
    words = told_together(found)
    assert words is not None
    chosen = {word.partition("=")[0] for word in words}
    fitting = [next((choice for start, choice in GOES_WITH.items() if word.startswith(start)), "=") for word in words]
    around = {choice for choice in fitting if choice != "=" and choice.partition("=")[0] not in chosen}
    compose_and_check([*around, *words])


@pytest.mark.parametrize("found", MODULE_COMMANDS, ids=str)
def test_a_script_is_there_and_takes_the_options_that_it_is_given(
    found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    match = MODULE.match(found.text)
    assert match is not None
    words = shlex.split(filled(match["arguments"]), comments=True)
    with pytest.raises(SystemExit):
        importlib.import_module(match["module"]).main(["--help"])
    known = capsys.readouterr().out
    assert [word for word in words if word.startswith("--") and word not in known] == []
    if "--into" in words:
        page = ROOT / words[words.index("--into") + 1]
        marker = words[words.index("--marker") + 1] if "--marker" in words else match["module"].rpartition(".")[2]
        assert f"<!-- {marker.removesuffix('_table')}:start -->" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("found", PYTHON, ids=str)
def test_python_runs(found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(found.text, found.page, "exec")
    if found.page not in NOT_RUN:
        monkeypatch.chdir(tmp_path)
        exec(code, {"__name__": "snippet"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{page.name} links to {target}"
        read = ROOT / f"{target.stem.upper()}.md" if "{include}" in target.read_text(errors="ignore") else target
        assert not anchor or anchor in anchors(read), f"{page.name} links to {target.name}#{anchor}"


def test_the_front_page_fits() -> None:
    readme = (ROOT / "README.md").read_bytes()
    assert len(readme) <= 10_000
    screen = readme.decode().splitlines()[:20]
    assert any("+experiment=unet_ipad" in line for line in screen)
    assert any("pytest" in line for line in screen)


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == pruning_lab.__version__
    assert f"version {pruning_lab.__version__}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"## {pruning_lab.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_map_has_every_folder() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = [path.parent.name for path in (ROOT / "pruning_lab").glob("*/__init__.py")]
    assert [name for name in folders if not re.search(rf"^ +{name}/ +\d ", page, re.MULTILINE)] == []
