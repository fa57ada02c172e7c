"""A run's model under averages of other lengths than the one that it was saved with. Imports no torch."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ddpm_core.runs import Run

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Turn
    from ddpm_core.training.snapshots import Kept

LENGTHS = (0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)  # of the run's length so far: sigma_rel of EDM2


def kept(generator: "Generator") -> "Kept":
    """What its run has to make averages from, as of now.

    Raises `UsageError` if the run kept no snapshots.
    """
    from ddpm_core.training import snapshots

    return snapshots.Kept(Run.of(generator.path))


def under(
    generator: "Generator", material: "Kept", lengths: Sequence[float], turn: "Turn" = contextlib.nullcontext
) -> Iterator["Generator"]:
    """The same model with the weights of the averages of `lengths` at the latest step of `material`, one after the other; it
    takes `turn` itself when it builds one, so do not hold it.

    As with the shelf's models, whoever draws with them takes the turn. Raises `UsageError` where the snapshots cannot make
    one of these averages, `CheckpointError` for a damaged file.
    """
    from ddpm_core.generator import Generator

    for weights in material.reconstruct(lengths):
        made = Generator(dataclasses.replace(generator.model, weights=weights), generator.path, generator.device, turn)
        made.turn = contextlib.nullcontext
        yield made
