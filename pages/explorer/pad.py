"""The pad: four seeds at its corners, and everything between them; with a model that knows classes, four classes too.

A coarse map of it is drawn first, with few steps; the page shows its nearest picture while the pointer moves, and asks for the
exact one when the pointer rests. A path over the pad becomes a film.
"""

import functools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ddpm_core import pictures, recipes, shelf
from ddpm_core.errors import UsageError
from pages.explorer import classes
from pages.explorer.files import kept, made_by, saved
from pages.explorer.stream import Asked, Shown, Told, sampler, share, whole
from pages.fields import LARGEST_SEED, MOST_STEPS, autoguided
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.session import Session

MAP_STEPS = 8
TILE = 64  # pixels of a picture on the map at most
MOST_POINTS = 2000
MOST_FRAMES = 96


def make_map(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, corners, sampler, autoguidance. Told: map {src, side}, side x side pictures without gaps, row by row.

    Corners are here and below: seeds, four of them; classes, four or none, a number or "any" each; guidance to these.
    """
    seeds, card = _seeds(asked), shelf.find(session.root, asked.get("model"))
    how = {**_how(asked, card), "steps": MAP_STEPS}
    generator = session.shelf.take(card.path)
    side = 7 if generator.size <= 64 else 5
    spots = np.linspace(0, 1, side)
    for preview in session.shelf.slices(generator.pad(seeds, [[u, v] for v in spots for u in spots], **how)):

        def show(preview: Any = preview) -> Told:
            mosaic = pictures.grid(preview.pictures, columns=side, gap=0)
            if generator.size > TILE:
                mosaic = mosaic.resize((side * TILE, side * TILE), Image.Resampling.BOX)
            told = {"src": pictures.to_data_uri(mosaic), "side": side}
            return {"map": told, "done": preview.done, "line": t("pad.map.line")}

        yield show


def make_point(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, corners, u, v in 0..1, steps, sampler. Told: done, at the end point {src, u, v}, with its recipe inside."""
    u, v, seeds = share(asked, "u", 0.5), share(asked, "v", 0.5), _seeds(asked)
    card = shelf.find(session.root, asked.get("model"))
    how = _how(asked, card)
    generator = session.shelf.take(card.path)
    recipe = recipes.compose("pad", **made_by(generator, card), seeds=seeds, mix=[[u, v]], **how)
    for preview in session.shelf.slices(generator.pad(seeds, [[u, v]], **how)):
        last = preview
        yield functools.partial(dict, done=preview.done)  # between two steps the pointer may have gone on
    yield lambda: {"point": {"src": pictures.to_data_uri(last.pictures[0], recipe=recipe), "u": u, "v": v}}


def make_film(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, corners, path [[u, v], ...], frames, steps, sampler. Told: how far it is, then frames [src] and files."""
    seeds, count = _seeds(asked), whole(asked, "frames", 2, MOST_FRAMES, 48)
    spots = along(_path(asked.get("path")), count)
    card = shelf.find(session.root, asked.get("model"))
    how = _how(asked, card)
    generator = session.shelf.take(card.path)
    mix = [[round(u, 6), round(v, 6)] for u, v in spots]
    recipe = recipes.compose("pad", **made_by(generator, card), seeds=seeds, mix=mix, **how)
    for preview in session.shelf.slices(generator.pad(seeds, mix, **how)):
        last = preview

        def show(preview: Any = preview) -> Told:
            line = t("pad.film.line", count=count, step=preview.step, steps=preview.steps)
            return {"done": preview.done, "line": line}

        yield show
    frames = last.pictures
    files = saved(f"{card.run}_pad_{'_'.join(map(str, seeds))}", frames, recipe, film=True)
    said = kept(session, frames, recipe, t("pad.film.done", count=count))
    yield lambda: {"frames": list(map(pictures.to_data_uri, frames)), "files": files, "done": 1, "line": said}


def along(path: list[list[float]], count: int) -> list[list[float]]:
    """`count` places at equal distances along `path`, both ends included; a path that does not move stays where it is."""
    points = np.array(path, dtype=np.float64)
    lengths = np.concatenate([[0.0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
    if lengths[-1] == 0:
        return [path[0]] * count
    stops = np.linspace(0, lengths[-1], count)
    return np.stack([np.interp(stops, lengths, points[:, axis]) for axis in (0, 1)], axis=1).tolist()


def _seeds(asked: Asked) -> list[int]:
    given = asked.get("seeds")
    if not isinstance(given, list) or len(given) != 4:
        raise UsageError(t("pad.seeds"))
    return [whole({"seed": seed}, "seed", 0, LARGEST_SEED, 0) for seed in given]


def _classes(asked: Asked) -> dict[str, Any]:
    """The corners' classes and the guidance to them; nothing where any will do at all four."""
    given = asked.get("classes")
    if given is None:
        return {}
    if not isinstance(given, list) or len(given) != 4:
        raise UsageError(t("pad.classes"))
    return classes.guided(given, asked.get("guidance", 1))


def _how(asked: Asked, card: shelf.Card) -> dict[str, Any]:
    how = {"steps": whole(asked, "steps", 1, MOST_STEPS, 20), "sampler": sampler(asked), **_classes(asked)}
    return how | autoguided(card, asked.get("autoguidance", 1))


def _path(given: object) -> list[list[float]]:
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_POINTS:
        raise UsageError(t("pad.path"))
    if not all(isinstance(point, list) and len(point) == 2 for point in given):
        raise UsageError(t("pad.path"))
    return [[share({"u": u}, "u", 0.5), share({"v": v}, "v", 0.5)] for u, v in given]
