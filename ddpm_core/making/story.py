"""How a picture came to be, as a picture: what the network was shown, and below it what it made of that. Imports no torch."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ddpm_core import pictures

if TYPE_CHECKING:
    from torch import Tensor

    from ddpm_core.generator import Preview

MOST_COLUMNS = 12
Column = tuple[np.ndarray, np.ndarray]  # uint8 (H, W, C): shown to the network, and its belief


def stops(calls: int) -> list[int]:
    """Which of a walk's network calls, 1 to `calls`, are kept: evenly spread, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(1, calls, min(calls, MOST_COLUMNS)).tolist()})


def watch(previews: "Iterable[Preview]", noise: "Tensor", kept: list[Column]) -> "Iterator[Preview]":
    """Hands on the previews of a walk and keeps a column for each stop of its first picture, which begins at noise (1, C, H, W)."""
    shown = noise
    for preview in previews:
        if preview.even:
            wanted = stops(preview.steps)
            if preview.step in wanted:
                kept.append((pictures.to_uint8(shown)[0], pictures.to_uint8(preview.x0[:1])[0]))
            if preview.step + 1 in wanted:
                shown = preview.x[:1]
        yield preview


def draw(kept: list[Column], scale: int) -> Image.Image:
    """An image of two rows, a pair a column; each pixel becomes scale x scale."""
    above, below = zip(*kept, strict=True)
    return pictures.enlarge(pictures.grid(np.stack([*above, *below]), columns=len(kept)), scale)
