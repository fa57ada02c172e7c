"""A run's model under averages of other lengths than the one that it was saved with. Imports no torch."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ddpm_core.runs import Run

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Turn

LENGTHS = (0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)  # of the run's length so far: sigma_rel of EDM2


def made_at(generator: "Generator") -> int:
    """The training step that its run's averages are made at now.

    Raises `UsageError` if the run kept no snapshots, `CheckpointError` for a damaged file.
    """
    from ddpm_core.training import snapshots

    return snapshots.latest(Run.of(generator.path))


def possible(generator: "Generator", step: int) -> list[float]:
    """Those of `LENGTHS` that its run's snapshots can make at `step`, which `made_at` told. Raises `UsageError` if there is none."""
    from ddpm_core.training import snapshots

    return snapshots.possible(Run.of(generator.path), LENGTHS, step)


def under(
    generator: "Generator", lengths: Sequence[float], step: int, turn: "Turn" = contextlib.nullcontext
) -> Iterator["Generator"]:
    """The same model with the weights of the averages of `lengths` at `step`, one after the other; it takes `turn` itself
    when it builds one, so do not hold it.

    As with the shelf's models, whoever draws with them takes the turn. Raises `UsageError` where the snapshots cannot make
    one of these averages, `CheckpointError` for a damaged file.
    """
    from ddpm_core.generator import Generator
    from ddpm_core.training import snapshots

    for weights in snapshots.reconstruct_each(Run.of(generator.path), lengths, step):
        made = Generator(dataclasses.replace(generator.model, weights=weights), generator.path, generator.device, turn)
        made.turn = contextlib.nullcontext
        yield made
