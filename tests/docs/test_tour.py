"""The page of the tour is what its script writes: words, commands and pictures, around what the commands said."""

import re

from docs.tour import FIGURES, OPENING, PAGE, STOPS, part

OUTPUT = re.compile(r"(?<=^```text\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)


def test_the_page_has_the_words_and_commands_of_its_script() -> None:
    written = "\n".join([OPENING, *(part(stop, "") for stop in STOPS)])
    assert OUTPUT.sub("\n", PAGE.read_text(encoding="utf-8")) == OUTPUT.sub("\n", written)


def test_every_command_said_something_and_left_its_picture() -> None:
    outputs = OUTPUT.findall(PAGE.read_text(encoding="utf-8"))
    assert len(outputs) == len(STOPS)
    assert all(output.strip() for output in outputs)
    assert all((FIGURES / stop.picture[1]).is_file() for stop in STOPS if stop.picture)
