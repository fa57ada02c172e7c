"""The same seeds under shorter and longer averages of the weights, for runs that kept snapshots of them."""

import contextlib
import dataclasses
import functools
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ddpm_core import pictures, shelf
from ddpm_core.errors import UsageError
from ddpm_core.runs import Run
from pages.explorer.stream import Asked, Pieces, Shown, Told, whole
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.generator import Preview
    from ddpm_core.session import Session

LENGTHS = (0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)  # of the run's length so far: sigma_rel of EDM2
MOST = 16


def make(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model, seed, samples, steps, sampler. Told: averages [{length, src, done}].

    All averages that the run's snapshots can make are drawn, one after the other; those that they cannot are left out.
    """
    card = shelf.find(session.root, asked.get("model"))
    seed, count = whole(asked, "seed", 0, 2**53 - 1 - MOST, 0), whole(asked, "samples", 1, MOST, 9)
    how: dict[str, Any] = {"steps": whole(asked, "steps", 1, 1000, 20), "sampler": asked.get("sampler")}
    run = Run(session.root, card.run)

    from ddpm_core import checkpoint
    from ddpm_core.generator import Generator as Pictures
    from ddpm_core.training import snapshots

    plain = session.shelf.take(card.path)
    fresh = Pieces()
    made: list[float] = []
    refused = ""
    for length in LENGTHS:
        try:
            weights = snapshots.reconstruct(run, length)
        except checkpoint.CheckpointError:
            raise
        except UsageError as error:
            refused = str(error)
            continue
        made.append(length)
        model = dataclasses.replace(plain.model, weights=weights)
        generator = Pictures(model, card.path, plain.device, session.turns)
        generator.turn = contextlib.nullcontext  # `slices` takes the turn
        for preview in session.shelf.slices(generator.sample(range(seed, seed + count), **how)):
            fresh.put(length, functools.partial(_average, length, preview))

            def show(preview: "Preview" = preview, length: float = length) -> Told:
                line = t("averages.line", length=f"{length:g}", step=preview.step, steps=preview.steps)
                done = (LENGTHS.index(length) + preview.done) / len(LENGTHS)
                return {"averages": fresh.take(), "done": done, "line": line}

            yield show
    if not made:
        raise UsageError(refused)


def _average(length: float, preview: "Preview") -> Told:
    gap = max(1, preview.pictures.shape[1] // 16)
    return {
        "length": length,
        "src": pictures.to_data_uri(pictures.grid(preview.pictures, gap=gap)),
        "done": preview.done == 1,
    }
