"""STL-10: photographs of 96 px from ImageNet (Coates, Lee and Ng 2011), which the guide calls `imagenet`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ddpm_core.data import arrays, download
from ddpm_core.data.source import DatasetInfo, Look, Progress
from ddpm_core.data.torchvision_sets import WAY_ON, bring, datasets
from ddpm_core.errors import DataError, UsageError

_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_PICTURE = (3, 96, 96)  # colour, column, row: the files hold each plane column by column
_FOLDER = "stl10_binary"
_ARCHIVE = "stl10_binary.tar.gz"
_CREDIT = "from ImageNet, chosen by A. Coates, H. Lee and A. Ng."


class Stl10:
    """By itself torchvision's "train+unlabeled": 105,000 pictures of all kinds of animals and vehicles, without classes.

    For 100,000 of them nobody wrote a label, so whoever wants classes asks for the part `labelled`: torchvision's "train"
    and "test", 13,000 pictures in 10 classes. A stand-in for ImageNet is to be large and varied first, hence this default.
    Both parts come in one download (2.6 GB, 3.2 GB when unpacked) and are read from the disk bit by bit, never as a whole.

    Raises `UsageError` for another part.
    """

    def __init__(self, data_dir: Path, part: str = "", look: Look | None = None, progress: Progress | None = None):
        look = look or Look()
        labelled = part.strip().lower() in ("labelled", "labeled")
        if part and not labelled:
            raise UsageError(
                f"stl10 has no part {part.strip()!r}: write stl10, or stl10:labelled for those with classes."
            )
        self._files = (
            ["train_X.bin", "test_X.bin", "train_y.bin", "test_y.bin"]
            if labelled
            else ["train_X.bin", "unlabeled_X.bin"]
        )
        self._data_dir = data_dir
        self._folder = data_dir / _FOLDER
        self._progress = progress
        # Squares: there is nothing to crop.
        self.slug = ("stl10-labelled" if labelled else "stl10") + Look(colour=look.colour).suffix(native=3)
        pictures = 13_000 if labelled else 105_000
        self.info = DatasetInfo(
            key="stl10:labelled" if labelled else "stl10",
            title="STL-10, labelled" if labelled else "STL-10",
            about=f"{pictures:,} photographs of animals and vehicles {_CREDIT}",
            pictures=pictures,
            channels=look.channels(native=3),
            classes=_CLASSES if labelled else (),
        )

    def version(self) -> str:
        return arrays.version()

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int]]:
        if not os.path.isdir(self._folder):
            if picks is not None:
                here = os.path.isfile(self._data_dir / _ARCHIVE)
                raise self._missing(
                    "training unpacks it" if here else "it is not here yet; training downloads it (2.6 GB)"
                )
            bring(datasets().STL10, self._data_dir, self._missing, self._progress)
        if picks is None:
            self._verify()
        try:
            pictures = _Files([self._folder / name for name in self._files if name.endswith("_X.bin")])
            labels = [np.fromfile(self._folder / name, np.uint8) for name in self._files if name.endswith("_y.bin")]
            # The files count classes from 1.
            known = np.concatenate(labels).astype(np.int64) - 1 if labels else np.full(len(pictures), -1)
            if len(known) != len(pictures) or known.max() >= len(_CLASSES):
                raise ValueError
        except (OSError, ValueError):
            raise self._missing(f"{self._folder} is damaged, delete it") from None
        yield from arrays.draw(pictures, known, size, self.info.channels, picks)

    def _verify(self) -> None:
        """The files' checksums are those that torchvision knows."""
        known = datasets().STL10
        md5s = dict(known.train_list + known.test_list)
        for name in self._files:
            try:
                whole = download.md5_of(self._folder / name, self._progress) == md5s[name]
            except OSError:
                whole = False
            if not whole:
                raise self._missing(f"{self._folder / name} is missing or damaged, delete {self._folder}")

    def _missing(self, why: str) -> DataError:
        return DataError(f"{self.info.title}: {why}; put {_ARCHIVE} into {self._data_dir}, {WAY_ON}.")


class _Files:
    """Several files of pictures as one long array, of which only the rows asked for are read: uint8 (B, 96, 96, 3)."""

    def __init__(self, paths: Sequence[Path]):
        self._parts = [np.memmap(path, np.uint8, "r").reshape(-1, *_PICTURE) for path in paths]
        self._starts = np.cumsum([0] + [len(part) for part in self._parts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        rows = np.empty((len(indices), *_PICTURE), np.uint8)
        for part, start in zip(self._parts, self._starts, strict=False):
            here = (indices >= start) & (indices < start + len(part))
            rows[here] = part[indices[here] - start]
        return rows.transpose(0, 3, 2, 1)
