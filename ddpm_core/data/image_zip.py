"""A .zip of images, read where it lies: nothing is unpacked to the disk."""

import functools
import hashlib
import io
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ddpm_core.data.decoding import ENDINGS
from ddpm_core.data.download import looks_like_a_page
from ddpm_core.data.image_files import PASSING, ImageFiles, classes_of, drawing_version, fix_for, nothing_found
from ddpm_core.data.image_folder import slug_of
from ddpm_core.data.paths import existing, readable
from ddpm_core.data.source import Broken, DatasetInfo, Look, Progress, Teller
from ddpm_core.errors import DataError

MAX_BYTES = 256_000_000  # of one unpacked file: the largest picture there may be, at 16 bits and not compressed
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class ImageZip(ImageFiles):
    """The pictures in the archive at `path`; its folders are classes, as those of an `ImageFolder` are.

    A folder that all others are in, as most programs make one around what they pack, does not count. Raises `DataError`
    when the file is no whole .zip, is encrypted, or holds no pictures.
    """

    def __init__(self, path: str, look: Look | None = None, progress: Progress | None = None):
        self.path = existing(path)
        self.look = look or Look()
        Teller(progress, f"Looking through {readable(self.path.name)}")(0)
        self._listing = _list(self.path)
        self.names = self._listing.names
        common = _around(self.names)
        classes, self.labels = classes_of([name[len(common) :] for name in self.names] if common else self.names)
        self.slug = slug_of(self.path) + self.look.suffix(native=3)
        self.info = DatasetInfo(
            key=f"folder:{readable(str(self.path))}",
            title=readable(self.path.name),
            about=f"{len(self.names):,} images from {readable(str(self.path))}.",
            pictures=len(self.names),
            channels=self.look.channels(native=3),
            classes=classes,
        )

    def version(self) -> str:
        """Names, sizes and checksums of all pictures, and what decodes them."""
        return f"{drawing_version(self.look)}, zip {self._listing.digest}"

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int] | Broken]:
        with _opened(self.path) as self._archive:
            yield from super().draw(size, picks)

    def open(self, name: str) -> BinaryIO:
        member = self._archive.getinfo(self._listing.inside.get(name, name))
        # The size in the archive's list is what zipfile reads at most, whatever the packed bytes would grow to.
        if member.file_size > MAX_BYTES:
            raise ValueError(f"{member.file_size:,} bytes when unpacked, more than {MAX_BYTES:,}")
        with self._archive.open(member) as file:
            return io.BytesIO(file.read(member.file_size))


class _Listing:
    """What is kept of an archive's list: a large one takes a second to read, and is asked for whenever a form changes."""

    def __init__(self, archive: zipfile.ZipFile, shown: str):
        others: Counter[str] = Counter()
        by_name: dict[str, zipfile.ZipInfo] = {}  # the last one of a name counts, as it does where a .zip is unpacked
        for member in archive.infolist():
            path = member.filename.replace("\\", "/")
            parts = [part for part in path.split("/") if part not in ("", ".")]
            if path.endswith("/") or any(part.startswith(".") or part == "__MACOSX" for part in parts):
                continue
            ending = os.path.splitext(path)[1].lower()
            if ending not in ENDINGS:
                others[ending] += 1
                continue
            _check(member, shown)
            by_name["/".join(parts)] = member
        if not by_name:
            raise DataError(nothing_found(shown, others))
        found = sorted(by_name.items(), key=lambda pair: pair[0].encode("utf-8", "surrogatepass"))
        self.names = tuple(name for name, _ in found)
        self.inside = {name: member.filename for name, member in found if name != member.filename}
        digest = hashlib.sha256()
        for name, member in found:
            digest.update(f"{name}\0{member.file_size} {member.CRC}\0".encode("utf-8", "surrogatepass"))
        self.digest = digest.hexdigest()


def _check(member: zipfile.ZipInfo, shown: str) -> None:
    if member.flag_bits & 1:
        raise DataError(f"{shown} is encrypted: unpack it with its password, and name the folder.")
    if member.compress_type not in _METHODS:
        raise DataError(
            f"{shown} is packed in a way that cannot be read here (method {member.compress_type}):"
            " unpack it and name the folder, or pack it again as an ordinary .zip."
        )


def _list(path: Path) -> _Listing:
    about = os.stat(path)
    return _remembered(path, about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _remembered(path: Path, size: int, changed: int) -> _Listing:
    with _opened(path) as archive:
        return _Listing(archive, repr(readable(str(path))))


def _opened(path: Path) -> zipfile.ZipFile:
    shown = repr(readable(str(path)))
    try:
        with open(path, "rb") as file:
            start = file.read(1000).lstrip().lower()
    except OSError as error:
        raise _unreadable(shown, error) from None
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # a damaged list raises nearly anything
        if isinstance(error, OSError) and error.errno in PASSING:
            raise _unreadable(shown, error) from None
        if not start:
            why = "is empty"
        elif looks_like_a_page(start):
            why = "is a web page that was saved as .zip (a log-in, or a note that too many have downloaded it)"
        elif start.startswith(b"pk"):
            why = "is cut off or damaged: its list of files, which comes last, cannot be read"
        else:
            why = "is no .zip, whatever its name"
        raise DataError(f"{shown} {why}: download or pack it again.") from None


def _unreadable(shown: str, error: OSError) -> DataError:
    return DataError(f"{shown} cannot be read ({error.strerror}): {fix_for(error)}.")


def _around(names: Sequence[str]) -> str:
    """The folders that all files are in, `photos/2024/`, or nothing."""
    first, last = names[0].split("/")[:-1], names[-1].split("/")[:-1]
    # In sorted names, what the first and the last begin with, all begin with.
    shared = os.path.commonprefix([first, last])
    return "".join(f"{part}/" for part in shared)
