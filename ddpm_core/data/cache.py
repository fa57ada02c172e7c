"""Pictures are decoded once: afterwards they are one file of plain numbers, opened in an instant.

A cache is `<slug>_<size>px_<key>.npy` (uint8 (N, C, H, W)) beside a `.json` of the same name with the labels, the
skipped files and a checksum. The key is a hash of all that determines the content, so a cache is never out of date; the
checksum is verified at every opening, so a damaged one is never used.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ddpm_core.data.source import Broken, Progress, Source
from ddpm_core.errors import DataError

_FORMAT = 1
_BROKEN_SHARE = 0.05  # more unreadable pictures than this, and the folder is probably not what was meant


@dataclass(frozen=True)
class Pictures:
    """A whole data set at one size."""

    images: np.ndarray  # uint8 (N, C, H, W), read-only
    labels: np.ndarray | None  # int64 (N,), indices into `classes`; None without classes
    classes: tuple[str, ...]
    skipped: tuple[str, ...]  # the broken pictures that were left out, each with the reason


def fetch(source: Source, size: int, folder: Path, progress: Progress | None = None) -> Pictures:
    """The source's pictures from the cache in `folder`, which is filled first where needed.

    Where nothing can be written there, the pictures are decoded into memory instead. Raises `DataError` when too many
    pictures are broken, and whatever `progress` raises; nothing half-written stays behind then.
    """
    pictures = read(source, size, folder)
    if pictures is None:
        with contextlib.suppress(OSError):
            _fill(source, size, folder, progress)
            pictures = read(source, size, folder)
    return pictures or _decode_into_memory(source, size, progress)


def read(source: Source, size: int, folder: Path, *, verify: bool = True) -> Pictures | None:
    """The cache, its images memory-mapped; None when there is none, or it is damaged (by its checksum, if `verify`)."""
    path = _path(source, size, folder)
    try:
        about = json.loads(path.with_suffix(".json").read_bytes())
        images = np.lib.format.open_memmap(path, mode="r")
        labels = np.array(about["labels"], dtype=np.int64)
        whole = images.dtype == np.uint8 and images.shape == (len(labels), source.info.channels, size, size)
        if not whole or (verify and _checksum(labels, zlib.crc32(images.data)) != about["checksum"]):
            return None
        return _pictures(source, images, labels, about["skipped"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _fill(source: Source, size: int, folder: Path, progress: Progress | None) -> None:
    path = _path(source, size, folder)
    # Everybody writes a file of their own and the last rename wins, so two programs that fill one cache do no harm.
    with made(folder), _temporary(path) as temporary, open(temporary, "xb") as file:
        shape = (source.info.channels, size, size)
        _write_header(file, (source.info.pictures, *shape))
        checksum = 0

        def write(picture: np.ndarray) -> None:
            nonlocal checksum
            row = picture.tobytes()
            checksum = zlib.crc32(row, checksum)
            file.write(row)

        labels, skipped = _decode(source, size, write, progress)
        # Only now is it known how many there are. numpy pads its header so that the new one is exactly as long.
        file.seek(0)
        _write_header(file, (len(labels), *shape))
        _put(file, temporary, path)
    about = {"labels": labels.tolist(), "skipped": skipped, "checksum": _checksum(labels, checksum)}
    with _temporary(path) as temporary, open(temporary, "xb") as file:
        file.write(json.dumps(about).encode())
        _put(file, temporary, path.with_suffix(".json"))
    _remove_older(path, source, size)


def _decode(
    source: Source, size: int, write: Callable[[np.ndarray], None], progress: Progress | None
) -> tuple[np.ndarray, list[str]]:
    """Gives every whole picture to `write`; returns their labels and what was skipped."""
    total, labels, skipped = source.info.pictures, [], []
    what = f"Preparing {source.info.title}"
    told = time.monotonic()
    if progress:
        progress(what, 0, total)
    for done, item in enumerate(source.draw(size)):
        if progress and time.monotonic() - told > 0.1:
            progress(what, done, total)
            told = time.monotonic()
        if isinstance(item, Broken):
            skipped.append(item.why)
            if len(skipped) > _BROKEN_SHARE * total:
                raise DataError(
                    f"{source.info.title}: more than {_BROKEN_SHARE:.0%} of the {total:,} pictures cannot be read; remove or"
                    f" replace them, beginning with {'; '.join(skipped[:3])}."
                )
        else:
            picture, label = item
            write(picture)
            labels.append(label)
    if progress:
        progress(what, total, total)
    return np.array(labels, dtype=np.int64), skipped


def _decode_into_memory(source: Source, size: int, progress: Progress | None) -> Pictures:
    images: list[np.ndarray] = []
    labels, skipped = _decode(source, size, images.append, progress)
    stacked = np.stack(images)
    stacked.setflags(write=False)
    return _pictures(source, stacked, labels, skipped)


def _pictures(source: Source, images: np.ndarray, labels: np.ndarray, skipped: list[str]) -> Pictures:
    classes = source.info.classes
    return Pictures(images, labels if classes else None, classes, tuple(skipped))


def _path(source: Source, size: int, folder: Path) -> Path:
    determined_by = f"cache {_FORMAT}, {size} px, {source.info.channels} channels, {source.version()}"
    key = hashlib.sha256(determined_by.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return folder / f"{source.slug}_{size}px_{key}.npy"


def _checksum(labels: np.ndarray, images_checksum: int) -> int:
    return zlib.crc32(labels.tobytes(), images_checksum)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """Makes a folder; what was made is removed again when the block fails and left it empty."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in new:
                path.rmdir()
        raise


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.stem}_{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _put(file: BinaryIO, temporary: Path, path: Path) -> None:
    """Makes the finished temporary file the real one, so that a power cut leaves the old state or the new one."""
    file.flush()
    os.fsync(file.fileno())
    file.close()  # Windows renames no open file
    os.replace(temporary, path)


def _remove_older(path: Path, source: Source, size: int) -> None:
    """Removes this set's caches of other content, and what a killed program left half-written a day ago or earlier."""
    stem = f"{source.slug}_{size}px_"
    old = [other for other in path.parent.glob(f"{stem}*") if other.stem != path.stem]
    with contextlib.suppress(OSError):
        old += [t for t in path.parent.glob(f".{stem}*.tmp") if time.time() - t.stat().st_mtime > 24 * 3600]
    for other in old:
        with contextlib.suppress(OSError):
            other.unlink()
