"""What was made, as files to save (a PNG with its recipe inside, a walk also as GIF and MP4) and as an entry of the gallery."""

import base64
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import film as films
from ddpm_core import gallery, pictures, shelf
from ddpm_core.errors import StudioError, UsageError
from pages.texts import sentence

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
    image = pictures.enlarge(pictures.grid(made, columns), sharp(made))
    files = [to_save(f"{name}.png", "png", pictures.to_png_bytes(image, recipe=recipe))]
    if film:
        gif = pictures.to_gif_bytes(made, recipe, scale=sharp(made, FILM), milliseconds=pace(len(made)))
        files.append(to_save(f"{name}.gif", "gif", gif))
        with contextlib.suppress(UsageError):  # no PyAV here, or one without H.264: the others are there all the same
            fps = max(1, round(1000 / pace(len(made))))
            files.append(to_save(f"{name}.mp4", "mp4", films.to_mp4_bytes(made, fps=fps)))
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
        return f"{said} {sentence(error)}"
    return said


def sharp(made: np.ndarray, enough: int = LARGE_ENOUGH) -> int:
    """How many times pictures, uint8 (N, H, W, C), are enlarged to be about `enough` pixels wide."""
    return max(1, enough // made.shape[1])


def pace(frames: int) -> int:
    """Milliseconds that a walk shows each of its frames: about as many seconds whatever their number."""
    return min(400, max(30, 2400 // frames))


def to_save(name: str, kind: str, content: bytes) -> dict[str, str]:
    """A file as the page offers it: {name, kind, href}."""
    media = "video/mp4" if kind == "mp4" else f"image/{kind}"
    return {"name": name, "kind": kind, "href": f"data:{media};base64,{base64.b64encode(content).decode()}"}
