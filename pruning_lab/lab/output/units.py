"""How quantities are spelled for people: one spelling for console, tables and figures. Knows no run."""


def percent(fraction: float, digits: int = 1) -> str:
    """0.2512 -> "25.1 %"."""
    return f"{100 * fraction:.{digits}f} %"


def points(difference: float) -> str:
    """A difference of two scores, in percentage points: 0.0042 -> "+0.42 points"."""
    return f"{100 * difference:+.2f} points"


def count(number: float) -> str:
    """A count with three significant digits and a decimal prefix: 17_263_042 -> "17.3 M"."""
    for size, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= 0.9995 * size:
            return f"{_three_digits(number / size)}{prefix}"
    return f"{number:.0f}"


def size(number_of_bytes: float) -> str:
    """Bytes with a decimal prefix: 69_100_000 -> "69.1 MB"."""
    return count(number_of_bytes) + ("B" if abs(number_of_bytes) >= 999.5 else " B")


def milliseconds(value: float) -> str:
    """3.14159 -> "3.14 ms"; 158.2 -> "158 ms"."""
    return f"{_three_digits(value)} ms"


def duration(seconds: float) -> str:
    """75.2 -> "1:15"; 3.21 -> "3.2 s"; 4000 -> "1:06:40"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _three_digits(value: float) -> str:
    """Three significant digits without an exponent, for values from 0.01 to 999."""
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals}f}"
