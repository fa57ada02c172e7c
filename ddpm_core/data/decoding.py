"""From the bytes of one image file to a square of plain numbers: upright, in true colours, never squashed."""

import contextlib
import functools
import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps

from ddpm_core.data.source import Look

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 40_000_000  # a larger picture is left out before it fills the memory

VERSION = 4  # raise it when a change below changes pixels: older caches are then made anew
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow knows dozens more, with more ways to be attacked


def decode(file: Path | BinaryIO, size: int, look: Look | None = None) -> np.ndarray:
    """One picture as uint8 (C, size, size): RGB, or grey for a grey look.

    Raises `ValueError` above `MAX_PIXELS`, and nearly anything for a damaged file.
    """
    look = look or Look()
    with Image.open(file, formats=_FORMATS) as image:
        # A JPEG can be decoded at an eighth of its size and much faster; it stays twice as large as needed here. So a photo of
        # 48 million pixels, as many telephones take, fills no memory either.
        image.draft(None, (2 * size, 2 * size))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
        image.load()
        # Good pixels may come with untidy EXIF data: then they are taken as they lie.
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(image, in_place=True)
        opaque = _to_rgb(_in_srgb(image), look.background)
        square = _middle(opaque, size) if look.crop == "center" else _whole(opaque, size, look.background)
        pixels = np.asarray(square).transpose(2, 0, 1)
        return luma(pixels) if look.channels(3) == 1 else pixels


def luma(rgb: np.ndarray) -> np.ndarray:
    """uint8 (..., 3, H, W) -> grey uint8 (..., 1, H, W): 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded.

    The weights are 16-bit fractions that sum to exactly one, so that what was grey stays exactly as it was.
    """
    red, green, blue = (rgb[..., k, :, :].astype(np.uint32) for k in range(3))
    grey = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    return grey.astype(np.uint8)[..., None, :, :]


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """`image` at another size. Lanczos keeps edges crisp when many pixels become one; enlarging with it would draw rings
    beside them, so that is done with a cubic."""
    if image.size == (width, height):
        return image
    smaller = width < image.width or height < image.height
    method = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
    return image.resize((width, height), method, reducing_gap=3.0)


def _in_srgb(image: Image.Image) -> Image.Image:
    """The colours that a picture's profile means (a telephone's Display P3, a camera's Adobe RGB, a printer's inks), as sRGB has them.
    Without a profile, or with one that does not fit, they are taken for sRGB."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    if image.mode == "P" or (image.mode in ("RGB", "L") and image.has_transparency_data):
        # What comes out of a transform knows neither a palette nor one colour that counts as transparent.
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    with contextlib.suppress(Exception):
        transform = _to_srgb(profile, image.mode)
        if transform is not None:
            return transform.apply(image)
    return image


@functools.lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where `profile` is of sRGB itself, as most are: then there is nothing to do."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "srgb" in ImageCms.getProfileDescription(source).lower():
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGBA" if mode == "RGBA" else "RGB")


def _to_rgb(image: Image.Image, background: str) -> Image.Image:
    """8-bit RGB from any of Pillow's modes, what is transparent on `background`."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        # Pillow's own conversion would cut 16-bit values off at 255. White is the first usual maximum that holds them all.
        values = np.asarray(image).astype(np.float64)
        values = np.nan_to_num(values, nan=0.0)
        whites = (65535.0,) if image.mode.startswith("I;") else (1.0, 255.0, 65535.0, 2.0**32)
        over = 1.5 if image.mode == "F" else 1.0  # resizing leaves values a little above white
        white = next((white for white in whites if values.max() <= over * white), values.max())
        image = Image.fromarray((values / white * 255).clip(0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, background), layer)
    return image.convert("RGB")


def _middle(image: Image.Image, size: int) -> Image.Image:
    """The middle square at `size` pixels."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return resize(image.crop((left, top, left + side, top + side)), size, size)


def _whole(image: Image.Image, size: int, background: str) -> Image.Image:
    """The whole picture in the middle of a square of `size` pixels; its sides are right to half a pixel, and at least one."""
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    square = Image.new("RGB", (size, size), background)
    square.paste(resize(image, width, height), ((size - width) // 2, (size - height) // 2))
    return square
