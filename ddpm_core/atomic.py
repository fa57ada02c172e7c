"""Files that are either whole or not there: write beside, then rename over.

A reader never sees half a file, and a crash at any point leaves the old file or the new one. One writer per path at a
time is assumed; for a run's files the run's lock sees to that.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ddpm_core.errors import DataError

_ATTEMPTS = 60  # to replace a file, each waiting a little longer: 18 seconds in all
RESERVE = 512 << 20  # bytes of the disk that are left to the next checkpoint, which matters more than a picture


@contextlib.contextmanager
def writing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A binary file to write (and read back); on leaving the block it takes the place of `path`.

    An exception inside the block leaves `path` as it was. With `durable` the bytes and the new name also survive a power
    cut. Raises OSError when the disk is full or the folder cannot be written.
    """
    temp = path.with_name(path.name + ".tmp")
    try:
        with open(temp, "w+b") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())  # before the rename: otherwise the name may reach the disk before the bytes
        replace(temp, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def keep(path: Path, content: bytes, what: str) -> None:
    """Writes a whole file that a person may do without, and makes its folder: durably, and only where RESERVE bytes stay free.

    Raises `DataError`, which says that `what` ("the picture") cannot be kept, and why.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < RESERVE + len(content):
            raise OSError(f"less than {RESERVE >> 20} MB are left")
        with writing(path, durable=True) as file:
            file.write(content)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot keep {what} in {folder} ({reason}): free some space, or check permissions.") from None


def nearest(folder: Path) -> Path | None:
    """The folder, or whatever is there first on the way up from it. None on Windows where not even the drive is."""
    return next((place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place)), None)


def replace(source: Path, target: Path) -> None:
    """os.replace, patient with Windows, where it fails while another program reads the target (a virus scanner, or the page, which
    takes seconds for a large one)."""
    for attempt in range(_ATTEMPTS):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.01 * (attempt + 1))


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` survive a power cut. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
