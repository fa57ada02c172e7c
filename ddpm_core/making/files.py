"""The files that a command line makes: found free before any work, written whole, and told at the end. Knows no torch."""

import errno
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddpm_core import atomic
from ddpm_core.errors import UsageError
from ddpm_core.pictures import read_recipe

MOST_PIXELS = 150_000_000  # of a file: half a GB while it is written; Pillow opens none beyond 179 million
TRAJECTORY = "_trajectory.png"  # what such a file's name ends in, beside the picture's


def beside(path: Path, ending: str) -> Path:
    """way.png -> way.gif, or way_trajectory.png."""
    return path.with_name(path.stem + ending)


def free(folder: Path, stem: str, endings: list[str]) -> Path:
    """stem.png, stem-2.png, ...: the first of which neither the file nor those beside it are there yet."""
    number = 1
    while True:
        path = folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
        if not any(os.path.lexists(beside(path, ending)) for ending in [".png", *endings]):
            return path
        number += 1


def check_output(path: Path, endings: list[str]) -> None:
    """Raises `UsageError` unless `path`, and what goes beside it, can be written without losing what this program did not make."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--output {str(path)!r} must end in .png: try {path.stem or 'pictures'}.png")
    for file in (path, *(beside(path, ending) for ending in endings)):
        if _is_too_long(file):
            raise UsageError(f"the name {file.name[:40]}... is too long for this disk: choose a shorter one.")
        if not os.path.lexists(file):
            continue
        if file.suffix == ".mp4":  # carries no recipe, so nobody can say whose it is
            raise UsageError(f"{file} exists, and a film does not say who made it: remove it, or choose another name.")
        if read_recipe(file) is None:
            raise UsageError(f"{file} exists and was not made by this program: choose another name.")
    check_folder(path.absolute().parent)


def _is_too_long(path: Path) -> bool:
    try:
        os.lstat(path.with_name(path.name + ".tmp"))  # as it is called while it is written
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def check_folder(folder: Path) -> None:
    """Raises `UsageError` unless files can be written into `folder`, which need not be there yet."""
    there = atomic.nearest(folder)
    if there is None:
        raise UsageError(
            f"{folder} is on a drive that is not there: choose another place with --output or --output-dir."
        )
    if not os.path.isdir(there) or not os.access(there, os.W_OK):
        raise UsageError(f"cannot write into {there}: choose another place with --output or --output-dir.")


def check_pixels(pixels: int) -> None:
    """Raises `UsageError` for a file that would be too large to be written or opened."""
    if pixels > MOST_PIXELS:
        raise UsageError(
            f"that would be a file of {pixels / 1e6:,.0f} million pixels, {MOST_PIXELS / 1e6:.0f} fit:"
            " ask for fewer pictures at once, or choose a smaller --scale."
        )


@dataclass
class Report:
    """What was made and where, for a person or for a program."""

    recipe: dict[str, Any]
    pictures: int  # drawn
    seconds: float  # drawing them, without loading models and writing files
    files: list[dict[str, Any]] = field(default_factory=list)

    def add(self, path: Path, kind: str, size: tuple[int, int], frames: int = 1) -> None:
        """A file that is there now; `size` is (width, height) in pixels."""
        more = {"frames": frames} if frames > 1 else {}
        self.files.append({"path": str(path), "kind": kind, "width": size[0], "height": size[1], **more})

    def tell(self, as_json: bool) -> None:
        """As JSON, words go to stderr and stdout has one line: an object with files, recipe, pictures, seconds,
        images_per_second."""
        words = sys.stderr if as_json else sys.stdout
        for file in self.files:
            print(f"wrote {file['path']}", file=words)
        pace = self.pictures / max(self.seconds, 1e-9)
        print(
            f"{self.pictures} picture{'s' * (self.pictures > 1)} in {self.seconds:.1f} s, {pace:.3g} a second",
            file=words,
        )
        if as_json:
            figures = {
                "pictures": self.pictures,
                "seconds": round(self.seconds, 3),
                "images_per_second": round(pace, 3),
            }
            print(json.dumps({"files": self.files, "recipe": self.recipe, **figures}))
