"""Pictures as numbers become pictures as files: grids, strips, PNGs that carry their recipe. Knows no torch."""

import base64
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ddpm_core import atomic
from ddpm_core.errors import DataError

RECIPE_KEY = "ddpm-studio"  # the PNG text chunk that says how a picture was made
PAPER = 255  # white between the pictures
INK = 40
BAND = 22  # pixels, the height of a label in a comparison
COMPARISON_GAP = 4


def to_uint8(x: Any) -> np.ndarray:
    """(N, C, H, W) torch tensor or array in [-1, 1] -> uint8 (N, H, W, C). Outside values are clipped, nan becomes black."""
    if hasattr(x, "detach"):
        x = x.detach().float().cpu().numpy()
    levels = np.rint((np.nan_to_num(np.asarray(x, np.float32), nan=-1.0) + 1.0) * 127.5)
    return np.clip(levels, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()


def to_image(picture: np.ndarray) -> Image.Image:
    """uint8 (H, W, 1 or 3) -> an image, grey or RGB."""
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


def grid(pictures: np.ndarray, columns: int | None = None, gap: int = 2) -> Image.Image:
    """uint8 (N, H, W, C), N >= 1 -> one image, row by row, `gap` white pixels between and around. columns None = near square."""
    count, height, width, channels = pictures.shape
    columns = min(count, columns or near_square(count))
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), PAPER, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return to_image(canvas)


def near_square(count: int) -> int:
    """The columns of a grid of so many pictures."""
    return math.ceil(math.sqrt(count))


def enlarge(image: Image.Image, scale: int) -> Image.Image:
    """Every pixel as a square of scale x scale: small pictures are shown large, never blurred."""
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST) if scale > 1 else image


def comparison(rows: Sequence[tuple[str, np.ndarray]], gap: int = COMPARISON_GAP) -> Image.Image:
    """One labelled row a model: [(label, uint8 (N, H, W, C)), ...] -> an image, all pictures about as high as the largest.

    Each pixel becomes a whole number of pixels, so sides that do not divide the largest come out a little smaller.
    """
    largest = max(pictures.shape[1] for _, pictures in rows)
    strips = []
    for label, pictures in rows:
        scale = comparison_scale(pictures.shape[1], largest)
        strips.append((label, grid(pictures.repeat(scale, 1).repeat(scale, 2), len(pictures), gap)))
    font = ImageFont.load_default(14)
    size = max(strip.width for _, strip in strips), sum(BAND + strip.height for _, strip in strips)
    canvas = Image.new("RGB", size, (PAPER,) * 3)
    draw, top = ImageDraw.Draw(canvas), 0
    for label, strip in strips:
        draw.text((gap, top + 3), label, fill=(INK,) * 3, font=font)
        canvas.paste(strip, (0, top + BAND))
        top += BAND + strip.height
    return canvas


def comparison_scale(side: int, largest: int) -> int:
    """What each pixel of a picture `side` wide is enlarged to beside one that is `largest` wide."""
    return max(1, max(128, largest) // side)


def save_png(image: Image.Image, path: Path | str, recipe: dict[str, Any] | None = None) -> None:
    """Writes a whole PNG or nothing, its recipe inside as JSON. Makes the folder. Raises `DataError` where it cannot write."""
    save_bytes(to_png_bytes(image, recipe=recipe), Path(path))


def save_gif(
    pictures: np.ndarray,
    path: Path | str,
    recipe: dict[str, Any] | None = None,
    *,
    scale: int = 1,
    milliseconds: int = 80,
) -> None:
    """uint8 (N, H, W, C) -> an endless GIF, there and back again. A whole file or nothing. Raises `DataError`."""
    save_bytes(to_gif_bytes(pictures, recipe, scale=scale, milliseconds=milliseconds), Path(path))


def to_gif_bytes(
    pictures: np.ndarray, recipe: dict[str, Any] | None = None, *, scale: int = 1, milliseconds: int = 80
) -> bytes:
    """The same GIF in memory."""
    frames = [enlarge(to_image(picture), scale) for picture in [*pictures, *pictures[-2:0:-1]]]
    comment = json.dumps({RECIPE_KEY: recipe}) if recipe else ""
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, comment=comment)
    return file.getvalue()


def read_recipe(path: Path | str) -> dict[str, Any] | None:
    """The recipe inside one of our PNGs or GIFs; None for any other file."""
    try:
        with Image.open(path, formats=("PNG", "GIF")) as image:
            if image.format == "PNG":
                recipe = json.loads(getattr(image, "text", {})[RECIPE_KEY])
            else:
                recipe = json.loads(image.info["comment"])[RECIPE_KEY]
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):  # no picture, no text in it, no JSON, another JSON
        return None
    except (
        Image.DecompressionBombError,
        RecursionError,
    ):  # larger than Pillow opens, and we write; a thousand brackets
        return None
    return recipe if isinstance(recipe, dict) else None


def to_png_bytes(image: Image.Image | np.ndarray, *, scale: int = 1, recipe: dict[str, Any] | None = None) -> bytes:
    """An image, or one picture uint8 (H, W, C), as PNG; `scale` enlarges each pixel to a square."""
    image = enlarge(to_image(image) if isinstance(image, np.ndarray) else image, scale)
    info = PngImagePlugin.PngInfo()
    if recipe is not None:
        info.add_text(RECIPE_KEY, json.dumps(recipe))
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def to_data_uri(image: Image.Image | np.ndarray, *, scale: int = 1, recipe: dict[str, Any] | None = None) -> str:
    """The same PNG as text that an <img> takes as its src."""
    return "data:image/png;base64," + base64.b64encode(to_png_bytes(image, scale=scale, recipe=recipe)).decode()


def save_bytes(content: bytes, path: Path) -> None:
    """A whole file or nothing. Makes the folder. Raises `DataError` where it cannot write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.writing(path) as file:
            file.write(content)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot write {path} ({reason}): free some space or choose another folder.") from None
