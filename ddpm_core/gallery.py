"""Every picture that is made stays, with its recipe inside, in `samples/RUN/made/`; and whether one can be made again.

A picture's name says what a list shows: when it was made, what it is, the first seed, how many pictures, sampler, steps,
and the beginning of the hash of its file. So a page of history reads names and opens nothing, and the folder is its own
index: whoever moves, copies or deletes files there has moved, copied or deleted entries. Knows no torch.

Nothing is ever deleted without being asked. Instead a run's gallery takes MOST_KEPT pictures and then says so, and no
picture is kept that would leave less than atomic.RESERVE bytes on the disk: the next checkpoint matters more.
"""

import datetime
import hashlib
import io
import json
import os
import re
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddpm_core import atomic, own_pictures, recipes, run_name, sheet
from ddpm_core.errors import DataError, UsageError
from ddpm_core.recipes import read_recipe
from ddpm_core.runs import Run

FOLDER = "made"  # in the run's samples folder
MOST_KEPT = 10_000  # pictures a run
_MOST_PIXELS = 40_000_000
_OWN = re.compile(r"Z_(redraw|fill|interpolate_own)_")  # in the names of what began from a person's own pictures
_MOST_COMPARED = 50  # kept pictures that may be the one that is looked for: each is read
_lock = threading.Lock()  # a picture of a person's own is not deleted while another that names it is being kept
_NAME = re.compile(
    r"(?P<made>\d{8}T\d{12})Z_(?P<what>[a-z]{1,16})_(?P<seed>own|\d{1,19})_(?P<count>\d{1,7})"
    r"_(?P<sampler>[a-z0-9][a-z0-9+.-]{0,23})_(?P<steps>\d{1,4}|several)_[0-9a-f]{8}\.png",
    re.ASCII,
)


@dataclass(frozen=True)
class Entry:
    """One kept picture, as its name tells it."""

    key: str  # RUN/FILE, how a page names it
    path: Path
    run: str
    made: float  # unix seconds
    what: str  # one of recipes.WHATS
    seed: int | None  # the first; None where it began from a person's own pictures
    count: int  # pictures in it
    sampler: str  # or "several"
    steps: int | None  # None: several


@dataclass(frozen=True)
class Difference:
    """How far two pictures of one size are apart, value by value."""

    differing: int  # values that are not equal
    values: int  # values in all: height x width x channels
    largest: int  # largest difference of a value, 0 to 255

    @property
    def equal(self) -> bool:
        return self.differing == 0


def keep(root: Path | str, png: bytes, recipe: dict[str, Any], own: Sequence[np.ndarray] = ()) -> Entry:
    """Puts a finished PNG, with `recipe` inside (pictures.to_png_bytes), into its run's gallery: whole, or not at all; then
    also the person's `own` pictures and mask that the recipe only names, see own_pictures.py.

    Raises `UsageError` for a recipe that could not be read back or a gallery that is full, `DataError` where the disk
    refuses, ValueError for a PNG with another recipe than this one.
    """
    recipe = recipes.check(json.loads(json.dumps(recipe)))
    if read_recipe(png) != recipe:
        raise ValueError(
            "this PNG does not carry this recipe: write it with pictures.to_png_bytes(image, recipe=recipe)"
        )
    run = _run(recipe)
    folder = Run(root, run).samples / FOLDER
    if folder.is_symlink() or folder.parent.is_symlink():  # `history` follows no links
        raise UsageError(f"{folder} is a link: replace it by a folder to keep pictures there.")
    if sum(1 for _ in _names(folder)) >= MOST_KEPT:
        raise UsageError(f"the gallery of {run} is full, {MOST_KEPT:,} pictures: delete or move some from {folder}.")
    name = _name(recipe, png)
    with _lock:
        atomic.keep(folder / name, png, "the picture")
        own_pictures.keep(root, run, own)
    entry = _entry(folder / name, run)
    assert entry is not None
    return entry


def history(root: Path | str, limit: int = 60, before: str | None = None) -> list[Entry]:
    """At most `limit` kept pictures of all runs, newest first; `before` is the last key of the page before.

    Opens no file. (Measured: a page of 10,000 pictures in 65 ms, beside other work.) Raises `UsageError` for a key that is none.
    """
    samples = Path(root) / "samples"
    found = [(name, run) for run in _runs(samples) for name in _names(samples / run / FOLDER)]
    if before is not None:
        run, name = _parts(before)
        found = [item for item in found if item < (name, run)]
    entries: list[Entry] = []
    for name, run in sorted(found, reverse=True):
        if len(entries) >= limit:
            break
        if entry := _entry(samples / run / FOLDER / name, run):
            entries.append(entry)
    return entries


def find(root: Path | str, key: str) -> Entry:
    """The kept picture with this key. A key cannot name any other file. Raises `UsageError` if it is not there (any more)."""
    run, name = _parts(key)
    path = Path(root) / "samples" / run / FOLDER / name
    entry = _entry(path, run)
    if entry is None or not path.is_file() or any(p.is_symlink() for p in (path, path.parent, path.parent.parent)):
        raise UsageError("this picture is not there any more: choose another one.")
    return entry


