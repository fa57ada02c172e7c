"""What was made, as files to save (a PNG with its recipe inside, a walk also as GIF and MP4) and as an entry of the gallery."""

import base64
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import film as films
from ddpm_core import gallery, pictures, shelf
from ddpm_core.errors import StudioError, UsageError

if TYPE_CHECKING:
    from ddpm_core.generator import Generator
    from ddpm_core.session import Session

LARGE_ENOUGH = 128  # files are opened in viewers that blur small pictures: each pixel becomes a square
FILM = 256  # a film is alone on the screen


def made_by(generator: "Generator", card: shelf.Card) -> dict[str, Any]:
    """What a recipe says of the model."""
    return {**generator.about, "run": card.run}


def saved(
    name: str, made: np.ndarray, recipe: dict[str, Any], film: bool = False, columns: int | None = None
) -> list[dict[str, str]]:
    """`made`, uint8 (N, H, W, C), as [{name, kind, href}]: a grid, and with `film` also a walk."""
    side = made.shape[1]
    image = pictures.enlarge(pictures.grid(made, columns), max(1, LARGE_ENOUGH // side))
    files = [_file(f"{name}.png", "png", pictures.to_png_bytes(image, recipe=recipe))]
    if film:
        pace = min(400, max(30, 2400 // len(made)))  # about as many seconds whatever the number of frames
        gif = pictures.to_gif_bytes(made, recipe, scale=max(1, FILM // side), milliseconds=pace)
        files.append(_file(f"{name}.gif", "gif", gif))
        with contextlib.suppress(UsageError):  # no PyAV here, or one without H.264: the others are there all the same
            files.append(_file(f"{name}.mp4", "mp4", films.to_mp4_bytes(made, fps=max(1, round(1000 / pace)))))
    return files


def kept(
    session: "Session",
    made: np.ndarray,
    recipe: dict[str, Any],
    said: str,
    columns: int | None = None,
    own: Sequence[np.ndarray] = (),
) -> str:
    """Puts `made` into the gallery, pixel by pixel, and the person's own pictures that the recipe only names; returns `said`,
    and where that failed also why."""
    try:
        png = pictures.to_png_bytes(pictures.grid(made, columns), recipe=recipe)
        gallery.keep(session.root, png, recipe, own)
    except StudioError as error:
        reason = str(error)
        return f"{said} {reason[:1].upper()}{reason[1:]}"
    return said


def _file(name: str, kind: str, content: bytes) -> dict[str, str]:
    media = "video/mp4" if kind == "mp4" else f"image/{kind}"
    return {"name": name, "kind": kind, "href": f"data:{media};base64,{base64.b64encode(content).decode()}"}
