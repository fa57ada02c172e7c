"""Pictures are decoded once: afterwards they are one file of plain numbers, opened in an instant.

A cache is `<slug>_<size>px_<key>.npy` (uint8 (N, C, H, W)) beside a `.json` of the same name with the labels, the
skipped files and a checksum. The key is a hash of all that determines the content, so a cache is never out of date; the
checksum is verified at every opening, so a damaged one is never used.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ddpm_core import atomic, room
from ddpm_core.data.skipped import BROKEN_SHARE, too_many
from ddpm_core.data.source import Broken, Progress, Source, Teller
from ddpm_core.errors import DataError

_FORMAT = 2
_AT_ONCE = 1 << 26  # bytes of a checksum before the next word about progress

Skipped = list[tuple[str, str]]


@dataclass(frozen=True)
class Pictures:
    """A whole data set at one size."""

    images: np.ndarray  # uint8 (N, C, H, W), read-only
    labels: np.ndarray | None  # int64 (N,), indices into `classes`; None without classes
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]  # the broken pictures that were left out: (file, reason)


def fetch(source: Source, size: int, folder: Path, progress: Progress | None = None) -> Pictures:
    """The source's pictures from the cache in `folder`, which is filled first where needed.

    Where nothing can be written there, the pictures are decoded into memory instead. Raises `DataError` when too many
    pictures are broken (they are then listed as `skipped_<slug>.csv` beside `folder`) or there is room for them neither on
    the disk nor in memory, and whatever `progress` raises; nothing half-written stays behind then.
    """
    path = _path(source, size, folder)
    pictures = _open(path, source, size, progress)
    why = "damaged at once"
    if pictures is None:
        try:
            _fill(path, source, size, progress)
            pictures = _open(path, source, size, verify=False)  # its checksum was taken while it was written
        except OSError as error:
            why = error.strerror or str(error)
            # Another program may have finished the same one meanwhile, and hold it (Windows renames nothing over an open file).
            pictures = _open(path, source, size, progress)
    return pictures or _decode_into_memory(path, source, size, progress, why)


def read(source: Source, size: int, folder: Path) -> Pictures | None:
    """The cache as it is, its images memory-mapped and their checksum not verified; None when there is none."""
    return _open(_path(source, size, folder), source, size, verify=False)


def _open(
    path: Path, source: Source, size: int, progress: Progress | None = None, *, verify: bool = True
) -> Pictures | None:
    """None when there is no cache, or it is damaged (by its checksum, if `verify`)."""
    try:
        about = json.loads(path.with_suffix(".json").read_bytes())
        images = _memmap(path)
        labels = np.array(about["labels"], dtype=np.int64)
        skipped = [(str(file), str(why)) for file, why in about["skipped"]]
        known = about["checksum"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if images.dtype != np.uint8 or images.shape != (len(labels), source.info.channels, size, size):
        return None
    if verify and _checksum(labels, _checksum_of(images, source, progress)) != known:
        return None
    return _pictures(source, images, labels, skipped)


def _memmap(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy's reading of a damaged header raises many kinds
        raise ValueError from error


def _fill(path: Path, source: Source, size: int, progress: Progress | None) -> None:
    # Everybody writes a file of their own and the last rename wins, so two programs that fill one cache do no harm.
    with made(path.parent), _temporary(path) as temporary, open(temporary, "xb") as file:
        shape = (source.info.channels, size, size)
        if shutil.disk_usage(path.parent).free < _bytes(source, size):  # rather now than after an hour's work
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _write_header(file, (source.info.pictures, *shape))
        checksum = 0

        def write(picture: np.ndarray) -> None:
            nonlocal checksum
            row = picture.tobytes()
            checksum = zlib.crc32(row, checksum)
            file.write(row)

        labels, skipped = _decode(path, source, size, write, progress)
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
    path: Path, source: Source, size: int, write: Callable[[np.ndarray], None], progress: Progress | None
) -> tuple[np.ndarray, Skipped]:
    """Gives every whole picture to `write`; returns their labels and what was skipped."""
    total, labels = source.info.pictures, array("q")
    skipped: Skipped = []
    what = f"Preparing {source.info.title}"
    tell = Teller(progress, what, total)
    tell(0, now=True)
    for done, item in enumerate(source.draw(size)):
        tell(done)
        if isinstance(item, Broken):
            skipped.append((item.file, item.why))
            tell.what = f"{what} ({len(skipped):,} broken, left out)"
            if len(skipped) > BROKEN_SHARE * total:
                raise too_many(source.info.title, total, skipped, path.parent.parent / f"skipped_{source.slug}.csv")
        else:
            picture, label = item
            write(picture)
            labels.append(label)
    tell(total, now=True)
    return np.array(labels, dtype=np.int64), skipped


def _decode_into_memory(path: Path, source: Source, size: int, progress: Progress | None, why: str) -> Pictures:
    needed = _bytes(source, size)
    if needed > room.left() / 2:
        raise DataError(
            f"{source.info.title} at {size} px needs {needed / 1e9:.1f} GB in {path.parent}, which cannot be written"
            f" ({why}): make room there, or choose a smaller size."
        )
    images = np.empty((source.info.pictures, source.info.channels, size, size), np.uint8)
    count = 0

    def keep(picture: np.ndarray) -> None:
        nonlocal count
        images[count] = picture
        count += 1

    labels, skipped = _decode(path, source, size, keep, progress)
    images = images[:count]
    images.setflags(write=False)
    return _pictures(source, images, labels, skipped)


def _bytes(source: Source, size: int) -> int:
    return source.info.pictures * source.info.channels * size * size


def _pictures(source: Source, images: np.ndarray, labels: np.ndarray, skipped: Skipped) -> Pictures:
    classes = source.info.classes
    return Pictures(images, labels if classes else None, classes, tuple(skipped))


def _path(source: Source, size: int, folder: Path) -> Path:
    determined_by = f"cache {_FORMAT}, {size} px, {source.info.channels} channels, {source.version()}"
    key = hashlib.sha256(determined_by.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return folder / f"{source.slug}_{size}px_{key}.npy"


def _checksum(labels: np.ndarray, images_checksum: int) -> int:
    return zlib.crc32(labels.tobytes(), images_checksum)


def _checksum_of(images: np.ndarray, source: Source, progress: Progress | None) -> int:
    tell = Teller(progress, f"Checking {source.info.title} (bytes)", images.nbytes)
    flat, checksum = images.reshape(-1).data, 0
    for start in range(0, len(flat), _AT_ONCE):
        tell(start)
        checksum = zlib.crc32(flat[start : start + _AT_ONCE], checksum)
    return checksum


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
    atomic.replace(temporary, path)


def _remove_older(path: Path, source: Source, size: int) -> None:
    """Removes this set's caches of other content, and what a killed program left half-written a day ago or earlier."""
    stem = f"{source.slug}_{size}px_"
    old = [other for other in path.parent.glob(f"{stem}*") if other.stem != path.stem]
    with contextlib.suppress(OSError):
        old += [t for t in path.parent.glob(f".{stem}*.tmp") if time.time() - t.stat().st_mtime > 24 * 3600]
    for other in old:
        with contextlib.suppress(OSError):
            other.unlink()
