"""A step on a card as one recording that is played again and again (a CUDA graph): the card need not be told each of its kernels.

A step is one to two thousand kernels, and Python tells a card perhaps fifty thousand in a second: small networks on fast cards
mostly wait for the next one to be told. (Measured on an H200 with a network of 36 million weights at 64 px, batch 64: 83 ms a
step, 23 ms recorded.)
"""

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ddpm_core import devices
from ddpm_core.training.gradients import seed_dropout
from ddpm_core.training.loss import DiffusionLoss, Drawn
from ddpm_core.training.state import TrainingState

Result = TypeVar("Result")


def pays(state: TrainingState) -> bool:
    """Whether this run's steps are to be recorded: on a card, where a batch is in memory whole and no step is ever left out."""
    whole = state.micro_batch >= state.config.batch_size
    return state.config.compile and state.device.type == "cuda" and state.precision.scaler is None and whole


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
        self.state, self.batch_loss = state, batch_loss
        self.drawn = Drawn._make(None if part is None else part.clone() for part in batch_loss.draw(step))

        def gradients() -> Tensor:
            return _gradients(state, batch_loss, network, self.drawn)

        def whole() -> Tensor:
            loss = gradients()
            norm = state.precision.step(state.optimizer, state.network, state.config.grad_clip)
            assert norm is not None  # only float16 leaves steps out, see `pays`
            return torch.stack([loss, norm])

        self.graph, self.told = _record(whole, gradients, state)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        for place, drawn in zip(self.drawn, self.batch_loss.draw(step), strict=True):
            if place is not None and drawn is not None:
                place.copy_(drawn)
        seed_dropout(self.state.config, step)
        self.graph.replay()
        loss, norm = self.told.clone().unbind()  # the next step writes there again
        return loss, norm


def pace(state: TrainingState, batch_loss: DiffusionLoss) -> float:
    """Seconds that a step's gradients take the plain network when they are played, from a recording that is then thrown away."""
    drawn = batch_loss.draw(state.step)

    def gradients() -> Tensor:
        return _gradients(state, batch_loss, state.network, drawn)

    graph, _ = _record(gradients, gradients, state)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        graph.replay()
        torch.cuda.synchronize(state.device)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _record(
    work: Callable[[], Result], once_before: Callable[[], object], state: TrainingState
) -> tuple[torch.cuda.CUDAGraph, Result]:
    """`work` as a graph, and what it returns: places where each replay puts its results. Recording computes nothing.

    `once_before` is computed: what kernels make for themselves at their first call on a stream is no part of a step.
    """
    graph = torch.cuda.CUDAGraph()
    before, aside = torch.cuda.current_stream(state.device), torch.cuda.Stream(state.device)
    aside.wait_stream(before)
    try:
        with torch.cuda.stream(aside):
            once_before()
        before.wait_stream(aside)
        state.network.zero_grad()
        # Another thread's calls are its own affair: a page may ask how full the card is.
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            told = work()
    finally:
        state.network.zero_grad()
    return graph, told


def _gradients(state: TrainingState, batch_loss: DiffusionLoss, network: Callable[..., Tensor], drawn: Drawn) -> Tensor:
    with devices.repeatable(state.device):
        loss = batch_loss.of(network, drawn)
        state.precision.backward(loss)
    return loss.detach()
