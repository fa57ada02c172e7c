"""Steps and samplers side by side: one seed, a column for each number of steps, a row for each sampler."""

import functools
import time
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ddpm_core import pictures, recipes, shelf
from ddpm_core.config import SAMPLERS
from ddpm_core.errors import UsageError
from ddpm_core.exploring import steps as exploring
from pages.explorer.files import kept, made_by, saved
from pages.explorer.stream import Asked, Pieces, Shown, Told, sampler, whole
from pages.fields import LARGEST_SEED, MOST_STEPS
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.generator import Generator as Pictures
    from ddpm_core.generator import Preview
    from ddpm_core.session import Session

MOST_COUNTS = 6
MOST_CALLS = 4000  # of the network in one question


def make(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, seed, counts [20, ...], samplers ["ddim", ...]. Told: cells [{sampler, steps, src, seconds, done}],
    at the end files: one picture of them all, a row a sampler, a column a number of steps."""
    card = shelf.find(session.root, asked.get("model"))
    seed = whole(asked, "seed", 0, LARGEST_SEED, 0)
    counts, samplers = _counts(asked.get("counts")), _samplers(asked.get("samplers"))
    all_calls = exploring.calls(samplers, counts)
    if all_calls > MOST_CALLS:
        raise UsageError(t("steps.many", most=MOST_CALLS))
    generator = session.shelf.take(card.path)
    recipe = recipes.compose("steps", **made_by(generator, card), seeds=[seed], sampler=samplers, steps=counts)

    fresh = Pieces()
    drawn: list[np.ndarray] = []
    calls = 0
    for name, count, walk in exploring.walks(generator, seed, samplers, counts):
        for preview, seconds in session.shelf.slices(_timed(walk, generator)):
            last = preview
            calls += 1
            fresh.put((name, count), functools.partial(_cell, name, count, preview, seconds))

            def show(calls: int = calls) -> Told:
                line = t("steps.line", done=calls, all=all_calls)
                return {"cells": fresh.take(), "done": calls / all_calls, "line": line}

            yield show
        drawn.append(last.pictures)
    made = np.concatenate(drawn)
    files = saved(f"{card.run}_steps_seed{seed}", made, recipe, columns=len(counts))
    said = kept(session, made, recipe, t("steps.done", seed=seed), columns=len(counts))
    yield lambda: {"cells": fresh.take(), "files": files, "done": 1, "line": said}


def _timed(walk: Iterable["Preview"], generator: "Pictures") -> Iterator[tuple["Preview", float]]:
    """Each preview with the seconds worked for it and those before: not what others did who had their turn in between."""
    previews, seconds = iter(walk), 0.0
    while True:
        began = time.monotonic()
        preview = next(previews, None)
        if preview is None:
            return
        if generator.device.type == "cuda":  # it works on while Python is far ahead
            import torch

            torch.cuda.synchronize(generator.device)
        seconds += time.monotonic() - began
        yield preview, seconds


def _cell(name: str, steps: int, preview: "Preview", seconds: float) -> Told:
    return {
        "sampler": name,
        "steps": steps,
        "src": pictures.to_data_uri(preview.pictures[0]),
        "seconds": round(seconds, 3),
        "done": preview.step == preview.steps,
    }


def _counts(given: object) -> list[int]:
    counts = given if isinstance(given, list) else []
    if not 1 <= len(counts) <= MOST_COUNTS:
        raise UsageError(t("steps.counts", most=MOST_COUNTS))
    return sorted({whole({"steps": count}, "steps", 1, MOST_STEPS, 20) for count in counts})


def _samplers(given: object) -> list[str]:
    """In the order of SAMPLERS, each once."""
    chosen = {sampler({"sampler": name}) for name in given} if isinstance(given, list) else set()
    if not chosen:
        raise UsageError(t("steps.samplers"))
    return [name for name in SAMPLERS if name in chosen]
