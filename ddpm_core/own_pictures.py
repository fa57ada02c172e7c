"""A person's own pictures and masks, as the network saw them: so what was made of them can be made again. Knows no torch.

A recipe only names them, by `recipes.picture_hash`. They lie beside the gallery, in `samples/RUN/own/HASH.png`, each once
however often it was used; masks are 0 and 1. They stay on this machine, and go with the last kept picture that names them.
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ddpm_core import atomic, pictures, recipes
from ddpm_core.errors import UsageError
from ddpm_core.runs import Run

FOLDER = "own"  # in the run's samples folder
MOST_KEPT = 2_000  # pictures a run; each has the model's size, so a few hundred MB at most
_LARGEST = 4096  # pixels on a side
_HASH = re.compile(rb'"([0-9a-f]{16})"')
_HEAD = 1 << 16  # bytes of a PNG that its recipe lies in: it comes before the pixels


def keep(root: Path | str, run: str, own: Iterable[np.ndarray]) -> None:
    """Puts pictures, uint8 (S, S, C), where `find` finds them; those that are there already stay.

    Raises `UsageError` where there are too many, `DataError` where the disk refuses.
    """
    folder = _folder(root, run)
    for picture in own:
        digest = recipes.picture_hash(picture)
        path = folder / f"{digest}.png"
        if _read(path, digest) is not None:
            continue
        if folder.is_symlink() or folder.parent.is_symlink():
            raise UsageError(f"{folder} is a link: replace it by a folder to keep pictures there.")
        if sum(1 for _ in folder.glob("*.png")) >= MOST_KEPT:
            raise UsageError(
                f"there are {MOST_KEPT:,} own pictures in {folder}: delete pictures that were made of them from the history."
            )
        atomic.keep(path, pictures.to_png_bytes(picture), "your own picture")


def find(root: Path | str, run: str, digest: str, what: str = "own picture") -> np.ndarray:
    """The picture with this hash, uint8 (S, S, C). Raises `UsageError` for one that is not here, or is another by now."""
    path = _folder(root, run) / f"{digest}.png"
    picture = _read(path, digest)
    if picture is None:
        raise UsageError(
            f"the {what} that this was made from is not here (any more): put {path} back, or begin anew with it under"
            " Your pictures."
        )
    return picture


def named_by(png: Path) -> set[str]:
    """The hashes in a kept picture's recipe that may be of own pictures: cheap, and rather one too many than one too few."""
    try:
        with open(png, "rb") as file:
            return {digest.decode() for digest in _HASH.findall(file.read(_HEAD))}
    except OSError:
        return set()


def forget(root: Path | str, run: str, digests: Iterable[str], kept: Sequence[Path]) -> None:
    """Deletes those that none of the `kept` PNGs names."""
    paths = {path for digest in digests if (path := _folder(root, run) / f"{digest}.png").is_file()}
    for png in kept if paths else ():
        paths -= {_folder(root, run) / f"{digest}.png" for digest in named_by(png)}
    for path in paths:
        path.unlink(missing_ok=True)


def _folder(root: Path | str, run: str) -> Path:
    return Run(root, run).samples / FOLDER


def _read(path: Path, digest: str) -> np.ndarray | None:
    """The picture with this hash from this file; None for anything else."""
    try:
        with Image.open(io.BytesIO(path.read_bytes()), formats=("PNG",)) as image:
            if max(image.size) > _LARGEST:
                return None
            array = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    picture = array[:, :, None] if array.ndim == 2 else array
    return picture if recipes.picture_hash(picture) == digest else None
