"""Which of a number of things in a row are one process's. Knows nothing of the things."""


def part_of(count: int, part: tuple[int, int]) -> slice:
    """The things of part `number` of `parts`; the parts follow each other, and differ by one in size at most."""
    number, parts = part
    return slice(number * count // parts, (number + 1) * count // parts)
