"""A person's own pictures: a walk between two of them, one drawn again from some noise level, a part of one filled in.

The pictures themselves come by inbox.py; here they are named by the key that it gave.
"""

import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import pictures, recipes, shelf
from ddpm_core.config import SPACING_OF
from ddpm_core.errors import UsageError
from pages.explorer import inbox
from pages.explorer.files import kept, made_by, saved
from pages.explorer.stream import Asked, Shown, Told, sampler, share, whole
from pages.texts import t

if TYPE_CHECKING:
    from torch import Tensor

    from ddpm_core.diffusion.samplers import Noise, Step
    from ddpm_core.generator import Generator as Pictures
    from ddpm_core.session import Session

WALK_STEPS = 50  # up into noise and down again: with 20 the pictures come back visibly changed
MOST_FRAMES, MOST_SAMPLES = 48, 9


def make_walk(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a, b (keys), frames. Told: frames [src], errors [{psnr, mean}] of both ends, files."""
    from ddpm_core.diffusion import inversion, mixing

    card, generator = _model(session, asked)
    ends = [_picture(asked.get(name), generator) for name in ("a", "b")]
    count = whole(asked, "frames", 2, MOST_FRAMES, 16)
    levels = generator.schedule.levels(WALK_STEPS, generator.model.config.sigma_max, "trailing")
    x0 = _signed(ends).to(generator.device)
    spots = np.linspace(0, 1, count).round(6).tolist()
    how = {"sampler": "ddim", "steps": WALK_STEPS, "pictures": _hashes(ends), "mix": [[spot] for spot in spots]}
    recipe = recipes.compose("interpolate", **made_by(generator, card), **how)

    for step in session.shelf.slices(inversion.invert(generator.denoise(), x0, levels)):
        last = step
        yield functools.partial(_progress, "invert", step.index, step.steps, 0.5 * step.index / step.steps)
    noise = mixing.mix_inverted(last.x.cpu(), mixing.line(spots))
    for preview in session.shelf.slices(generator.walker(WALK_STEPS, "ddim", spacing="trailing")(noise)):
        drawn = preview
        yield functools.partial(_progress, "walk", preview.step, preview.steps, 0.5 + 0.5 * preview.done)
    frames = drawn.pictures
    error = inversion.reconstruction_error(x0, _signed([frames[0], frames[-1]]).to(generator.device))
    errors = [
        {"psnr": round(psnr, 1), "mean": round(mean, 2)} for psnr, mean in zip(*map(_numbers, error), strict=True)
    ]
    files = saved(f"{card.run}_own_walk", frames, recipe, film=True)
    said = kept(session, frames, recipe, t("own.walk.done", count=count))
    yield lambda: {
        "frames": [pictures.to_data_uri(frame) for frame in frames],
        "errors": errors,
        "files": files,
        "done": 1,
        "line": said,
    }


def make_redraw(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a (key), strength 0..1, seed, samples, steps, sampler. Told: src (a grid), original, files at the end."""
    from ddpm_core.diffusion import editing

    card, generator = _model(session, asked)
    own, strength = _picture(asked.get("a"), generator), share(asked, "strength", 0.5)
    how, picture = _How(asked, generator), _signed([own])[0].to(generator.device)
    row = editing.start_row(strength, how.levels, generator.size)
    level = float(how.levels[row, 1] / how.levels[row, 0])
    recipe = _recipe(generator, card, "redraw", own, how, level=round(level, 6))
    walks = [
        editing.redraw(generator.denoise(), how.sampler, picture, how.levels, strength, noise, step_noise=step_noise)
        for noise, step_noise in how.parts(generator)
    ]
    yield from _drawn(session, walks, own, recipe)


def make_fill(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a (key), mask ("0"/"1" a pixel, row by row; 1 = draw here), seed, samples, steps, sampler. Told as redraw."""
    import torch

    from ddpm_core.diffusion import editing

    card, generator = _model(session, asked)
    own, mask = _picture(asked.get("a"), generator), _mask(asked.get("mask"))
    how, picture = _How(asked, generator), _signed([own])[0].to(generator.device)
    recipe = _recipe(generator, card, "fill", own, how, mask=recipes.picture_hash(mask[..., None].astype(np.uint8)))
    walks = [
        editing.fill(generator.denoise(), how.sampler, picture, torch.from_numpy(mask), how.levels, noise, step_noise=step_noise)
        for noise, step_noise in how.parts(generator)
    ]  # fmt: skip
    yield from _drawn(session, walks, own, recipe)


class _How:
    """What redrawing and filling in have in common: seeds, staircase, noise."""

    def __init__(self, asked: Asked, generator: "Pictures") -> None:
        from ddpm_core.diffusion import samplers

        count = whole(asked, "samples", 1, MOST_SAMPLES, 4)
        first = whole(asked, "seed", 0, 2**53 - 1 - count, 0)
        self.seeds = list(range(first, first + count))
        self.name, self.steps = sampler(asked), whole(asked, "steps", 1, 1000, 20)
        self.sampler = samplers.by_name(self.name)
        self.levels = generator.schedule.levels(self.steps, generator.model.config.sigma_max, SPACING_OF[self.name])

    def parts(self, generator: "Pictures") -> "Iterator[tuple[Tensor, Noise]]":
        """(noise, step_noise) for as many seeds as one network call takes, the last part filled up: a seed gives the same
        picture alone and among others, and large models are asked often instead of long (see Generator)."""
        from ddpm_core.diffusion import latents

        seeds = self.seeds
        while seeds:
            size = next((size for size in generator.sizes if size <= len(seeds)), generator.sizes[-1])
            part, seeds = (seeds + seeds[-1:] * size)[:size], seeds[size:]
            noise = latents.noise(part, generator.shape).to(generator.device)
            yield noise, latents.step_noise(part, generator.shape, generator.device)


def _drawn(
    session: "Session", walks: Sequence[Iterator["Step"]], own: np.ndarray, recipe: dict[str, Any]
) -> Generator[Shown, None, None]:
    what, count, first = recipe["what"], len(recipe["seeds"]), recipe["seeds"][0]
    for steps in session.shelf.slices(_together(walks)):
        last = steps

        def show(steps: "tuple[Step, ...]" = steps) -> Told:
            behind = min(step.index for step in steps) if len(steps) == len(walks) else 0
            done = sum(step.index for step in steps) / (steps[0].steps * len(walks))
            told = _progress("draw", behind, steps[0].steps, done)
            return {**told, "src": _grid(_pictures([step.x0 for step in steps], count))} if behind else told

        yield show
    made = _pictures([step.x for step in last], count)
    files = saved(f"{recipe['run']}_{what}_seed{first}", made, recipe)
    said = kept(session, made, recipe, t(f"own.{what}.done" if count > 1 else f"own.{what}.done.one", count=count))
    yield lambda: {"src": _grid(made), "original": pictures.to_data_uri(own), "files": files, "done": 1, "line": said}


def _together(walks: Sequence[Iterator["Step"]]) -> Iterator[tuple["Step", ...]]:
    """All walks at the same pace: after every network call, where those stand that have begun."""
    stand: dict[int, Step] = {}
    for i, walk in itertools.cycle(enumerate(walks)):
        step = next(walk, None)
        if step is None:  # the first to end, and so the last of the others has just done so
            return
        stand[i] = step
        yield tuple(stand.values())


# ---- reading


def _model(session: "Session", asked: Asked) -> "tuple[shelf.Card, Pictures]":
    card = shelf.find(session.root, asked.get("model"))
    return card, session.shelf.take(card.path)


def _picture(key: object, generator: "Pictures") -> np.ndarray:
    """The person's picture as the model sees it: uint8 (S, S, C)."""
    return inbox.picture(key, generator.size, generator.channels)


def _mask(given: object) -> np.ndarray:
    text = given if isinstance(given, str) else ""
    side = round(len(text) ** 0.5)
    if not text or side * side != len(text) or set(text) - {"0", "1"}:
        raise UsageError(t("own.mask.wrong"))
    return np.array([letter == "1" for letter in text]).reshape(side, side)


# ---- showing


def _signed(own: list[np.ndarray]) -> "Tensor":
    """uint8 (H, W, C) each -> float (B, C, H, W) in [-1, 1]."""
    import torch

    return torch.from_numpy(np.stack(own).transpose(0, 3, 1, 2).copy()).float().div_(127.5).sub_(1)


def _grid(made: np.ndarray) -> str:
    return pictures.to_data_uri(pictures.grid(made, gap=max(1, made.shape[1] // 16)))


def _hashes(own: list[np.ndarray]) -> list[str]:
    return [recipes.picture_hash(picture) for picture in own]


def _pictures(parts: "list[Tensor]", count: int) -> np.ndarray:
    import torch

    return pictures.to_uint8(torch.cat(parts)[:count])


def _progress(what: str, step: int, steps: int, done: float) -> Told:
    return {"done": done, "line": t(f"own.{what}.line", step=step, steps=steps)}


def _recipe(
    generator: "Pictures", card: shelf.Card, what: str, own: np.ndarray, how: _How, **fields: Any
) -> dict[str, Any]:
    settings = {"sampler": how.name, "steps": how.steps, "pictures": _hashes([own]), "seeds": how.seeds}
    return recipes.compose(what, **made_by(generator, card), **settings, **fields)


def _numbers(values: "Tensor") -> list[float]:
    return [min(99.0, value) for value in values.tolist()]


EXPLORERS: dict[str, Callable[..., Generator[Shown, None, None]]] = {
    "own-walk": make_walk,
    "own-redraw": make_redraw,
    "own-fill": make_fill,
}
