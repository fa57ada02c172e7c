"""A person's own pictures: a walk between two of them, one drawn again from some noise level, a part of one filled in.

A picture comes as the bytes of its file, once; the page then names it by its hash. It stays in memory only, the last few.
"""

import functools
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ddpm_core import gallery, pictures, recipes, shelf
from ddpm_core.config import SPACING_OF
from ddpm_core.data.decoding import decode
from ddpm_core.data.source import Look
from ddpm_core.errors import StudioError, UsageError
from pages.explorer.files import saved
from pages.explorer.stream import Asked, Shown, Told, share, whole
from pages.texts import t

if TYPE_CHECKING:
    from torch import Tensor

    from ddpm_core.diffusion.samplers import Step
    from ddpm_core.generator import Generator as Pictures
    from ddpm_core.session import Session

LARGEST_FILE = 30 << 20
MOST_KEPT = 8
THUMB = 256
WALK_STEPS = 50  # up into noise and down again: with 20 the pictures come back visibly changed
MOST_FRAMES, MOST_SAMPLES = 48, 9

_files: OrderedDict[str, bytes] = OrderedDict()
_lock = threading.Lock()


def routes() -> list[Route]:
    return [Route("/studio/own", receive, methods=["POST"])]


async def receive(request: Request) -> Response:
    """Body: the file's bytes. Answers {key, src}; one line for what is no picture."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST_FILE:
            return JSONResponse({"error": t("own.large", most=LARGEST_FILE >> 20)}, 413)
    return await run_in_threadpool(_take_in, bytes(content))


def _take_in(content: bytes) -> Response:
    try:
        shown = _decoded(content, THUMB, 3)
    except UsageError as error:
        return JSONResponse({"error": str(error)}, 415)
    key = hashlib.sha256(content).hexdigest()[:32]
    with _lock:
        _files[key] = content
        _files.move_to_end(key)
        while len(_files) > MOST_KEPT:
            _files.popitem(last=False)
    return JSONResponse({"key": key, "src": pictures.to_data_uri(shown)})


def make_walk(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a, b (keys), frames. Told: frames [src], errors [{psnr, mean}] of both ends, files."""
    from ddpm_core.diffusion import inversion, mixing

    card, generator = _model(session, asked)
    ends = [_picture(asked.get(name), generator) for name in ("a", "b")]
    count = whole(asked, "frames", 2, MOST_FRAMES, 16)
    levels = generator.schedule.levels(WALK_STEPS, generator.model.config.sigma_max, "trailing")
    x0 = _signed(ends).to(generator.device)

    for step in session.shelf.slices(inversion.invert(generator.denoise(), x0, levels)):
        last = step
        yield functools.partial(_progress, "own.invert.line", step.index, step.steps, 0.0)
    spots = np.linspace(0, 1, count)
    noise = mixing.mix_inverted(last.x.cpu(), mixing.line(spots.tolist()))
    for preview in session.shelf.slices(generator.walker(WALK_STEPS, "ddim", spacing="trailing")(noise)):
        drawn = preview
        yield functools.partial(_progress, "own.walk.line", preview.step, preview.steps, 0.5)
    frames = drawn.pictures
    again = _signed([frames[0], frames[-1]]).to(generator.device)
    error = inversion.reconstruction_error(x0, again)
    recipe = generator.recipe("interpolate", run=card.run, sampler="ddim", steps=WALK_STEPS, pictures=_hashes(ends), mix=[[round(float(s), 6)] for s in spots]
    )  # fmt: skip
    files = saved(f"{card.run}_own_walk", frames, recipe, film=True)
    said = _kept(session, frames, recipe, t("own.walk.done", count=count))
    yield lambda: {
        "frames": [pictures.to_data_uri(frame) for frame in frames],
        "ends": [pictures.to_data_uri(end) for end in ends],
        "errors": [{"psnr": round(psnr, 1), "mean": round(mean, 2)} for psnr, mean in zip(*map(_numbers, error), strict=True)],
        "files": files,
        "done": 1,
        "line": said,
    }  # fmt: skip


def _progress(words: str, step: int, steps: int, before: float) -> Told:
    return {"done": before + 0.5 * step / steps, "line": t(words, step=step, steps=steps)}


