"""Grids of pictures as the page shows them: the paper between them is the page's own ground."""

import math
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ddpm_core import pictures, sheet

PREVIEW_PIXELS = 300_000  # a larger preview is thinned out: ten a second must reach the page


def grid(made: np.ndarray, columns: int | None = None) -> Image.Image:
    """uint8 (N, H, W, C) -> RGBA, nothing between the pictures.

    The gap grows with the picture: grids of pictures of another size then have the same shape.
    """
    image = pictures.grid(made, columns, gap(made)).convert("RGB")
    # Where pictures.grid paints white paper, the page's own ground shall show: its pictures become 0, its paper 255.
    paper = pictures.grid(np.zeros((*made.shape[:3], 1), np.uint8), columns, gap(made))
    image.putalpha(ImageOps.invert(paper))
    return image


def cells(made: np.ndarray) -> dict[str, Any]:
    """Where the pictures of such a grid lie, so that a page can tell which one is pointed at."""
    return {"count": len(made), "columns": pictures.near_square(len(made)), "side": made.shape[1], "gap": gap(made)}


def gap(made: np.ndarray) -> int:
    return sheet.shown_gap(made.shape[1])


def thinned(made: np.ndarray) -> np.ndarray:
    """Every second pixel, or every third and so on, of pictures (N, H, W, C) that have more than PREVIEW_PIXELS in all."""
    every = max(1, math.ceil(math.sqrt(made.shape[0] * made.shape[1] * made.shape[2] / PREVIEW_PIXELS)))
    return made[:, ::every, ::every]
