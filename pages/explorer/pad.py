"""The pad: four seeds at its corners, and everything between them.

A coarse map of it is drawn first, with few steps; the page shows its nearest picture while the pointer moves, and asks for the
exact one when the pointer rests. A path over the pad becomes a film.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ddpm_core import gallery, pictures, shelf
from ddpm_core.errors import StudioError, UsageError
from pages.explorer.files import saved
from pages.explorer.stream import Asked, Shown, Told, share, whole
from pages.texts import t

if TYPE_CHECKING:
    from torch import Tensor

    from ddpm_core.generator import Generator as Pictures
    from ddpm_core.session import Session

MAP_STEPS = 8
TILE = 64  # pixels of a picture on the map at most
MOST_POINTS = 2000
MOST_FRAMES = 96


def make_map(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, seeds (4 corners), sampler. Told: map {src, side}, side x side pictures without gaps, row by row."""
    seeds, generator = _seeds(asked), session.shelf.take(shelf.find(session.root, asked.get("model")).path)
    side = 7 if generator.size <= 64 else 5
    spots = np.linspace(0, 1, side)
    noise = _between(generator, seeds, [[u, v] for v in spots for u in spots])
    for preview in session.shelf.slices(generator.walker(MAP_STEPS, _sampler(asked))(noise)):

        def show(preview: Any = preview) -> Told:
            mosaic = pictures.grid(preview.pictures, columns=side, gap=0)
            if generator.size > TILE:
                mosaic = mosaic.resize((side * TILE, side * TILE), Image.Resampling.BOX)
            told = {"src": pictures.to_data_uri(mosaic), "side": side}
            return {"map": told, "done": preview.done, "line": t("pad.map.line")}

        yield show


def make_point(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, seeds, u, v in 0..1, steps, sampler. Told: point {src, u, v}, with its recipe inside."""
    u, v, seeds = share(asked, "u", 0.5), share(asked, "v", 0.5), _seeds(asked)
    card = shelf.find(session.root, asked.get("model"))
    generator = session.shelf.take(card.path)
    how: dict[str, Any] = {"steps": whole(asked, "steps", 1, 1000, 20), "sampler": _sampler(asked)}
    noise = _between(generator, seeds, [[u, v]])
    for preview in session.shelf.slices(generator.walker(how["steps"], how["sampler"])(noise)):
        last = preview
    recipe = generator.recipe("pad", run=card.run, seeds=seeds, mix=[[u, v]], **how)
    yield lambda: {"point": {"src": pictures.to_data_uri(last.pictures[0], recipe=recipe), "u": u, "v": v}}


def make_film(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, seeds, path [[u, v], ...], frames, steps, sampler. Told: frame src while it works, then files."""
    seeds, count = _seeds(asked), whole(asked, "frames", 2, MOST_FRAMES, 48)
    spots = along(_path(asked.get("path")), count)
    card = shelf.find(session.root, asked.get("model"))
    generator = session.shelf.take(card.path)
    how: dict[str, Any] = {"steps": whole(asked, "steps", 1, 1000, 20), "sampler": _sampler(asked)}
    noise = _between(generator, seeds, spots)
    for preview in session.shelf.slices(generator.walker(how["steps"], how["sampler"])(noise)):
        last = preview

        def show(preview: Any = preview) -> Told:
            line = t("pad.film.line", count=count, step=preview.step, steps=preview.steps)
            return {"done": preview.done, "line": line}

        yield show
    recipe = generator.recipe(
        "pad", run=card.run, seeds=seeds, mix=[[round(u, 6), round(v, 6)] for u, v in spots], **how
    )
    name = f"{card.run}_pad_{'_'.join(map(str, seeds))}"[:80]
    frames = last.pictures
    files = saved(name, frames, recipe, film=True)
    said = t("pad.film.done", count=count)
    try:
        gallery.keep(session.root, pictures.to_png_bytes(pictures.grid(frames), recipe=recipe), recipe)
    except StudioError as error:
        said = f"{said} {error}"
    yield lambda: {"files": files, "done": 1, "line": said}


def along(path: list[list[float]], count: int) -> list[list[float]]:
    """`count` places at equal distances along `path`, both ends included; a path that does not move stays where it is."""
    points = np.array(path, dtype=np.float64)
    lengths = np.concatenate([[0.0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
    if lengths[-1] == 0:
        return [path[0]] * count
    stops = np.linspace(0, lengths[-1], count)
    return np.stack([np.interp(stops, lengths, points[:, axis]) for axis in (0, 1)], axis=1).tolist()


def _between(generator: "Pictures", seeds: list[int], spots: list[list[float]]) -> "Tensor":
    """The noise (N, C, H, W) at places (u, v) of the pad."""
    import torch

    from ddpm_core.diffusion import latents, mixing

    places = torch.tensor(spots, dtype=torch.float64)
    return mixing.mix(latents.noise(seeds, generator.shape), mixing.corners(places[:, 0], places[:, 1]))


def _seeds(asked: Asked) -> list[int]:
    given = asked.get("seeds")
    if not isinstance(given, list) or len(given) != 4:
        raise UsageError(t("pad.seeds"))
    return [whole({"seed": seed}, "seed", 0, 2**53 - 1, 0) for seed in given]


def _sampler(asked: Asked) -> str:
    return str(asked.get("sampler"))[:40]


def _path(given: object) -> list[list[float]]:
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_POINTS:
        raise UsageError(t("pad.path"))
    points = [point if isinstance(point, list) and len(point) == 2 else [None, None] for point in given]
    return [[share({"u": u}, "u", 0.5), share({"v": v}, "v", 0.5)] for u, v in points]