def make_redraw(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a (key), strength 0..1, seed, samples, steps, sampler. Told: src (a grid), original, files at the end."""
    from ddpm_core.diffusion import editing

    card, generator = _model(session, asked)
    own, strength = _picture(asked.get("a"), generator), share(asked, "strength", 0.5)
    how = _How(asked, generator)
    walk = editing.redraw(
        generator.denoise(), how.sampler, _signed([own])[0].to(generator.device), how.levels, strength, how.noise, step_noise=how.step_noise
    )  # fmt: skip
    row = editing.start_row(strength, how.levels, generator.size)
    level = float(how.levels[row, 1] / how.levels[row, 0])
    fields = {"level": round(level, 6), "pictures": _hashes([own]), "seeds": how.seeds}
    yield from _drawn(session, card, generator, walk, own, "redraw", how, fields)


def make_fill(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, a (key), mask ("0"/"1" a pixel, row by row; 1 = draw here), seed, samples, steps, sampler. Told as redraw."""
    import torch

    from ddpm_core.diffusion import editing

    card, generator = _model(session, asked)
    own, mask = _picture(asked.get("a"), generator), _mask(asked.get("mask"))
    how = _How(asked, generator)
    walk = editing.fill(
        generator.denoise(), how.sampler, _signed([own])[0].to(generator.device), torch.from_numpy(mask), how.levels, how.noise,
        step_noise=how.step_noise,
    )  # fmt: skip
    fields = {
        "pictures": _hashes([own]),
        "mask": recipes.picture_hash(mask[..., None].astype(np.uint8)),
        "seeds": how.seeds,
    }
    yield from _drawn(session, card, generator, walk, own, "fill", how, fields)


class _How:
    """What redrawing and filling in have in common: seeds, staircase, noise."""

    def __init__(self, asked: Asked, generator: "Pictures") -> None:
        from ddpm_core.diffusion import latents, samplers

        count = whole(asked, "samples", 1, MOST_SAMPLES, 4)
        first = whole(asked, "seed", 0, 2**53 - 1 - count, 0)
        self.seeds = list(range(first, first + count))
        self.name, self.steps = str(asked.get("sampler"))[:40], whole(asked, "steps", 1, 1000, 20)
        self.sampler = samplers.by_name(self.name)
        self.levels = generator.schedule.levels(self.steps, generator.model.config.sigma_max, SPACING_OF[self.name])
        self.noise = latents.noise(self.seeds, generator.shape).to(generator.device)
        self.step_noise = latents.step_noise(self.seeds, generator.shape, generator.device)


def _drawn(
    session: "Session", card: shelf.Card, generator: "Pictures", walk: Iterable["Step"], own: np.ndarray, what: str, how: _How,
    fields: dict[str, Any],
) -> Generator[Shown, None, None]:  # fmt: skip
    for step in session.shelf.slices(walk):
        last = step

        def show(step: "Step" = step) -> Told:
            line = t("generation.step", step=step.index, steps=step.steps, seconds="").rstrip(" ,.") + "."
            return {"src": _grid(pictures.to_uint8(step.x0)), "done": step.index / step.steps, "line": line}

        yield show
    made = pictures.to_uint8(last.x)
    recipe = generator.recipe(what, run=card.run, sampler=how.name, steps=how.steps, **fields)
    files = saved(f"{card.run}_{what}_seed{how.seeds[0]}", made, recipe)
    said = _kept(session, made, recipe, t(f"own.{what}.done", count=len(made)))
    yield lambda: {"src": _grid(made), "original": pictures.to_data_uri(own), "files": files, "done": 1, "line": said}


# ---- reading


def _model(session: "Session", asked: Asked) -> "tuple[shelf.Card, Pictures]":
    card = shelf.find(session.root, asked.get("model"))
    return card, session.shelf.take(card.path)


def _picture(key: object, generator: "Pictures") -> np.ndarray:
    """The person's picture as the model sees it: uint8 (S, S, C)."""
    with _lock:
        content = _files.get(str(key))
    if content is None:
        raise UsageError(t("own.gone") if key else t("own.none"))
    return _decoded(content, generator.size, generator.channels)


def _decoded(content: bytes, size: int, channels: int) -> np.ndarray:
    try:
        look = Look(colour="grey" if channels == 1 else "colour")
        return decode(io.BytesIO(content), size, look).transpose(1, 2, 0)
    except Exception:  # Pillow's readers raise nearly anything on damaged files
        raise UsageError(t("own.no-picture")) from None


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


def _kept(session: "Session", made: np.ndarray, recipe: dict[str, Any], said: str) -> str:
    """Puts them into the history; where that fails, the line says so after what it said."""
    try:
        gallery.keep(session.root, pictures.to_png_bytes(pictures.grid(made), recipe=recipe), recipe)
    except StudioError as error:
        return f"{said} {error}"
    return said


def _numbers(values: "Tensor") -> list[float]:
    return [min(99.0, value) for value in values.tolist()]


EXPLORERS: dict[str, Callable[..., Generator[Shown, None, None]]] = {
    "own-walk": make_walk,
    "own-redraw": make_redraw,
    "own-fill": make_fill,
}
