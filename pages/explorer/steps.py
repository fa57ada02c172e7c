"""Steps and samplers side by side: one seed, a column for each number of steps, a row for each sampler."""

import functools
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from ddpm_core import pictures, shelf
from ddpm_core.config import SAMPLERS, TWO_CALLS
from ddpm_core.errors import UsageError
from pages.explorer.stream import Asked, Pieces, Shown, Told, whole
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.generator import Preview
    from ddpm_core.session import Session

MOST_COUNTS = 6
MOST_CALLS = 4000  # of the network in one question


def make(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, seed, counts [20, ...], samplers ["ddim", ...]. Told: cells [{sampler, steps, src, seconds, done}]."""
    card = shelf.find(session.root, asked.get("model"))
    seed = whole(asked, "seed", 0, 2**53 - 1, 0)
    counts, samplers = _counts(asked.get("counts")), _samplers(asked.get("samplers"))
    all_calls = sum(2 * count - 1 if sampler in TWO_CALLS else count for sampler in samplers for count in counts)
    if all_calls > MOST_CALLS:
        raise UsageError(t("steps.many", most=MOST_CALLS))
    generator = session.shelf.take(card.path)

    fresh = Pieces()
    calls = 0
    for sampler in samplers:
        for count in counts:
            seconds, began = 0.0, time.monotonic()
            for preview in session.shelf.slices(generator.sample([seed], steps=count, sampler=sampler)):
                seconds += time.monotonic() - began
                calls += 1
                fresh.put((sampler, count), functools.partial(_cell, sampler, count, preview, seconds))

                def show(calls: int = calls) -> Told:
                    line = t("steps.line", done=calls, all=all_calls)
                    return {"cells": fresh.take(), "done": calls / all_calls, "line": line}

                yield show
                began = time.monotonic()  # the time of others, who took their turn or drew, is not this picture's


def _cell(sampler: str, steps: int, preview: "Preview", seconds: float) -> Told:
    return {
        "sampler": sampler,
        "steps": steps,
        "src": pictures.to_data_uri(preview.pictures[0]),
        "seconds": round(seconds, 3),
        "done": preview.step == preview.steps,
    }


def _counts(given: object) -> list[int]:
    counts = given if isinstance(given, list) else []
    if not 1 <= len(counts) <= MOST_COUNTS:
        raise UsageError(t("steps.counts", most=MOST_COUNTS))
    return sorted({whole({"steps": count}, "steps", 1, 1000, 20) for count in counts})


def _samplers(given: object) -> list[str]:
    chosen = [name for name in SAMPLERS if isinstance(given, list) and name in given]
    if not chosen:
        raise UsageError(t("steps.samplers"))
    return chosen
