"""Pictures that are files of their own, in a folder or a .zip: whatever can be read, each top folder a class."""

import errno
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from ddpm_core.data import decoding
from ddpm_core.data.paths import readable
from ddpm_core.data.source import Broken, Look
from ddpm_core.errors import DataError

# A disk or a network that is away for a moment, too many open files: no fault of the picture's.
PASSING = (errno.EIO, errno.ETIMEDOUT, errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ENFILE)
_PAUSE = 1.0  # seconds, before it is tried once more
_TOP = "(top folder)"  # the class of files beside the sub-folders


class ImageFiles:
    """What `ImageFolder` and `ImageZip` have in common. They tell the files' names and how to open one."""

    names: Sequence[str]  # with `/` between parts, ordered by their raw bytes
    labels: np.ndarray  # int32, indices into the classes; -1 without classes
    look: Look

    def open(self, name: str) -> Path | BinaryIO:
        """What Pillow can open. Called from several threads at once."""
        raise NotImplementedError

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int] | Broken]:
        """The pictures as uint8 (C, size, size), in the order of `names`."""
        chosen = range(len(self.names)) if picks is None else picks
        # Pillow lets go of Python's lock while it decodes, so threads use all cores.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(chosen), 64):
                some = chosen[start : start + 64]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about large or untidy files; what matters is told by `Broken`
                    decoded = list(pool.map(lambda i: self._decode(i, size), some))
                for i, item in zip(some, decoded, strict=True):
                    yield item if isinstance(item, Broken) else (item, int(self.labels[i]))

    def _decode(self, i: int, size: int) -> np.ndarray | Broken:
        name = self.names[i]
        try:
            try:
                return decoding.decode(self.open(name), size, self.look)
            except OSError as error:
                if error.errno not in PASSING:
                    raise
                time.sleep(_PAUSE)
                return decoding.decode(self.open(name), size, self.look)
        except (
            Exception
        ) as error:  # Pillow's readers raise nearly anything on damaged files; one bad file stops nothing
            if isinstance(error, OSError) and error.errno in PASSING:  # it would be left out of every later run
                raise DataError(
                    f"{readable(name)} cannot be read now ({error.strerror}): {fix_for(error)}, then try again; if that stays, take"
                    " the file out."
                ) from None
            why = str(error).split("\n")[0] or type(error).__name__
            if isinstance(error, Image.UnidentifiedImageError):
                why = "not an image"
            return Broken(readable(name, limit=1000), readable(why)[:120])


def fix_for(error: OSError) -> str:
    """What a person can do where a file or a folder cannot be read."""
    if isinstance(error, PermissionError):
        return "change its permissions"
    if isinstance(error, FileNotFoundError):
        return "put it back, or name another"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "close other programs"
    return "see whether its disk is there and whole"


def drawing_version(look: Look) -> str:
    """What decodes the files, and how."""
    return f"decoding {decoding.VERSION}, pillow {metadata.version('pillow')}, {look.crop} on {look.background}"


def classes_of(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The top folders in the order of their raw bytes, and each file's index among them; (), -1 if there are none."""
    seen: dict[str, int] = {}  # top folder -> in which place it turned up
    places = np.fromiter((seen.setdefault(_top_of(name), len(seen)) for name in names), np.int32, len(names))
    if list(seen) == [_TOP]:
        return (), np.full(len(names), -1, np.int32)
    order = sorted(seen, key=os.fsencode)
    label_of_place = np.empty(len(seen), np.int32)
    label_of_place[[seen[top] for top in order]] = np.arange(len(order))
    return tuple(readable(top) for top in order), label_of_place[places]


def nothing_found(where: str, others: Counter[str]) -> str:
    """The message for a place without pictures; `others` counts the endings of the files that are there instead."""
    found = ", ".join(f"{count} {readable(ending) or 'without ending'}" for ending, count in others.most_common(3))
    return (
        f"{where} holds no images{f' (only {found})' if found else ''}:"
        f" put {', '.join(ending[1:] for ending in decoding.ENDINGS)} files there, or name another."
    )


def _top_of(name: str) -> str:
    top, slash, _ = name.partition("/")
    return top if slash else _TOP
