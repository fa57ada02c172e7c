"""What every room of pictures offers, so that the catalogue, the cache and the peek treat them all alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# progress(what, done, total) is told how far a slow thing is; whatever it raises cancels that thing.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DatasetInfo:
    """What a person should know about a data set before training on it."""

    key: str  # as written in `RunConfig.dataset`
    title: str  # for a menu
    about: str  # one sentence, with the credit its licence asks for
    pictures: int  # how many there are; for a folder, files that look like pictures (broken ones are found at load)
    channels: int  # 1 = grey, 3 = RGB
    classes: tuple[str, ...]  # names of the labels, () when there are none


@dataclass(frozen=True)
class Broken:
    """A picture that could not be read, in the place where the picture would have been."""

    why: str  # "cats/7.jpg: the file ends too early"


class Source(Protocol):
    """One data set. Making one is quick and reads no pixels."""

    info: DatasetInfo
    slug: str  # plain letters for file names; the same for the same data set

    def version(self) -> str:
        """A text that differs whenever the pictures may differ."""

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int] | Broken]:
        """The pictures in a fixed order (or only those at `picks`), each uint8 (C, size, size) with its label (-1: none)."""
