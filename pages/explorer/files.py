"""What was made, as files to save: a PNG with its recipe inside, and a walk as GIF and MP4."""

import base64
from typing import Any

import numpy as np

from ddpm_core import film as films
from ddpm_core import pictures

LARGE_ENOUGH = 128  # files are opened in viewers that blur small pictures: each pixel becomes a square


def saved(name: str, made: np.ndarray, recipe: dict[str, Any], film: bool = False) -> list[dict[str, str]]:
    """`made`, uint8 (N, H, W, C), as [{name, kind, href}]: a grid, and with `film` also a walk."""
    scale = max(1, LARGE_ENOUGH // made.shape[1])
    image = pictures.enlarge(pictures.grid(made), scale)
    files = [_file(f"{name}.png", "png", pictures.to_png_bytes(image, recipe=recipe))]
    if film:
        pace = min(400, max(30, 2400 // len(made)))  # about as many seconds whatever the number of frames
        gif = pictures.to_gif_bytes(made, recipe, scale=2 * scale, milliseconds=pace)
        files.append(_file(f"{name}.gif", "gif", gif))
        files.append(_file(f"{name}.mp4", "mp4", films.to_mp4_bytes(made, fps=max(1, round(1000 / pace)))))
    return files


def _file(name: str, kind: str, content: bytes) -> dict[str, str]:
    media = "video/mp4" if kind == "mp4" else f"image/{kind}"
    return {"name": name, "kind": kind, "href": f"data:{media};base64,{base64.b64encode(content).decode()}"}
