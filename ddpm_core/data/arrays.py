"""Sets that come as one large array of small squares: cut to size many at a time, on all cores."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Protocol

import numpy as np
from PIL import Image

from ddpm_core.data.decoding import luma, resize

_TOGETHER = 32  # pictures that one thread cuts before the next answer is waited for
_VERSION = 2  # raise it when a change below changes pixels: older caches are then made anew


class Rows(Protocol):
    """uint8 (B, S, S) or (B, S, S, 3) for the rows at `indices`; an array, or something that reads them from the disk."""

    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray: ...


def version() -> str:
    return f"arrays {_VERSION}, pillow {metadata.version('pillow')}"


def draw(
    rows: Rows, labels: np.ndarray, size: int, channels: int, picks: Sequence[int] | None
) -> Iterator[tuple[np.ndarray, int]]:
    """All rows in order, or those at `picks` (the last one for what is beyond it), each uint8 (channels, size, size)."""
    order = np.arange(len(labels)) if picks is None else np.minimum(picks, len(labels) - 1)
    workers = min(8, os.cpu_count() or 1)
    at_once = 2 * workers * _TOGETHER
    # Pillow lets go of Python's lock while it resizes, so threads use all cores.
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(order), at_once):
            some = order[start : start + at_once]
            parts = [some[k : k + _TOGETHER] for k in range(0, len(some), _TOGETHER)]
            cut = pool.map(lambda part: squares(rows[part], size, channels), parts)
            for part, pictures in zip(parts, cut, strict=True):
                yield from zip(pictures, labels[part].tolist(), strict=True)


def squares(batch: np.ndarray, size: int, channels: int) -> np.ndarray:
    """uint8 squares (N, S, S) or (N, S, S, 3) -> uint8 (N, channels, size, size), antialiased where they shrink."""
    if batch.shape[1] != size:
        batch = np.stack([np.asarray(resize(Image.fromarray(row), size, size)) for row in batch])
    planes = batch[:, None] if batch.ndim == 3 else batch.transpose(0, 3, 1, 2)
    if channels == planes.shape[1]:
        return planes
    return luma(planes) if channels == 1 else planes.repeat(3, axis=1)
