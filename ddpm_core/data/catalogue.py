"""The data sets by name: what there is, what it holds, and its pictures at any size.

A name is `openmoji`, `openmoji:flags`, `fashion_mnist`, `mnist`, `cifar10`, `cifar100`, `stl10` (or, as in the guide,
`imagenet`), `stl10:labelled` or `celeba`. Anything with a slash in it, starting with `.` or `~`, ending in `.zip`, or naming
an existing folder, is a folder or a .zip of images (`folder:cats` says so expressly).
This file imports no torch, so that the studio's page and `--help` are there at once.
"""

import difflib
import os
from pathlib import Path

import numpy as np

from ddpm_core.data import cache, celeba, cifar, idx, openmoji, stl10
from ddpm_core.data.cache import Pictures
from ddpm_core.data.image_folder import ImageFolder
from ddpm_core.data.image_zip import ImageZip
from ddpm_core.data.paths import existing, is_zip
from ddpm_core.data.skipped import save_skipped
from ddpm_core.data.source import Broken, DatasetInfo, Look, Progress, Source
from ddpm_core.errors import DataError, UsageError

_NAMES = (
    "openmoji",
    "openmoji:GROUP",
    "fashion_mnist",
    "mnist",
    "cifar10",
    "cifar100",
    "stl10",
    "stl10:labelled",
    "imagenet",
    "celeba",
)
_WITH_PARTS = ("openmoji", "stl10", "imagenet")
__all__ = ["DatasetInfo", "Pictures", "absolute", "describe", "load", "names", "peek", "save_skipped"]


def names() -> list[tuple[str, str]]:
    """(key, what it is) of every named data set, for a menu."""
    groups = [(f"openmoji:{openmoji.group_slug(group)}", f"OpenMoji: {group}") for group in openmoji.GROUPS]
    return [
        ("openmoji", "OpenMoji: 4,495 drawings"),
        *groups,
        ("fashion_mnist", "Fashion-MNIST: clothes, grey"),
        ("mnist", "MNIST: handwritten digits, grey"),
        ("cifar10", "CIFAR-10: small photographs, 10 classes"),
        ("cifar100", "CIFAR-100: small photographs, 100 classes"),
        ("stl10", "STL-10: 105,000 photographs (the guide's imagenet)"),
        ("stl10:labelled", "STL-10, labelled: 13,000 photographs, 10 classes"),
        ("celeba", "CelebA: faces (fetched by hand)"),
    ]


def describe(
    dataset: str, data_dir: Path | str, progress: Progress | None = None, *, colour: str = "auto"
) -> DatasetInfo:
    """What is known about a data set before its pictures are read.

    `progress` hears of the search through a large folder, and may cancel it. Raises `UsageError` for an unknown name,
    `DataError` for a folder or .zip that is missing or has no pictures.
    """
    return _source(dataset, Path(data_dir), Look(colour=colour), progress).info


def absolute(dataset: str) -> str:
    """`dataset` as it is understood from every current folder: the path of a folder or .zip of images made absolute."""
    path = _path(dataset.strip())
    if path is None:
        return dataset
    try:
        found = str(existing(path))
    except (DataError, ValueError):
        return dataset  # `describe` says what is wrong with it
    return found if found == found.strip("\"' ") else found + os.sep  # names are stripped, this one must not be


def load(
    dataset: str,
    size: int,
    data_dir: Path | str,
    progress: Progress | None = None,
    *,
    crop: str = "center",
    background: str = "white",
    colour: str = "auto",
) -> Pictures:
    """All pictures as squares of `size` pixels, from the cache in `data_dir` or decoded now; a set that is not here is
    downloaded first, where that can be.

    `crop` takes the middle ("center") or the whole picture with a border ("pad"); `background` ("white", "black", "grey")
    is the colour of that border and of what is transparent; `colour` ("auto", "colour", "grey") makes all 3 channels or 1.

    `progress(what, done, total)` may raise to cancel; nothing half-written stays behind then, but for the part of a
    download that the next try goes on with. Raises as `describe`, and `DataError` when pictures cannot be had or more than
    5 % are broken.
    """
    source = _source(dataset, Path(data_dir), Look(crop, background, colour), progress)
    return cache.fetch(source, size, Path(data_dir) / "cache", progress)


def peek(
    dataset: str,
    size: int,
    count: int,
    data_dir: Path | str,
    *,
    crop: str = "center",
    background: str = "white",
    colour: str = "auto",
) -> np.ndarray:
    """A few pictures from all over the set, as the network will see them: uint8 (n, size, size, C), n <= count.

    Quick, downloads nothing and writes nothing. Raises as `load`.
    """
    source = _source(dataset, Path(data_dir), Look(crop, background, colour))
    # A folder's cache is not asked: to know that none of 100,000 files has changed takes longer than to decode a few.
    if not isinstance(source, ImageFolder):
        cached = cache.read(source, size, Path(data_dir) / "cache")
        if cached is not None:
            return cached.images[_spread(len(cached.images), count)].transpose(0, 2, 3, 1)
    picks = _spread(source.info.pictures, count)
    items = list(source.draw(size, picks))
    shown = [item[0] for item in items if not isinstance(item, Broken)]
    if not shown:
        first = next(item for item in items if isinstance(item, Broken))
        raise DataError(f"{source.info.title}: no picture can be read, {first.file}: {first.why}.")
    return np.stack(shown).transpose(0, 2, 3, 1)


def _spread(pictures: int, count: int) -> list[int]:
    return np.linspace(0, pictures - 1, max(1, min(count, pictures))).round().astype(int).tolist()


def _source(dataset: str, data_dir: Path, look: Look, progress: Progress | None = None) -> Source:
    name = dataset.strip()
    path = _path(name)
    if path is not None:
        packed = existing(path).is_file()  # by what is there: a folder may be called `holiday.zip`, too
        return ImageZip(path, look, progress) if packed else ImageFolder(path, look, progress)
    set_name, colon, part = name.partition(":")
    if set_name.lower() == "openmoji":
        return openmoji.OpenMoji(part if colon else None, look)
    if set_name.lower() in ("stl10", "imagenet"):
        return stl10.Stl10(data_dir, part, look, progress)
    if name.lower() == "celeba":
        return celeba.find(data_dir, look, progress)
    classic: dict[str, type[idx.Idx] | type[cifar.Cifar]] = {
        "fashion_mnist": idx.FashionMnist,
        "mnist": idx.Mnist,
        "cifar10": cifar.Cifar10,
        "cifar100": cifar.Cifar100,
    }
    if name.lower() in classic:
        return classic[name.lower()](data_dir, look, progress)
    near = difflib.get_close_matches(name.lower(), _NAMES, n=1)
    hint = f"did you mean {near[0]}? There are" if near else "choose one of"
    shown = "".join(c if c.isprintable() else "?" for c in name[:80])
    raise UsageError(
        f"there is no data set {shown!r}: {hint} {', '.join(_NAMES)}, or the path of a folder or .zip of images."
    )


def _path(name: str) -> str | None:
    """The path in a data set's name, None if it is one of our sets or nothing known."""
    set_name, colon, part = name.partition(":")
    if set_name.lower() == "folder" and colon:
        return part
    if set_name.lower() in _WITH_PARTS or name.lower() in _NAMES:
        return None
    bare = name.strip("\"' ")
    if any(slash in name for slash in "/\\") or bare.startswith((".", "~")) or is_zip(bare) or os.path.isdir(bare):
        return name
    return None
