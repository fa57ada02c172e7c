"""The steps of a run: as plain calls, and where that pays as a recording of the plain network, then of the compiled one."""

from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_core.training import recording
from ddpm_core.training.eager_first import EagerFirst, reason
from ddpm_core.training.gradients import Gradients
from ddpm_core.training.state import TrainingState


class Steps:
    """`steps(step)` -> (loss, norm of the gradient before it was shortened), 0-d: one whole optimizer step.

    The norm is None where the step was left out, see `Precision`. On a card the first step after a start, and the first by the
    compiled network, is made by plain calls and then recorded; the bits are the same. `say` hears where that does not work.
    """

    def __init__(
        self, state: TrainingState, gradients: Gradients, eager_first: EagerFirst, say: Callable[[str], None]
    ) -> None:
        self.state = state
        self.gradients = gradients
        self.eager_first = eager_first
        self.say = say
        self.works = True  # recording, until it does not
        self.recording: recording.Recording | None = None

    def __call__(self, step: int) -> tuple[Tensor, Tensor | None]:
        state = self.state
        if self.eager_first.due(step):
            self.recording = None  # of the plain network; its memory is free before the compiled one needs any
        if self.recording is not None:
            return self.recording(step)
        loss = self.eager_first(step)
        norm = state.precision.step(state.optimizer, state.network, state.config.grad_clip)
        state.optimizer.zero_grad()
        if self.works and recording.pays(state):
            self._record(step)
        return loss, norm

    def _record(self, step: int) -> None:
        try:
            self.recording = recording.Recording(self.state, self.gradients.batch_loss, self.eager_first.network, step)
        except Exception as error:
            # Also where memory runs out: a recording needs a little more than plain steps.
            self.works = False
            self.say(f"The steps could not be recorded, each kernel is called by itself ({reason(error)}).")
        if not self.works:
            torch.cuda.empty_cache()
