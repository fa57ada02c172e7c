"""Any folder of images: found in its sub-folders too, turned upright, cropped to squares and reduced without stair-steps."""

import contextlib
import difflib
import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ddpm_core.data.source import Broken, DatasetInfo
from ddpm_core.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 40_000_000  # a larger picture is left out before it fills the memory

_DECODING_VERSION = 1  # raise it when a change below changes pixels: older caches are then made anew
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow knows dozens more, with more ways to be attacked
_TOP = "(top folder)"  # the class of files beside the sub-folders


class ImageFolder:
    """The pictures below `folder`; each of its sub-folders is a class.

    Raises `DataError` when the folder is missing, cannot be read, or holds no pictures.
    """

    def __init__(self, folder: str):
        self.folder = existing_folder(folder)
        self._files = _find(self.folder)
        tops = [_class_of(file) for file in self._files]
        names = sorted(set(tops), key=os.fsencode)
        if names == [_TOP]:
            names = []
        label_of = {name: label for label, name in enumerate(names)}
        self._labels = [label_of.get(top, -1) for top in tops]
        name = self.folder.name or "pictures"
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:32] or "pictures"
        self.slug = f"{plain}-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:8]}"
        self.info = DatasetInfo(
            key=f"folder:{_readable(str(self.folder))}",
            title=_readable(name),
            about=f"{len(self._files):,} images from {_readable(str(self.folder))}.",
            pictures=len(self._files),
            channels=3,
            classes=tuple(_readable(name) for name in names),
        )

    def version(self) -> str:
        """Names, sizes and times of all files, and what decodes them."""
        digest = hashlib.sha256()
        for file in self._files:
            try:
                about = os.stat(self.folder / file)
                digest.update(os.fsencode(file) + f"\0{about.st_size} {about.st_mtime_ns}\0".encode())
            except OSError:
                digest.update(os.fsencode(file) + b"\0gone\0")
        return f"decoding {_DECODING_VERSION}, pillow {metadata.version('pillow')}, files {digest.hexdigest()}"

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int] | Broken]:
        """The pictures as uint8 (3, size, size), in the order of the raw bytes of their paths."""
        chosen = list(range(len(self._files)) if picks is None else picks)
        # Pillow lets go of Python's lock while it decodes, so threads use all cores.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(chosen), 64):
                some = chosen[start : start + 64]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about large or untidy files; what matters is told by `Broken`
                    decoded = list(pool.map(lambda i: self._decode(i, size), some))
                for i, item in zip(some, decoded, strict=True):
                    yield item if isinstance(item, Broken) else (item, self._labels[i])

    def _decode(self, i: int, size: int) -> np.ndarray | Broken:
        try:
            return decode(self.folder / self._files[i], size)
        except (
            Exception
        ) as error:  # Pillow's readers raise nearly anything on damaged files; one bad file stops nothing
            why = str(error).split("\n")[0] or type(error).__name__
            if isinstance(error, Image.UnidentifiedImageError):
                why = "not an image"
            return Broken(f"{_readable(self._files[i])}: {_readable(why)[:120]}")


def decode(path: Path, size: int) -> np.ndarray:
    """The middle square of one image file as uint8 RGB (3, size, size), transparency on white.

    Raises `ValueError` above `MAX_PIXELS`, and nearly anything for a damaged file.
    """
    with Image.open(path, formats=_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
        # A JPEG can be decoded at an eighth of its size and much faster; it stays twice as large as needed here.
        image.draft(None, (2 * size, 2 * size))
        image.load()
        # Good pixels may come with untidy EXIF data: then they are taken as they lie.
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(_square(_to_rgb(image), size)).transpose(2, 0, 1)


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB from any of Pillow's modes."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        # Pillow's own conversion would cut 16-bit values off at 255. White is the first usual maximum that holds them all.
        values = np.asarray(image).astype(np.float64)
        values = np.nan_to_num(values, nan=0.0)
        whites = (65535.0,) if image.mode.startswith("I;") else (1.0, 255.0, 65535.0, 2.0**32)
        white = next((white for white in whites if values.max() <= white), values.max())
        image = Image.fromarray((values / white * 255).clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white_sheet = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white_sheet, layer)
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> Image.Image:
    """The middle square of an RGB picture at `size` pixels."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    # Lanczos keeps edges crisp when many pixels become one; enlarging with it would draw rings beside them.
    method = Image.Resampling.LANCZOS if side > size else Image.Resampling.BICUBIC
    return square.resize((size, size), method, reducing_gap=3.0)


def _find(folder: Path) -> list[str]:
    """Paths of the image files below `folder`, relative to it, with `/` between parts, ordered by their raw bytes."""
    files: list[str] = []
    others: Counter[str] = Counter()
    seen = set()  # folders by device and inode: links may lead in circles
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            about = os.stat(folder / inside)
            # Windows before Python 3.12 may tell no inode; there the path itself stands for the folder.
            mark = (about.st_dev, about.st_ino) if about.st_ino else os.path.realpath(folder / inside)
            if mark in seen:
                continue
            seen.add(mark)
            # In order, so that of two links to one folder it is always the same that counts.
            with os.scandir(folder / inside) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name), reverse=True)
        except OSError as error:
            where = _readable(str(folder / inside))
            raise DataError(
                f"the folder {where!r} cannot be read ({error.strerror}): change its permissions."
            ) from None
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                waiting.append(f"{inside}{entry.name}/")
            elif not entry.name.lower().endswith(ENDINGS):
                others[os.path.splitext(entry.name)[1].lower()] += 1
            elif entry.is_file():  # no pipes or devices, whatever they are called
                files.append(inside + entry.name)
    if not files:
        found = ", ".join(f"{count} {_readable(ending) or 'without ending'}" for ending, count in others.most_common(3))
        raise DataError(
            f"the folder {_readable(str(folder))!r} holds no images{f' (only {found})' if found else ''}:"
            f" put {', '.join(ending[1:] for ending in ENDINGS)} files there, or name another folder."
        )
    return sorted(files, key=os.fsencode)


def _class_of(file: str) -> str:
    top, slash, _ = file.partition("/")
    return top if slash else _TOP


def existing_folder(text: str) -> Path:
    # A path copied from a file manager often comes in quotes.
    candidates = [text, text.strip("\"' ")]
    for candidate in candidates:
        path = Path(os.path.expanduser(candidate))
        if candidate and os.path.isdir(path):
            return path.resolve()
    shown = _readable(str(path))
    if os.path.isfile(path):
        if path.suffix.lower() in ENDINGS:
            raise DataError(f"{shown!r} is one image: name the folder that holds it, {_readable(str(path.parent))!r}.")
        raise DataError(f"{shown!r} is a file, not a folder: unpack it and name the folder of images, or use openmoji.")
    raise DataError(f"there is no folder {shown!r}{_nearest(path)}: check the path, or use openmoji.")


def _nearest(path: Path) -> str:
    """A hint at a folder of a similar name, or at how far the path does exist."""
    try:
        parent = path.absolute().parent
        while not parent.is_dir():
            path, parent = parent, parent.parent
        near = difflib.get_close_matches(path.name, [entry.name for entry in os.scandir(parent) if entry.is_dir()], n=1)
        return f" (there is {_readable(str(parent / near[0]))!r})" if near else ""
    except (OSError, ValueError):
        return ""


def _readable(text: str) -> str:
    """A file name for a person: bytes that are no text, and line breaks, are shown as a question mark."""
    shown = "".join(c if c.isprintable() else "?" for c in os.fsencode(text).decode("utf-8", "replace"))
    return shown if len(shown) <= 200 else shown[:100] + "..." + shown[-97:]
