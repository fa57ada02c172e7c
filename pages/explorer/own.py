"""A person's own pictures: a walk between two of them, one drawn again from some noise level, a part of one filled in.

The pictures themselves come by inbox.py; here they are named by the key that it gave.
"""

import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import pictures, recipes, shelf
from ddpm_core.errors import UsageError
from ddpm_core.exploring import own
from ddpm_core.stop import Stop
from pages.explorer import inbox
from pages.explorer.files import kept, made_by, saved
from pages.explorer.stream import Asked, Shown, Told, sampler, share, whole
from pages.fields import LARGEST_SEED, MOST_STEPS
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.generator import Generator as Pictures
    from ddpm_core.session import Session

WALK_STEPS = 50  # up into noise and down again: with 20 the pictures come back visibly changed
MOST_FRAMES, MOST_SAMPLES = 48, 9


def make_walk(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a, b (keys), frames. Told: frames [src], errors [{psnr, mean}] of both ends, files."""
    card, generator = _model(session, asked)
    ends = [_picture(asked.get(name), generator) for name in ("a", "b")]
    count = whole(asked, "frames", 2, MOST_FRAMES, 16)
    spots = np.linspace(0, 1, count).round(6).tolist()
    how = {
        "sampler": own.WALK_SAMPLER,
        "steps": WALK_STEPS,
        "pictures": _hashes(ends),
        "mix": [[spot] for spot in spots],
    }
    recipe = recipes.compose("interpolate", **made_by(generator, card), **how)

    for stop in session.shelf.slices(own.between(generator, ends, WALK_STEPS, spots)):
        last = stop
        yield functools.partial(_progress, stop)
    frames = last.pictures
    assert frames is not None
    files = saved(f"{card.run}_own_walk", frames, recipe, film=True)
    said = kept(session, frames, recipe, t("own.walk.done", count=count), own=ends)
    yield lambda: {
        "frames": [pictures.to_data_uri(frame) for frame in frames],
        "errors": _errors(ends, [frames[0], frames[-1]]),
        "files": files,
        "done": 1,
        "line": said,
    }


def make_redraw(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a (key), strength 0..1, seed, samples, steps, sampler. Told: src (a grid), original, files at the end."""
    card, generator = _model(session, asked)
    picture, strength = _picture(asked.get("a"), generator), share(asked, "strength", 0.5)
    way = _way(asked, generator)
    recipe = _recipe(card, "redraw", picture, way, level=way.level(strength), strength=strength)
    yield from _drawn(session, way.redraw(picture, strength), [picture], recipe)


def make_fill(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a (key), mask ("0"/"1" a pixel, row by row; 1 = draw here), seed, samples, steps, sampler. Told as redraw."""
    card, generator = _model(session, asked)
    picture, mask = _picture(asked.get("a"), generator), _mask(asked.get("mask"))
    way, seen = _way(asked, generator), mask[..., None].astype(np.uint8)
    recipe = _recipe(card, "fill", picture, way, mask=recipes.picture_hash(seen))
    yield from _drawn(session, way.fill(picture, mask), [picture, seen], recipe)


def _drawn(
    session: "Session", walk: Iterator[Stop], seen: Sequence[np.ndarray], recipe: dict[str, Any]
) -> Generator[Shown, None, None]:
    """`seen`: the person's picture, and the mask if there is one."""
    what, count, first = recipe["what"], len(recipe["seeds"]), recipe["seeds"][0]
    for stop in session.shelf.slices(walk):
        last = stop

        def show(stop: Stop = stop) -> Told:
            return _progress(stop) | ({} if stop.pictures is None else {"src": _grid(stop.pictures)})

        yield show
    made = last.pictures
    assert made is not None
    files = saved(f"{recipe['run']}_{what}_seed{first}", made, recipe)
    line = t(f"own.{what}.done" if count > 1 else f"own.{what}.done.one", count=count)
    said = kept(session, made, recipe, line, own=seen)
    original = pictures.to_data_uri(seen[0])
    yield lambda: {"src": _grid(made), "original": original, "files": files, "done": 1, "line": said}


# ---- reading


def _model(session: "Session", asked: Asked) -> "tuple[shelf.Card, Pictures]":
    card = shelf.find(session.root, asked.get("model"))
    return card, session.shelf.take(card.path)


def _picture(key: object, generator: "Pictures") -> np.ndarray:
    """The person's picture as the model sees it: uint8 (S, S, C)."""
    return inbox.picture(key, generator.size, generator.channels)


def _way(asked: Asked, generator: "Pictures") -> own.Way:
    count = whole(asked, "samples", 1, MOST_SAMPLES, 4)
    first = whole(asked, "seed", 0, LARGEST_SEED - count, 0)
    name, steps = sampler(asked), whole(asked, "steps", 1, MOST_STEPS, 20)
    return own.Way(generator, range(first, first + count), name, steps)


def _mask(given: object) -> np.ndarray:
    text = given if isinstance(given, str) else ""
    side = round(len(text) ** 0.5)
    if not text or side * side != len(text) or set(text) - {"0", "1"}:
        raise UsageError(t("own.mask.wrong"))
    return np.array([letter == "1" for letter in text]).reshape(side, side)


# ---- showing


def _progress(stop: Stop) -> Told:
    return {"done": stop.done, "line": t(f"own.{stop.phase}.line", step=stop.step, steps=stop.steps)}


def _errors(ends: Sequence[np.ndarray], frames: Sequence[np.ndarray]) -> list[dict[str, float]]:
    """How far two pictures that were drawn from their noise are from what they were."""
    from ddpm_core.diffusion import inversion

    error = inversion.reconstruction_error(own.signed(ends), own.signed(frames))
    numbers = zip(error.psnr.tolist(), error.mean.tolist(), strict=True)
    return [{"psnr": round(min(99.0, psnr), 1), "mean": round(min(99.0, mean), 2)} for psnr, mean in numbers]


def _grid(made: np.ndarray) -> str:
    return pictures.to_data_uri(pictures.grid(made, gap=max(1, made.shape[1] // 16)))


def _hashes(seen: Sequence[np.ndarray]) -> list[str]:
    return [recipes.picture_hash(picture) for picture in seen]


def _recipe(card: shelf.Card, what: str, picture: np.ndarray, way: own.Way, **fields: Any) -> dict[str, Any]:
    settings = {"sampler": way.name, "steps": way.steps, "pictures": _hashes([picture]), "seeds": way.seeds}
    return recipes.compose(what, **made_by(way.generator, card), **settings, **fields)


EXPLORERS: dict[str, Callable[..., Generator[Shown, None, None]]] = {
    "own-walk": make_walk,
    "own-redraw": make_redraw,
    "own-fill": make_fill,
}
