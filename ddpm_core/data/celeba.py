"""CelebA: 202,599 photographs of faces, 178 x 218 px (Liu et al. 2015, arXiv 1411.7766), where a person has put them.

Nothing is downloaded: it lies on Google Drive, which after a few downloads a day sends a web page instead.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ddpm_core.data.image_folder import ImageFolder
from ddpm_core.data.image_zip import ImageZip
from ddpm_core.data.source import Broken, DatasetInfo, Look, Progress, Source
from ddpm_core.errors import DataError

_INFO = DatasetInfo(
    key="celeba",
    title="CelebA",
    about="202,599 photographs of faces by Z. Liu, P. Luo, X. Wang and X. Tang, for non-commercial research only.",
    pictures=202_599,
    channels=3,
    classes=(),
)
_ZIP = "img_align_celeba.zip"
_WAY_ON = "or go on with --dataset=imagenet --size=96, which is downloaded by itself, or --dataset=openmoji"
_MISSING_SHARE = 0.05  # more of the listed files missing than this, and the unpacking was probably broken off


def find(data_dir: Path, look: Look | None = None, progress: Progress | None = None) -> Source:
    """CelebA as it lies in `data_dir`: the zip, torchvision's layout, or a plain folder of jpgs; `Missing` if it is not there.

    All pictures, no classes. Raises `DataError` for a zip that is none, and for a folder that was unpacked by half.
    """
    look = look or Look()
    home = data_dir / _INFO.key
    source: ImageZip | ImageFolder | None = None
    problem = None
    # The zip first: it is whole, or can be seen not to be, whereas a folder may have been unpacked by half.
    for path in (home / _ZIP, data_dir / _ZIP):
        if source is None and os.path.isfile(path):
            try:
                source = ImageZip(str(path), look, progress)
            except DataError as error:
                problem = error
    for folder in (home / "img_align_celeba", data_dir / "img_align_celeba", home):
        if source is None and os.path.isdir(folder):
            try:
                source = ImageFolder(str(folder), look, progress)
            except DataError:
                continue  # a folder without pictures
            _check_whole(source, home)
    if source is None and problem:
        raise DataError(f"CelebA: {str(problem).removesuffix('.')}, {_WAY_ON}.")
    if source is None:
        return Missing(home, look)
    channels = source.info.channels
    source.info = dataclasses.replace(_INFO, pictures=len(source.names), channels=channels)
    source.slug = _INFO.key + look.suffix(native=3)
    return source


def _check_whole(source: ImageFolder, home: Path) -> None:
    """Raises `DataError` if many of the files in torchvision's list are missing."""
    try:
        lines = (home / "list_eval_partition.txt").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    # Without endings, as some have the pictures as .png; and a web page that was saved under this name lists none.
    words = [line.split() for line in lines]
    listed = {line[0].partition(".")[0] for line in words if line[1:] in (["0"], ["1"], ["2"])}
    here = sum(name.rpartition("/")[2].partition(".")[0] in listed for name in source.names)
    if here < (1 - _MISSING_SHARE) * len(listed):
        raise DataError(
            f"CelebA: {source.folder} holds only {here:,} of the {len(listed):,} pictures in list_eval_partition.txt:"
            f" unpack {_ZIP} again, {_WAY_ON}."
        )


class Missing:
    """CelebA where it is not: it can be described, and says how to get it when its pictures are asked for."""

    slug = _INFO.key

    def __init__(self, home: Path, look: Look):
        self._home = home
        self.info = dataclasses.replace(_INFO, channels=look.channels(_INFO.channels))

    def version(self) -> str:
        return "missing"

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int] | Broken]:
        raise DataError(
            f"CelebA is not here and cannot be downloaded by a program: get {_ZIP} (1.4 GB) with a browser from"
            f" mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put it into {self._home} as it is, {_WAY_ON}."
        )
