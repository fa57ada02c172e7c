"""How long a run is, in epochs and in steps."""

import math
from typing import NamedTuple

from ddpm_core.config import RunConfig, default_epochs


class Length(NamedTuple):
    epochs: int  # that were asked for, or that suit the set; a limit of steps may end the run before
    steps: int

    @classmethod
    def of(cls, config: RunConfig, pictures: int) -> "Length":
        """Of a run that learns from so many pictures, one at least."""
        epochs = config.epochs or default_epochs(pictures)
        steps = math.ceil(epochs * pictures / config.batch_size)
        return cls(epochs, min(steps, config.max_steps or steps))


def epochs_begun(step: int, config: RunConfig, pictures: int) -> int:
    """How many epochs have begun when `step` is made."""
    return math.ceil(step * config.batch_size / pictures)
