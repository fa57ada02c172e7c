"""The data sets by name: what there is, what it holds, and its pictures at any size.

A name is `openmoji`, `openmoji:flags`, `fashion_mnist` or `cifar10`; anything with a slash in it, starting with `.` or
`~`, or naming an existing folder, is a folder of images (`folder:cats` says so expressly).
This file imports no torch, so that the studio's page and `--help` are there at once.
"""

import difflib
import os
from pathlib import Path

import numpy as np

from ddpm_core.data import cache, openmoji, torchvision_sets
from ddpm_core.data.cache import Pictures
from ddpm_core.data.image_folder import ImageFolder, existing_folder
from ddpm_core.data.source import Broken, DatasetInfo, Progress, Source
from ddpm_core.errors import DataError, UsageError

_NAMES = ("openmoji", "openmoji:GROUP", "fashion_mnist", "cifar10")
__all__ = ["DatasetInfo", "Pictures", "absolute", "describe", "load", "names", "peek"]


def names() -> list[tuple[str, str]]:
    """(key, title) of every named data set, for a menu."""
    groups = [(f"openmoji:{openmoji.group_slug(group)}", f"OpenMoji: {group}") for group in openmoji.GROUPS]
    return [("openmoji", "OpenMoji"), *groups, ("fashion_mnist", "Fashion-MNIST"), ("cifar10", "CIFAR-10")]


def describe(dataset: str, data_dir: Path | str) -> DatasetInfo:
    """What is known about a data set before its pictures are read.

    Raises `UsageError` for an unknown name, `DataError` for a folder that is missing or has no pictures.
    """
    return _source(dataset, Path(data_dir)).info


def absolute(dataset: str) -> str:
    """`dataset` as it is understood from every current folder: the path of a folder of images made absolute."""
    folder = _folder(dataset.strip())
    if folder is None:
        return dataset
    try:
        path = str(existing_folder(folder))
    except (DataError, ValueError):
        return dataset  # `describe` says what is wrong with it
    return path if path == path.strip("\"' ") else path + os.sep  # names are stripped, this one must not be


def load(dataset: str, size: int, data_dir: Path | str, progress: Progress | None = None) -> Pictures:
    """All pictures as squares of `size` pixels, from the cache in `data_dir` or decoded now.

    `progress(what, done, total)` may raise to cancel; nothing half-written stays behind then. Raises as `describe`, and
    `DataError` when pictures cannot be had or too many are broken.
    """
    return cache.fetch(_source(dataset, Path(data_dir)), size, Path(data_dir) / "cache", progress)


def peek(dataset: str, size: int, count: int, data_dir: Path | str) -> np.ndarray:
    """A few pictures from all over the set, as the network will see them: uint8 (n, size, size, C), n <= count.

    Quick and writes nothing. Raises as `load`.
    """
    source = _source(dataset, Path(data_dir))
    # A folder's cache is not asked: to know that none of 100,000 files has changed takes longer than to decode a few.
    if not isinstance(source, ImageFolder):
        cached = cache.read(source, size, Path(data_dir) / "cache", verify=False)
        if cached is not None:
            return cached.images[_spread(len(cached.images), count)].transpose(0, 2, 3, 1)
    picks = _spread(source.info.pictures, count)
    items = list(source.draw(size, picks))
    shown = [item[0] for item in items if not isinstance(item, Broken)]
    if not shown:
        raise DataError(f"{source.info.title}: no picture can be read, {items[0].why}.")  # type: ignore[union-attr]
    return np.stack(shown).transpose(0, 2, 3, 1)


def _spread(pictures: int, count: int) -> list[int]:
    return np.linspace(0, pictures - 1, max(1, min(count, pictures))).round().astype(int).tolist()


def _source(dataset: str, data_dir: Path) -> Source:
    name = dataset.strip()
    set_name, colon, part = name.partition(":")
    folder = _folder(name)
    if folder is not None:
        return ImageFolder(folder)
    if set_name.lower() == "openmoji":
        return openmoji.OpenMoji(part if colon else None)
    if name.lower() == "fashion_mnist":
        return torchvision_sets.FashionMnist(data_dir)
    if name.lower() == "cifar10":
        return torchvision_sets.Cifar10(data_dir)
    near = difflib.get_close_matches(name.lower(), _NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? There are" if near else "choose one of"
    shown = "".join(c if c.isprintable() else "?" for c in name[:80])
    raise UsageError(f"there is no data set {shown!r}: {hint} {', '.join(_NAMES)}, or the path of a folder of images.")


def _folder(name: str) -> str | None:
    """The path in a data set's name, None if it is one of our sets or nothing known."""
    set_name, colon, part = name.partition(":")
    if set_name.lower() == "folder" and colon:
        return part
    if set_name.lower() == "openmoji" or name.lower() in ("fashion_mnist", "cifar10"):
        return None
    bare = name.strip("\"' ")
    if any(slash in name for slash in "/\\") or bare.startswith((".", "~")) or os.path.isdir(bare):
        return name
    return None
