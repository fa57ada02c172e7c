"""What every room of pictures offers, so that the catalogue, the cache and the peek treat them all alike."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ddpm_core.config import BACKGROUNDS, COLOURS, CROPS
from ddpm_core.errors import UsageError

# progress(what, done, total) is told how far a slow thing is (total 0: nobody knows); whatever it raises cancels that thing.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Look:
    """How pictures of any shape and colour become alike squares. Raises `UsageError` for a word it does not know."""

    crop: str = "center"  # the middle square, or "pad": the whole picture with a border
    background: str = "white"  # the colour of the border, and behind transparent pictures
    colour: str = "auto"  # as the set is, or all "colour" (3 channels) or all "grey" (1 channel)

    def __post_init__(self) -> None:
        for name, choices in (("crop", CROPS), ("background", BACKGROUNDS), ("colour", COLOURS)):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(choices)}.")

    def channels(self, native: int) -> int:
        """1 (grey) or 3 (RGB) for a set that has `native` channels."""
        return {"auto": native, "colour": 3, "grey": 1}[self.colour]

    def suffix(self, native: int) -> str:
        """`-pad-black-grey` for a file's name; empty where all is as it is by itself."""
        words = [self.crop] * (self.crop != "center") + [self.background] * (self.background != "white")
        if self.channels(native) != native:
            words.append(self.colour)
        return "".join(f"-{word}" for word in words)


@dataclass(frozen=True)
class DatasetInfo:
    """What a person should know about a data set before training on it."""

    key: str  # as written in `RunConfig.dataset`
    title: str  # what it is called in a sentence
    about: str  # one sentence, with the credit its licence asks for
    pictures: int  # how many there are; for a folder, files that look like pictures (broken ones are found at load)
    channels: int  # 1 = grey, 3 = RGB
    classes: tuple[str, ...]  # names of the labels, () when there are none


@dataclass(frozen=True)
class Broken:
    """A picture that could not be read, in the place where the picture would have been."""

    file: str  # "cats/7.jpg"
    why: str  # "the file ends too early"


class Source(Protocol):
    """One data set, seen with one `Look`. Making one reads no pixels and is quick, but for looking through a large folder."""

    info: DatasetInfo
    slug: str  # plain letters for file names; the same for the same data set and look

    def version(self) -> str:
        """A text that differs whenever the pictures may differ."""

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int] | Broken]:
        """The pictures in a fixed order (or only those at `picks`), each uint8 (C, size, size) with its label (-1: none).

        Without `picks` a set that is not here is downloaded first, where it can be.
        """


class Teller:
    """Tells `progress`, if there is one, how far `what` is, at most ten times a second (and at once for the first time)."""

    def __init__(self, progress: Progress | None, what: str, total: int = 0):
        self.what, self.total = what, total
        self._progress = progress
        self._told = 0.0

    def __call__(self, done: int, *, now: bool = False) -> None:
        if self._progress and (now or time.monotonic() - self._told > 0.1):
            self._progress(self.what, done, self.total)
            self._told = time.monotonic()
