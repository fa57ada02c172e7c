"""The classic sets that torchvision knows how to fetch: Fashion-MNIST and CIFAR-10, their training parts.

They are used where they already lie; otherwise they are downloaded into the data folder, checksums verified.
"""

import gzip
import http.client
import os
import shutil
import socket
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddpm_core.data.cache import made
from ddpm_core.data.source import DatasetInfo
from ddpm_core.errors import DataError

_DRAWING_VERSION = 1  # raise it when a change below changes pixels: older caches are then made anew
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package dataset-fashion-mnist
_WAY_ON = "or use --dataset=openmoji, which needs no download"


class FashionMnist:
    """60,000 grey pictures of clothes (Xiao et al. 2017, arXiv 1708.07747), 28 px, with a black border of 2 to 32 px."""

    slug = "fashion_mnist"
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
    _files = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")

    def __init__(self, data_dir: Path):
        self._data_dir = data_dir
        self._raw = data_dir / "FashionMNIST" / "raw"  # where torchvision keeps it

    def version(self) -> str:
        return f"drawing {_DRAWING_VERSION}, pillow {metadata.version('pillow')}"

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int]]:
        found = self._find()
        if found is None and picks is None:
            _download("FashionMNIST", self._data_dir, self._missing)
            found = self._find()
        if found is None:
            raise self._missing("it is not here yet; training downloads it (30 MB)")
        images, labels = (_read_idx(path) for path in found)
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
            raise DataError(f"{found[0]} is not Fashion-MNIST: delete it to have it downloaded anew, {_WAY_ON}.")
        if picks is not None:
            chosen = np.minimum(picks, len(images) - 1)
            images, labels = images[chosen], labels[chosen]
        for picture, label in zip(np.pad(images, ((0, 0), (2, 2), (2, 2))), labels.tolist(), strict=True):
            yield _resize(picture, size)[None], label

    def _find(self) -> list[Path] | None:
        for folder in (self._raw, _DEBIAN):
            found = [
                next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None) for name in self._files
            ]
            if all(found):
                return [path for path in found if path]
        return None

    def _missing(self, why: str) -> DataError:
        files = " and ".join(f"{name}.gz" for name in self._files)
        return DataError(f"Fashion-MNIST: {why}; put {files} into {self._raw}, {_WAY_ON}.")


class Cifar10:
    """50,000 colour photographs of 32 px (Krizhevsky 2009)."""

    slug = "cifar10"
    info = DatasetInfo(
        key="cifar10",
        title="CIFAR-10",
        about="50,000 small colour photographs of animals and vehicles, collected by A. Krizhevsky, V. Nair and G. Hinton.",
        pictures=50_000,
        channels=3,
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )

    def __init__(self, data_dir: Path):
        self._data_dir = data_dir

    def version(self) -> str:
        return f"drawing {_DRAWING_VERSION}, pillow {metadata.version('pillow')}"

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int]]:
        if not (self._data_dir / "cifar-10-batches-py").is_dir():
            if picks is not None:
                raise self._missing("it is not here yet; training downloads it (170 MB)")
            _download("CIFAR10", self._data_dir, self._missing)
        try:
            # torchvision unpickles these files; it verifies their checksums first, so they are the ones it knows.
            cifar = _torchvision_datasets().CIFAR10(self._data_dir, train=True)
        except (OSError, RuntimeError):
            raise self._missing(f"{self._data_dir / 'cifar-10-batches-py'} is damaged, delete it") from None
        for i in range(len(cifar.data)) if picks is None else picks:
            i = min(i, len(cifar.data) - 1)
            yield _resize(cifar.data[i], size).transpose(2, 0, 1), int(cifar.targets[i])

    def _missing(self, why: str) -> DataError:
        return DataError(f"CIFAR-10: {why}; put cifar-10-python.tar.gz into {self._data_dir}, {_WAY_ON}.")


def _read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, plain or gzipped: 0, 0, type 8, number of axes, each length as big-endian int32."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read()
        axes = content[3]
        if content[:3] != b"\0\0\x08" or not 1 <= axes <= 3:
            raise ValueError
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(content, ">i4", axes, 4))
    except (OSError, EOFError, ValueError, IndexError, zlib.error):
        raise DataError(f"{path} is damaged: delete it to have it downloaded anew, {_WAY_ON}.") from None


def _resize(picture: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, C) at `size` pixels, antialiased."""
    if picture.shape[0] == size:
        return picture
    method = Image.Resampling.LANCZOS if size < picture.shape[0] else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).resize((size, size), method))


def _lend(file: Path, there: Path) -> None:
    """The same file under another name; a copy where the disk knows no links (exFAT, some network disks)."""
    try:
        os.link(file, there)
    except OSError:
        shutil.copyfile(file, there)


def _download(name: str, data_dir: Path, missing: Callable[[str], DataError]) -> None:
    """Fetches one of torchvision's sets by its class name; `data_dir` changes only when all of it is there and verified."""
    datasets = _torchvision_datasets()
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # torchvision itself would wait for ever for a network that swallows everything
    try:
        with made(data_dir), tempfile.TemporaryDirectory(dir=data_dir, prefix=".download_") as folder:
            archive = data_dir / getattr(datasets, name).__dict__.get("filename", "no archive")
            if archive.is_file():
                _lend(archive, Path(folder) / archive.name)  # put there by hand: torchvision verifies and unpacks it
            getattr(datasets, name)(folder, download=True)
            for path in sorted(Path(folder).rglob("*")):
                target = data_dir / path.relative_to(folder)
                if path.is_dir():
                    target.mkdir(exist_ok=True)
                else:
                    os.replace(path, target)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error).strip().split("\n")[-1]
        raise missing(f"it could not be downloaded ({reason})") from None
    finally:
        socket.setdefaulttimeout(patience)


def _torchvision_datasets() -> Any:
    try:
        import torchvision.datasets
    except RuntimeError:
        # torchvision's wheels are built for CUDA. Beside a torch without CUDA their compiled part does not load, and the
        # import stumbles over two operators that it should have brought. Nothing here calls them: declared is enough.
        import torch

        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        import torchvision.datasets
    return torchvision.datasets
