"""MNIST and Fashion-MNIST, their training parts: 28 px, grey, in IDX files. They get a black border of 2 px to 32."""

import dataclasses
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ddpm_core.data import arrays, download
from ddpm_core.data.source import DatasetInfo, Look, Progress
from ddpm_core.data.torchvision_sets import WAY_ON, datasets
from ddpm_core.errors import DataError


class Idx:
    """One of the two. They are used where they lie, else downloaded, each file verified by torchvision's checksum."""

    info: DatasetInfo
    slug: str
    name: str  # of torchvision's class, and of its folder
    megabytes: int
    files = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    elsewhere: tuple[Path, ...] = ()  # folders of the system where they may lie, too

    def __init__(self, data_dir: Path, look: Look | None = None, progress: Progress | None = None):
        look = look or Look()
        self._raw = data_dir / self.name / "raw"  # where torchvision keeps it
        self._progress = progress
        # Squares without transparency: nothing is cropped, and the border is theirs, not ours to colour.
        self.slug += Look(colour=look.colour).suffix(self.info.channels)
        self.info = dataclasses.replace(self.info, channels=look.channels(self.info.channels))

    def version(self) -> str:
        return arrays.version()

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int]]:
        found = self._find()
        if found is None and picks is None:
            self._download()
            found = self._find()
        if found is None:
            raise self._missing(f"it is not here yet; training downloads it ({self.megabytes} MB)")
        images, labels = (_read(path) for path in found)
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
            raise DataError(f"{found[0]} is not {self.info.title}: delete it to have it downloaded anew, {WAY_ON}.")
        yield from arrays.draw(np.pad(images, ((0, 0), (2, 2), (2, 2))), labels, size, self.info.channels, picks)

    def _find(self) -> list[Path] | None:
        for folder in (self._raw, *self.elsewhere):
            found = [path for path in (_plain_or_gz(folder / name) for name in self.files) if path]
            if len(found) == len(self.files):
                return found
        return None

    def _download(self) -> None:
        known = getattr(datasets(), self.name)
        md5s = dict(known.resources)
        for name in self.files:
            if _plain_or_gz(self._raw / name):
                continue
            packed = f"{name}.gz"
            urls = [mirror + packed for mirror in known.mirrors]
            try:
                download.fetch(urls, self._raw / packed, md5s[packed], self._progress)
            except download.DownloadError as error:
                raise self._missing(f"it could not be downloaded ({error})") from None

    def _missing(self, why: str) -> DataError:
        files = " and ".join(f"{name}.gz" for name in self.files)
        return DataError(f"{self.info.title}: {why}; put {files} into {self._raw}, {WAY_ON}.")


class FashionMnist(Idx):
    """60,000 grey pictures of clothes (Xiao et al. 2017, arXiv 1708.07747)."""

    slug = "fashion_mnist"
    name = "FashionMNIST"
    megabytes = 30
    elsewhere = (Path("/usr/share/datasets/fashion-mnist"),)  # of Debian's package dataset-fashion-mnist
    info = DatasetInfo(
        key="fashion_mnist",
        title="Fashion-MNIST",
        about="60,000 small grey photographs of clothes, by Zalando Research, MIT licence.",
        pictures=60_000,
        channels=1,
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    )


class Mnist(Idx):
    """60,000 handwritten digits (LeCun et al. 1998)."""

    slug = "mnist"
    name = "MNIST"
    megabytes = 10
    info = DatasetInfo(
        key="mnist",
        title="MNIST",
        about="60,000 small grey pictures of handwritten digits, collected by Y. LeCun, C. Cortes and C. Burges.",
        pictures=60_000,
        channels=1,
        classes=tuple("0123456789"),
    )


def _plain_or_gz(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if os.path.isfile(p)), None)


def _read(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, plain or gzipped: 0, 0, type 8, number of axes, each length as big-endian int32."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read()
        axes = content[3]
        if content[:3] != b"\0\0\x08" or not 1 <= axes <= 3:
            raise ValueError
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(content, ">i4", axes, 4))
    except (OSError, EOFError, ValueError, IndexError, zlib.error):
        raise DataError(f"{path} is damaged: delete it to have it downloaded anew, {WAY_ON}.") from None
