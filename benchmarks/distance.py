"""How far generated pictures are from real ones: Frechet and kernel distance in the features of a small committed encoder.

The arithmetic is torchmetrics' (Heusel et al. 2017, arXiv 1706.08500; Binkowski et al. 2018, arXiv 1801.01401), in float64;
the features are those of benchmarks/encoder.py. Every figure carries its encoder's name, "FD (fashion_mnist encoder
1a2b3c4d)": it is no FID, and means something only beside figures of the same encoder and the same number of pictures (fewer
pictures are farther away, real ones too: the floor says how far).
"""

import contextlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.encoder import Encoder, features, reference_pictures, training_pictures
from ddpm_core.data import torchvision_sets
from ddpm_core.errors import UsageError

RESAMPLES = 20
_KERNEL_SUBSET = 1000  # pictures in each of the kernel distance's random parts, as the paper has it


@dataclass(frozen=True)
class Distance:
    """Two distances with their standard errors from resampling the pictures that were judged."""

    name: str  # the encoder's
    pictures: int
    frechet: float
    frechet_error: float
    kernel: float
    kernel_error: float


class Reference:
    """The real pictures of a set, as features: whatever is judged is compared with them."""

    def __init__(self, encoder: Encoder, images: np.ndarray | Tensor) -> None:
        torchmetrics_image()  # says before a training, not after it, that it is not installed
        self.encoder = encoder
        self.features = features(encoder, images)

    def judge(self, images: np.ndarray | Tensor, resamples: int = RESAMPLES) -> Distance:
        """uint8 (N, C, S, S), N >= 2 -> both distances with error bars."""
        return self.judge_features(features(self.encoder, images), resamples)

    def judge_features(self, judged: Tensor, resamples: int = RESAMPLES) -> Distance:
        kernel, kernel_error = kernel_distance(judged, self.features)
        return Distance(
            name=self.encoder.name,
            pictures=len(judged),
            frechet=frechet(judged, self.features),
            frechet_error=frechet_error(judged, self.features, resamples),
            kernel=kernel,
            kernel_error=kernel_error,
        )


def frechet(judged: Tensor, real: Tensor) -> float:
    """Frechet distance of two sets of features, (N, F) and (M, F), taken as normal distributions."""
    return _frechet_many([judged], real)[0]


def frechet_error(judged: Tensor, real: Tensor, resamples: int = RESAMPLES) -> float:
    """The standard deviation of `frechet` over sets drawn from `judged` with replacement.

    Only its spread is used: the mean of such sets lies too high, as they hold fewer different pictures.
    """
    draw = torch.Generator().manual_seed(0)
    picks = [torch.randint(len(judged), (len(judged),), generator=draw) for _ in range(resamples)]
    return float(np.std(_frechet_many([judged[pick] for pick in picks], real), ddof=1)) if resamples > 1 else math.nan


def kernel_distance(judged: Tensor, real: Tensor, subsets: int = 50) -> tuple[float, float]:
    """Kernel distance (polynomial of degree 3) and its standard error: the mean over random parts of both sets."""
    KernelInceptionDistance = torchmetrics_image().kid.KernelInceptionDistance
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all features in memory: they are small
        torch.manual_seed(0)  # which parts are drawn
        metric = KernelInceptionDistance(
            feature=_AsTheyAre(judged.shape[1]),
            subsets=subsets,
            subset_size=min(_KERNEL_SUBSET, len(judged) - 1, len(real) - 1),
        ).set_dtype(torch.float64)
        metric.update(real, real=True)
        metric.update(judged, real=False)
        mean, spread = metric.compute()
    # Parts overlap, and there are only so many independent ones in the pictures judged.
    independent = max(1.0, min(subsets, len(judged) / _KERNEL_SUBSET))
    return float(mean), float(spread) / independent**0.5


def floor(encoder: Encoder, dataset: str, size: int, data_dir: Path, count: int = 2000) -> Distance:
    """What perfect pictures would get: `count` real training pictures against the reference, no network between.

    A set without a test part is halved at random, one half against the other, so that no picture meets itself.
    """
    images = training_pictures(dataset, size, data_dir).images
    order = np.random.default_rng(0).permutation(len(images))
    if dataset == "fashion_mnist":
        real = reference_pictures(dataset, size, data_dir).images
    else:
        real, order = images[np.sort(order[len(order) // 2 :])], order[: len(order) // 2]
    return Reference(encoder, real).judge(images[np.sort(order[:count])])


class _AsTheyAre(nn.Module):
    """Stands where torchmetrics expects the network: its metrics are given features that were computed once."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, rows: Tensor) -> Tensor:
        return rows


def torchmetrics_image() -> Any:
    """torchmetrics.image, with its two distances imported. Raises `UsageError` with the pip command where it is not installed."""
    with contextlib.suppress(ImportError):
        torchvision_sets.datasets()  # torchmetrics imports torchvision, which beside some torch takes care
    try:
        import torchmetrics.image
        import torchmetrics.image.fid
        import torchmetrics.image.kid
    except ImportError:
        raise UsageError("distances need torchmetrics: run pip install -r requirements-bench.txt.") from None
    return torchmetrics.image


def _frechet_many(several: list[Tensor], real: Tensor) -> list[float]:
    FrechetInceptionDistance = torchmetrics_image().fid.FrechetInceptionDistance
    if min(len(real), *map(len, several)) < 2:
        raise UsageError("a distance needs at least two pictures on each side.")
    metric = FrechetInceptionDistance(feature=_AsTheyAre(real.shape[1]), reset_real_features=False)
    metric.set_dtype(torch.float64)
    metric.update(real, real=True)
    found = []
    for judged in several:
        metric.update(judged, real=False)
        found.append(float(metric.compute()))
        metric.reset()
    return found
