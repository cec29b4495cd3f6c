"""The one exception that means "the user can mend this": its text is a single line that says what and how."""


class LabError(Exception):
    """A user's mistake. The message names the key, file or layer, and what to do about it.

    The command line prints the message alone, without a traceback.
    """


class GivenUpError(LabError):
    """A run ends before its time, because the search that it is a trial of has better ones. It is no failure."""


def first_line(error: BaseException, longest: int = 160) -> str:
    """The first line of what an exception says; its type where it says nothing.

    A line of more than so many characters loses its middle: what it is about stands first, and where it was often last.
    """
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if len(line) <= longest:
        return line
    end = longest // 3
    return f"{line[: longest - 1 - end]}…{line[-end:]}"


def one_line(error: BaseException) -> str:
    """An exception and what caused it, told once each, on one line."""
    told: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = " ".join(str(current).split())
        if text and not any(text in earlier for earlier in told):
            told.append(text)
        if isinstance(current, LabError):
            break
        current = current.__cause__
    return ": ".join(told) or type(error).__name__
