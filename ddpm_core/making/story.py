"""How a picture came to be, as a picture: what the network was shown, and below it what it made of that. Imports no torch."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ddpm_core import pictures
from ddpm_core.stop import Stop

if TYPE_CHECKING:
    from torch import Tensor

    from ddpm_core.generator import Generator, Preview

MOST_COLUMNS = 12
Column = tuple[np.ndarray, np.ndarray]  # uint8 (H, W, C): shown to the network, and its belief


def stops(calls: int) -> list[int]:
    """Which of a walk's network calls, 1 to `calls`, are kept: evenly spread, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(1, calls, min(calls, MOST_COLUMNS)).tolist()})


def watch(
    previews: "Iterable[Preview]", noise: "Tensor", kept: list[Column], wanted: Sequence[int]
) -> "Iterator[Preview]":
    """Hands on the previews of a walk and keeps a column for each wanted stop of its first picture, which begins at noise
    (1, C, H, W)."""
    shown = noise
    for preview in previews:
        if preview.even:
            if preview.step in wanted:
                kept.append((pictures.to_uint8(shown)[0], pictures.to_uint8(preview.x0[:1])[0]))
            if preview.step + 1 in wanted:
                shown = preview.x[:1]
        yield preview


def walk(generator: "Generator", seed: int, wanted: Sequence[int], **how: Any) -> Iterator[Stop]:
    """The walk of one seed with these stops: uint8 (2 K, H, W, C), as `pictures_of` lays them out, at the last one."""
    from ddpm_core.diffusion import latents

    kept: list[Column] = []
    for preview in watch(generator.sample([seed], **how), latents.noise([seed], generator.shape), kept, wanted):
        over = preview.step == preview.steps
        yield Stop(preview.step, preview.steps, preview.done, functools.partial(pictures_of, kept) if over else None)


def pictures_of(kept: Sequence[Column]) -> np.ndarray:
    """uint8 (2 K, H, W, C): what the network was shown at each stop, then what it made of that at each."""
    above, below = zip(*kept, strict=True)
    return np.stack([*above, *below])


def draw(kept: Sequence[Column], scale: int) -> Image.Image:
    """An image of two rows, a pair a column; each pixel becomes scale x scale."""
    return pictures.enlarge(pictures.grid(pictures_of(kept), columns=len(kept)), scale)
