"""Keeps images that cost time to make, up to a stated limit of memory. Knows nothing of how they are made."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pruning_lab.common.errors import LabError
from pruning_lab.data.contract import Image, Mask, Split

Item = TypeVar("Item")
Result = TypeVar("Result")

BYTES_PER_MB = 2**20
READING_THREADS = 4
"""Decoding waits for the disk as well as for the processor, so a few more threads than cores do no harm."""
READ_AT_ONCE = 64
"""Bounds the memory of reading ahead when nothing is kept."""


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield what `work` returns for each item, in order; it is done in threads, and only a few items ahead."""
    with ThreadPoolExecutor(READING_THREADS) as threads:
        for start in range(0, len(items), READ_AT_ONCE):
            yield from threads.map(work, items[start : start + READ_AT_ONCE])


class MemoryBudget:
    """How many bytes of images may be kept, over all the splits of a data set together."""

    def __init__(self, megabytes: float) -> None:
        if megabytes < 0:
            raise LabError(f"data.cache_mb is {megabytes}: give megabytes of memory, or 0 to keep nothing")
        self._all = self.bytes_left = int(megabytes * BYTES_PER_MB)

    def __getstate__(self) -> dict[str, Any]:
        """With nothing taken: another process keeps images of its own."""
        return {**self.__dict__, "bytes_left": self._all}

    def take(self, count: int) -> bool:
        """Reserve `count` bytes and return True; return False and reserve nothing if that is too much."""
        if count > self.bytes_left:
            return False
        self.bytes_left -= count
        return True


class Cached:
    """A split that remembers what it has read while the budget lasts; past it, it reads again each time.

    What it returns is read-only, so that no reader changes what the next one gets.
    """

    def __init__(self, split: Split, budget: MemoryBudget) -> None:
        self.source = split
        self._budget = budget
        self._kept: dict[int, tuple[Image, Mask]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the images: another process reads its own."""
        return {**self.__dict__, "_kept": {}}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Image, Mask]:
        return self._keep(index, self._read(index))

    def label(self, index: int) -> str:
        """Return the label that the wrapped split gives."""
        return self.source.label(index)

    @property
    def is_whole(self) -> bool:
        """Whether everything is kept, so that nothing has to be read again."""
        return len(self._kept) == len(self)

    def read_all(self) -> Iterator[tuple[Image, Mask]]:
        """Read every pair in threads, a few at a time, keep what fits, and yield the pairs in order."""
        for index, pair in enumerate(in_threads(self._read, range(len(self)))):
            yield self._keep(index, pair)

    def fill(self) -> None:
        """Read ahead until everything is kept or the budget is spent."""
        for index, _ in enumerate(self.read_all()):
            if index not in self._kept:
                return

    def _read(self, index: int) -> tuple[Image, Mask]:
        kept = self._kept.get(index)
        return self.source[index] if kept is None else kept

    def _keep(self, index: int, pair: tuple[Image, Mask]) -> tuple[Image, Mask]:
        if index in self._kept:
            return self._kept[index]
        image, mask = pair
        image.setflags(write=False)
        mask.setflags(write=False)
        if self._budget.take(image.nbytes + mask.nbytes):
            self._kept[index] = pair
        return pair
