"""A step on a card as one recording that is played again and again (a CUDA graph): the card need not be told each of its kernels.

A step is one to two thousand kernels, and Python tells a card perhaps fifty thousand in a second: small networks on fast cards
mostly wait for the next one to be told. (Measured on an H200 with a network of 36 million weights at 64 px, batch 64: 83 ms a
step, 23 ms recorded.)
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_core import devices
from ddpm_core.training.loss import DiffusionLoss, Drawn
from ddpm_core.training.state import TrainingState
from ddpm_core.training.step import seed_dropout


class Recording:
    """`recording(step)` -> (loss, norm of the gradient), 0-d: makes the step from drawing the batch to moving the weights.

    It holds what comes and goes in a step: the memory of the feature maps and gradients stays taken until it is gone. To be made
    after a step by `network` that was not recorded, when the optimizer has its moments; that step's numbers are as good as any
    to record with, and nothing is moved by it. Everything that changes from step to step is read from fixed places: the batch
    and what was drawn for it, the learning rate, and the start of dropout's random numbers.
    """

    def __init__(
        self, state: TrainingState, batch_loss: DiffusionLoss, network: Callable[..., Tensor], step: int
    ) -> None:
        self.state, self.batch_loss, self.network = state, batch_loss, network
        self.drawn = Drawn._make(None if part is None else part.clone() for part in batch_loss.draw(step))
        before, aside = torch.cuda.current_stream(state.device), torch.cuda.Stream(state.device)
        aside.wait_stream(before)
        with torch.cuda.stream(
            aside
        ):  # what kernels make for themselves at their first call on a stream is no part of a step
            self._gradients()
        before.wait_stream(aside)
        state.network.zero_grad()
        self.graph = torch.cuda.CUDAGraph()
        # Another thread's calls are its own affair: a page may ask how full the card is.
        with torch.cuda.graph(self.graph, stream=aside, capture_error_mode="thread_local"):
            loss = self._gradients()
            norm = state.precision.step(state.optimizer, state.network, state.config.grad_clip)
            assert norm is not None  # only float16 leaves steps out, and it is not recorded
            self.told = torch.stack([loss, norm])
        state.network.zero_grad()

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        for place, drawn in zip(self.drawn, self.batch_loss.draw(step), strict=True):
            if place is not None and drawn is not None:
                place.copy_(drawn)
        seed_dropout(self.state.config, step)
        self.graph.replay()
        loss, norm = self.told.clone().unbind()  # the next step writes there again
        return loss, norm

    def _gradients(self) -> Tensor:
        with devices.repeatable(self.state.device):
            loss = self.batch_loss.of(self.network, self.drawn)
            self.state.precision.backward(loss)
        return loss.detach()
