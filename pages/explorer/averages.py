"""The same seeds under shorter and longer averages of the weights, for runs that kept snapshots of them."""

import functools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import pictures, recipes, shelf
from ddpm_core.exploring import averages
from pages.explorer.files import kept, made_by, saved
from pages.explorer.stream import Asked, Pieces, Shown, Told, sampler, whole
from pages.fields import LARGEST_SEED, MOST_STEPS
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.generator import Preview
    from ddpm_core.session import Session

MOST = 16


def make(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, seed, samples, steps, sampler. Told: averages [{length, src, done}], at the end files: one picture of them
    all, a row an average, a column a seed.

    All averages that the run's snapshots can make are drawn, one after the other; those that they cannot are left out.
    """
    card = shelf.find(session.root, asked.get("model"))
    seed, count = whole(asked, "seed", 0, LARGEST_SEED - MOST, 0), whole(asked, "samples", 1, MOST, 9)
    seeds = list(range(seed, seed + count))
    how: dict[str, Any] = {"steps": whole(asked, "steps", 1, MOST_STEPS, 20), "sampler": sampler(asked)}
    plain = session.shelf.take(card.path)
    model, material = made_by(plain, card), averages.kept(plain)
    fresh = Pieces()
    drawn: dict[float, np.ndarray] = {}
    lengths = material.possible(averages.LENGTHS)
    generators = averages.under(plain, material, lengths, session.turns)
    for index, (length, generator) in enumerate(zip(lengths, generators, strict=True)):
        for preview in session.shelf.slices(generator.sample(seeds, **how)):
            last = preview
            fresh.put(length, functools.partial(_average, length, preview))

            def show(preview: "Preview" = preview, length: float = length, index: int = index) -> Told:
                line = t("averages.line", percent=f"{100 * length:g}", step=preview.step, steps=preview.steps)
                return {"averages": fresh.take(), "done": (index + preview.done) / len(lengths), "line": line}

            yield show
        drawn[length] = last.pictures
    made = np.concatenate(list(drawn.values()))
    recipe = recipes.compose("ema", **model, seeds=seeds, ema=list(drawn), ema_step=material.latest, **how)
    files = saved(f"{card.run}_averages_seed{seed}", made, recipe, columns=count)
    said = kept(session, made, recipe, t("averages.done"), columns=count)
    yield lambda: {"averages": fresh.take(), "files": files, "done": 1, "line": said}


def _average(length: float, preview: "Preview") -> Told:
    gap = max(1, preview.pictures.shape[1] // 16)
    return {
        "length": length,
        "src": pictures.to_data_uri(pictures.grid(preview.pictures, gap=gap)),
        "done": preview.done == 1,
    }