def at_home(entry: Entry, recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe of a kept picture, with the run that it lies in now where a person's own pictures lie with it: folders of runs
    may be renamed. (Models are found by their hashes.)"""
    return {**recipe, "run": entry.run} if "pictures" in recipe else recipe


def same(root: Path | str, png: bytes, recipe: dict[str, Any]) -> Entry | None:
    """The kept picture that is this one, whatever its file's layout: with this recipe and these pixels. None if there is none."""
    run, digest = _run(recipe), _digest(png)
    folder = Run(root, run).samples / FOLDER
    alike = [name for name in _names(folder) if name.partition("Z_")[2].startswith(_about(recipe) + "_")]
    alike.sort(key=lambda name: (name.endswith(f"_{digest}.png"), name), reverse=True)
    for name in alike[:_MOST_COMPARED]:
        if name.endswith(f"_{digest}.png") or _equal(folder / name, png, recipe):
            return _entry(folder / name, run)
    return None


def remove(root: Path | str, key: str) -> None:
    """Deletes one kept picture, because a person asked for it, and their own pictures that no other one names.

    Raises `UsageError` if it is not there, `DataError`.
    """
    entry = find(root, key)
    path, folder = entry.path, entry.path.parent
    try:
        with _lock:
            own = own_pictures.named_by(path) if _OWN.search(path.name) else set()
            path.unlink(missing_ok=True)
            if own:
                others = [folder / name for name in _names(folder) if _OWN.search(name)]
                own_pictures.forget(root, entry.run, own, others)
    except OSError as error:
        raise DataError(f"cannot delete {path} ({error.strerror or error}): check the folder's permissions.") from None


def pixels(png: bytes) -> np.ndarray:
    """A PNG's pixels, uint8 (H, W, C), C = 1 grey, 3 colour, 4 with transparency. Raises `UsageError` for no PNG of a size."""
    # A PNG begins with its size. Pillow would ask later, and a few KB may hold any number of white pixels.
    width, height = struct.unpack(">II", png[16:24]) if len(png) > 24 else (0, 0)
    if png.startswith(b"\x89PNG") and width * height > _MOST_PIXELS:
        raise UsageError(f"this picture is {width} x {height}: choose one that this studio made.")
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            array = np.asarray(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UsageError("this file is no whole PNG: choose a picture that this studio made.") from None
    return array[:, :, None] if array.ndim == 2 else array


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Compares two pictures or batches, uint8 of one shape: is what was made again the same, bit for bit?

    Raises `UsageError` for two shapes.
    """
    if a.shape != b.shape:
        sizes = " and ".join(" x ".join(map(str, x.shape)) for x in (a, b))
        raise UsageError(f"the two pictures are {sizes}: only pictures of one size can be compared.")
    apart = np.abs(a.astype(np.int16) - b.astype(np.int16))
    return Difference(int(np.count_nonzero(apart)), apart.size, int(apart.max(initial=0)))


# ---- names


def _name(recipe: dict[str, Any], png: bytes) -> str:
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    # The hash makes names differ that two programs give in the same microsecond.
    return f"{now:%Y%m%dT%H%M%S%f}Z_{_about(recipe)}_{_digest(png)}.png"


def _about(recipe: dict[str, Any]) -> str:
    seed = recipe["seeds"][0] if "seeds" in recipe else "own"
    sampler, steps = (x if not isinstance(x, list) else "several" for x in (recipe["sampler"], recipe["steps"]))
    return f"{recipe['what']}_{seed}_{recipes.count(recipe)}_{sampler}_{steps}"


def _equal(path: Path, png: bytes, recipe: dict[str, Any]) -> bool:
    """Whether a kept file has this recipe and the pixels of this PNG."""
    try:
        kept = path.read_bytes()
        if read_recipe(kept) != recipe:
            return False
        pairs = zip(sheet.cut(recipe, pixels(kept)), sheet.cut(recipe, pixels(png)), strict=True)
        # The page's sheets have three channels, also of a grey model.
        return all(difference(*np.broadcast_arrays(a, b)).equal for a, b in pairs)
    except (OSError, UsageError, ValueError):
        return False


def _digest(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()[:8]


def _run(recipe: dict[str, Any]) -> str:
    """In which run's gallery the pictures of a recipe lie."""
    return recipe["models"][0]["run"] if recipe["what"] == "compare" else recipe["run"]


def _entry(path: Path, run: str) -> Entry | None:
    """What a name tells; None for one that is not ours."""
    match = _NAME.fullmatch(path.name)
    if match is None or match["what"] not in recipes.WHATS:
        return None
    try:
        made = datetime.datetime.strptime(match["made"], "%Y%m%dT%H%M%S%f").replace(tzinfo=datetime.UTC)
    except ValueError:  # the 99th of a month
        return None
    return Entry(
        key=f"{run}/{path.name}",
        path=path,
        run=run,
        made=made.timestamp(),
        what=match["what"],
        seed=None if match["seed"] == "own" else int(match["seed"]),
        count=int(match["count"]),
        sampler=match["sampler"],
        steps=None if match["steps"] == "several" else int(match["steps"]),
    )


def _parts(key: Any) -> tuple[str, str]:
    """(run, file name) of a key; `UsageError` for one that could name something else."""
    run, _, name = str(key).partition("/")
    if not _NAME.fullmatch(name):
        raise UsageError("this is no picture of the gallery: choose one from the list.")
    run_name.check(run)
    return run, name


def _runs(samples: Path) -> list[str]:
    """The runs that have a gallery, also those of which nothing else is left. No links: they could lead anywhere."""
    try:
        with os.scandir(samples) as folders:
            names = [folder.name for folder in folders if folder.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [name for name in names if run_name.PATTERN.fullmatch(name) and not (samples / name / FOLDER).is_symlink()]


def _names(folder: Path) -> Iterator[str]:
    """The names in a gallery that are ours; other files are passed over."""
    try:
        with os.scandir(folder) as files:
            yield from (
                file.name for file in files if _NAME.fullmatch(file.name) and file.is_file(follow_symlinks=False)
            )
    except OSError:
        return
