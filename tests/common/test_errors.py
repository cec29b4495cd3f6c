"""What an exception says, in one line."""

from pruning_lab.common.errors import first_line


def test_the_first_line_that_says_something() -> None:
    assert first_line(ValueError("\n  one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


def test_a_long_line_keeps_its_start_and_its_end() -> None:
    line = first_line(ValueError("the start " + "x" * 500 + " in layer4.conv2"))
    assert len(line) == 160
    assert line.startswith("the start ")
    assert line.endswith(" in layer4.conv2")
    assert first_line(ValueError("y" * 160)) == "y" * 160
