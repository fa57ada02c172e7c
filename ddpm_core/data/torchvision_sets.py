"""What torchvision knows about the classic sets: where they are on the network, their checksums, how to unpickle them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddpm_core.data import download
from ddpm_core.data.source import Progress
from ddpm_core.errors import DataError

WAY_ON = "or go on with --dataset=openmoji, which needs no download"


def datasets() -> Any:
    """torchvision.datasets, also beside a torch without CUDA. Imports torch, so only call it where pictures are read."""
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


def bring(known: Any, data_dir: Path, missing: Callable[[str], DataError], progress: Progress | None) -> None:
    """Downloads and unpacks the archive of one of torchvision's classes, where torchvision itself would look for it.

    An archive that lies there already is used, if it is whole. Raises what `missing` makes of the reason.
    """
    archive = data_dir / known.filename
    try:
        if not os.path.isfile(archive):
            download.fetch([known.url], archive, known.tgz_md5, progress)
        elif download.md5_of(archive, progress) != known.tgz_md5:
            with open(archive, "rb") as file:
                page = download.looks_like_a_page(file.read(1000))
            why = "a web page that was saved under this name" if page else "cut off or damaged, by its checksum"
            raise missing(f"{archive} is {why}; delete it to have it downloaded anew")
        download.unpack(archive, known.base_folder, progress)
    except download.DownloadError as error:
        raise missing(f"it could not be downloaded ({error})") from None
    except OSError as error:
        raise missing(f"{archive} cannot be read ({error.strerror})") from None
