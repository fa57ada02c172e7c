"""The gradients of one step, a part of the batch at a time, and less at a time where memory runs out.

The batch is drawn whole (loss.py) and shown to the network in parts of `state.micro_batch` pictures, whose gradients add up to
that of the batch's mean loss. So a step's result does not depend on the size of the parts beyond rounding, and what dropout
drops; the size is kept in the resume point, for that.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_core import devices, seeds
from ddpm_core.config import RunConfig
from ddpm_core.errors import StudioError
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.out_of_memory import halving, too_small
from ddpm_core.training.state import TrainingState


class Gradients:
    """`gradients(network, step)` -> the step's loss, 0-d; its gradient is added to that of the weights.

    `network` is the state's, plain or compiled. Where memory runs out `state.micro_batch` is halved, `say` hears a line, and
    the same step is made again. Raises `StudioError` where a single picture is too much.
    """

    def __init__(self, state: TrainingState, batch_loss: DiffusionLoss, say: Callable[[str], None]) -> None:
        self.state = state
        self.batch_loss = batch_loss
        self.say = say

    def __call__(self, network: Callable[..., Tensor], step: int) -> Tensor:
        state = self.state
        attempt, smaller = functools.partial(self.attempt, network, step), functools.partial(self._smaller, step)
        try:
            return halving(attempt, state.micro_batch, state.device, smaller)
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            raise StudioError(too_small(state.config)) from None

    def attempt(self, network: Callable[..., Tensor], step: int, at_once: int | None = None) -> Tensor:
        """The same without the second chance, `at_once` pictures at a time."""
        config = self.state.config
        at_once = at_once or self.state.micro_batch
        batch = self.batch_loss.draw(step)
        count = len(batch.x0)
        losses = []
        for first in range(0, count, at_once):
            seed_dropout(config, step, first)
            part = batch.part(first, first + at_once)
            with devices.repeatable(self.state.device):
                loss = self.batch_loss.of(network, part)
                if len(part.x0) < count:
                    loss = loss * (len(part.x0) / count)
                self.state.precision.backward(loss)
            losses.append(loss.detach())
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _smaller(self, step: int, at_once: int) -> None:
        state = self.state
        state.network.zero_grad()  # of the parts that did fit
        parts = math.ceil(state.config.batch_size / at_once)
        self.say(
            f"Out of memory at step {step:,} with {state.micro_batch} pictures at once: it is made again, as all that follow,"
            f" in {parts} parts of {at_once}. It is the same run."
        )
        state.micro_batch = at_once


def seed_dropout(config: RunConfig, step: int, first: int = 0) -> None:
    """Dropout draws from numbers that all share: here they begin anew, for the part of a step's batch that begins with `first`.

    The first part has the numbers that a batch in one part has.
    """
    if config.network.dropout:
        torch.manual_seed(seeds.mix(config.seed, "dropout", step, *([first] if first else [])))
