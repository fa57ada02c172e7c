"""Any folder of images, its sub-folders too."""

import hashlib
import os
import re
from collections import Counter
from pathlib import Path

from ddpm_core.data.decoding import ENDINGS
from ddpm_core.data.image_files import ImageFiles, classes_of, drawing_version, fix_for, nothing_found
from ddpm_core.data.paths import existing, readable
from ddpm_core.data.source import DatasetInfo, Look, Progress, Teller
from ddpm_core.errors import DataError


class ImageFolder(ImageFiles):
    """The pictures below `folder`; each of its sub-folders is a class.

    `progress` hears of the files found so far, and may cancel. Raises `DataError` when the folder is missing, cannot be
    read, or holds no pictures.
    """

    def __init__(self, folder: str, look: Look | None = None, progress: Progress | None = None):
        self.folder = existing(folder)
        self.look = look or Look()
        self._progress = progress
        self.names = _find(self.folder, progress)
        classes, self.labels = classes_of(self.names)
        self.slug = slug_of(self.folder) + self.look.suffix(native=3)
        shown = readable(str(self.folder))
        self.info = DatasetInfo(
            key=f"folder:{shown}",
            title=readable(self.folder.name or "pictures"),
            about=f"{len(self.names):,} images from {shown}.",
            pictures=len(self.names),
            channels=self.look.channels(native=3),
            classes=classes,
        )

    def open(self, name: str) -> Path:
        return self.folder / name

    def version(self) -> str:
        """Names, sizes and times of all files, which of them are closed to us, and what decodes them."""
        tell = Teller(self._progress, f"Checking what is new in {self.info.title}", len(self.names))
        digest = hashlib.sha256()
        start = os.path.join(self.folder, "")
        for done, name in enumerate(self.names):
            tell(done)
            try:
                about = os.stat(start + name)
                digest.update(os.fsencode(name) + f"\0{about.st_size} {about.st_mtime_ns}\0".encode())
                # Once a file is opened to us, nothing else tells that it is to be read now.
                if not os.access(start + name, os.R_OK):
                    digest.update(b"closed\0")
            except OSError:
                digest.update(os.fsencode(name) + b"\0gone\0")
        return f"{drawing_version(self.look)}, files {digest.hexdigest()}"


def slug_of(path: Path) -> str:
    """Plain letters for file names, different for every path."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", path.name).strip("-").lower()[:32] or "pictures"
    return f"{plain}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _find(folder: Path, progress: Progress | None) -> list[str]:
    """Paths of the image files below `folder`, relative to it, with `/` between parts, ordered by their raw bytes.

    One pass that asks the disk for no single file's details, and keeps nothing but the paths.
    """
    tell = Teller(progress, f"Looking through {readable(str(folder))}")
    files: list[str] = []
    others: Counter[str] = Counter()
    seen = set()  # folders by device and inode: links may lead in circles
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        deeper = []
        try:
            about = os.stat(folder / inside)
            # Windows before Python 3.12 may tell no inode; there the path itself stands for the folder.
            mark = (about.st_dev, about.st_ino) if about.st_ino else os.path.realpath(folder / inside)
            if mark in seen:
                continue
            seen.add(mark)
            with os.scandir(folder / inside) as listing:
                for entry in listing:
                    tell(len(files))
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    try:
                        is_folder = entry.is_dir()
                    except OSError:  # a link in a circle, or into a place that is closed: no reason to stop
                        continue
                    if is_folder:
                        deeper.append(f"{inside}{entry.name}/")
                    elif not entry.name.lower().endswith(ENDINGS):
                        others[os.path.splitext(entry.name)[1].lower()] += 1
                    elif entry.is_file():  # no pipes or devices, whatever they are called
                        files.append(inside + entry.name)
        except OSError as error:
            where = readable(str(folder / inside))
            raise DataError(f"the folder {where!r} cannot be read ({error.strerror}): {fix_for(error)}.") from None
        # In order, so that of two links to one folder it is always the same that counts.
        waiting += sorted(deeper, key=os.fsencode, reverse=True)
    if not files:
        raise DataError(nothing_found(f"the folder {readable(str(folder))!r}", others))
    files.sort(key=os.fsencode)
    tell(len(files), now=True)
    return files
