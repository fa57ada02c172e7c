"""Is a sample a copy? The nearest training pictures, and how much nearer the first is than any other. Knows no torch.

A sample is a copy where its nearest training picture is less than a third as far as the second nearest, in pixel L2 (Gu
et al. 2023, "On memorization in diffusion models", arXiv 2310.02664; Favero et al. 2025, arXiv 2505.16959). One number for
a whole model would mix that up with blurred and with missing pictures, so this is told of one sample, with the pictures.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ddpm_core.data.source import Progress
from ddpm_core.errors import DataError, UsageError

COPY = 1 / 3  # below this ratio: a copy
CLOSE = 2 / 3  # below this one: close. (Measured: of 500 Fashion-MNIST test pictures 0.8 % are, and none below COPY.)
# Two pictures that differ by less than this (root mean square, of 255 levels) count as one. Without that a drawing that is
# in the data twice has a second nearest as near as the first, and no copy of it would ever be found. (Measured at 32 px,
# mirrored ones counted: 12 % of OpenMoji's drawings have such a twin, 5 % an exact one; of 800 Fashion-MNIST pictures none.)
SAME = 4.0

_BLOCK = 1024  # pixel values in a sum: 1024 * 128 * 128 = 2**24, up to where float32 counts every whole number
_CHUNK = 1 << 19  # pixel values in memory at once: 2 MiB, about what a core's own cache holds


class Verdict(StrEnum):
    COPY = "copy"  # ratio below 1/3, or nobody could tell it from the training picture
    CLOSE = "close"  # ratio below 2/3: nearer to one training picture than unseen real pictures nearly ever are
    OWN = "own"


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest training pictures of one sample, nearest first."""

    indices: np.ndarray  # int64 (k,), into the images
    flipped: np.ndarray  # bool (k,): it is the mirror image of the training picture that is so near
    distances: np.ndarray  # float64 (k,): L2 over all pixel values of 0..255
    rms: float  # the first distance as root mean square over the pixel values, 0..255
    second: float  # distance to the nearest one that is not the same as the first; inf where there is none
    twins: int  # training pictures that are the same as the nearest, it not counted

    @property
    def ratio(self) -> float | None:
        """First distance / second, 0 to 1; None where the data hold no second picture."""
        return float(self.distances[0]) / self.second if math.isfinite(self.second) else None

    @property
    def verdict(self) -> Verdict:
        ratio = 1.0 if self.ratio is None else self.ratio
        if ratio < COPY or self.rms < SAME:
            return Verdict.COPY
        return Verdict.CLOSE if ratio < CLOSE else Verdict.OWN


def nearest(
    sample: np.ndarray,
    images: np.ndarray,
    k: int = 4,
    flips: bool = True,
    progress: Progress | None = None,
    trained: np.ndarray | None = None,
) -> Nearest:
    """The `k` training pictures nearest to `sample`, and what the verdict needs.

    `sample` is uint8 (S, S, C), `images` uint8 (N, C, S, S), may be memory-mapped: 2 MiB of it are looked at at a time.
    `trained`, int64 (T,), says which of them were trained on, as `training.held_out.split` does; None: all. Indices are into
    `images` either way. With `flips` the mirror image of a training picture counts like itself. Distances are exact: 0 means
    equal. (Measured on one core, beside other work: 60,000 pictures of 32 px in 0.2 s grey and 0.5 s colour.)
    `progress(what, done, total)` may raise to cancel. Raises `DataError` for no pictures, `UsageError` for another size or
    colour than the sample's.
    """
    height, width, channels = sample.shape
    if len(images if trained is None else trained) == 0:
        raise DataError(
            "there are no training pictures to compare with: choose the data set that the run learned from."
        )
    if images.shape[1:] != (channels, height, width):
        theirs = f"{images.shape[2]} x {images.shape[3]} with {images.shape[1]}"
        raise UsageError(
            f"the sample is {height} x {width} with {channels} channels and the training pictures are {theirs}:"
            " choose the data set that the run learned from, at the run's size."
        )
    picture = sample.transpose(2, 0, 1)
    squares = _squared_distances(picture, images, trained, flips, progress)
    flipped = squares.argmin(1).astype(bool)  # of two that are equally near the one that is not mirrored
    distances = np.sqrt(squares.min(1))
    order = np.argsort(distances, kind="stable")
    same = SAME * math.sqrt(sample.size)

    # Who is the same as the nearest is within `same` of it, so by the triangle inequality within first + same of the sample.
    which = np.arange(len(images)) if trained is None else trained
    first = order[0]
    near = order[distances[order] < distances[first] + same]
    twin = np.sqrt(_squared_distances(images[which[first]], images, which[near], flips).min(1)) < same
    others = distances[np.concatenate([near[~twin], order[len(near) :]])]
    return Nearest(
        indices=which[order[:k]],
        flipped=flipped[order[:k]],
        distances=distances[order[:k]],
        rms=float(distances[first]) / math.sqrt(sample.size),
        second=float(others[0]) if len(others) else math.inf,
        twins=int(twin.sum()) - 1,
    )


def _squared_distances(
    picture: np.ndarray, images: np.ndarray, picks: np.ndarray | None, flips: bool, progress: Progress | None = None
) -> np.ndarray:
    """float64 (N, 1 or 2): squared L2 from `picture` (C, S, S), and from its mirror image, to all images or those at `picks`.

    Exact, though |a - b|^2 = |a|^2 - 2 a.b + |b|^2 as matrix products in float32 would lose near copies among the rounding:
    the values are centred and the sums so short that each is a whole number that float32 has.
    """
    versions = [picture, picture[:, :, ::-1]] if flips else [picture]
    b = np.stack([version.reshape(-1) for version in versions], axis=1).astype(np.float32) - 128
    count = len(images) if picks is None else len(picks)
    squares = np.empty((count, len(versions)))
    squares[:] = (b.astype(np.float64) ** 2).sum(0)
    rows = max(1, _CHUNK // len(b))
    for start in range(0, count, rows):
        chunk = images[start : start + rows] if picks is None else images[picks[start : start + rows]]
        a = chunk.reshape(len(chunk), -1).astype(np.float32)
        a -= 128
        for left in range(0, len(b), _BLOCK):
            part = a[:, left : left + _BLOCK]
            squares[start : start + rows] += np.einsum("ij,ij->i", part, part)[:, None]
            squares[start : start + rows] -= 2 * (part @ b[left : left + _BLOCK])
        if progress:
            progress("Comparing with the training pictures", start + len(chunk), count)
    return squares
