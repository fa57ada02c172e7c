"""From the plain network to the compiled one, at a step that is fixed when the run starts.

Compiling takes a minute or so and gives other roundings. So it happens at a step that is stored in the resume point: a run
that was stopped before or after it computes every step as an uninterrupted one does.

It is done between two steps, which wait for it. A second thread cannot do it beside them: dynamo sets back the random
numbers of the whole program when it is done (torch/_dynamo/convert_frame.py), under the dropout of a step that is being
made; tracing replaces nn.Module.__call__ for all threads; and steps on a card are bound by Python, which both would need.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_core.errors import StudioError
from ddpm_core.training import trial
from ddpm_core.training.control import Control, Stopped
from ddpm_core.training.gradients import Gradients
from ddpm_core.training.state import TrainingState

PATIENCE = 1.0  # seconds in which Ctrl-C, which has ended a compiler, reaches us too


class EagerFirst:
    """`loss(step)` -> 0-d tensor: the gradients of the plain network, from step `state.compiled_from` on of the compiled one.

    `say` hears one line before it compiles and one after. Where that fails, then or at a later step that torch compiles anew
    for, it goes on without, once and for all: the resume point knows. Where `control` was asked to stop meanwhile, it raises
    `Stopped` instead, the step unmade: Ctrl-C reaches the compiler's own programs as well, and they end of it.
    """

    def __init__(
        self, state: TrainingState, gradients: Gradients, say: Callable[[str], None], control: Control | None = None
    ) -> None:
        self.state = state
        self.gradients = gradients
        self.say = say
        self.control = control or Control()
        self.network: Callable[..., Tensor] = state.network
        self.compiles = trial.compiled_later(state.config, state.device)

    def due(self, step: int) -> bool:
        """Whether it would compile at this step."""
        start = self.state.compiled_from
        return self.compiles and start is not None and step >= start

    def __call__(self, step: int) -> Tensor:
        if self.due(step):
            self.compiles = False
            self._compile(step)
        if self.network is self.state.network:
            return self.gradients(self.network, step)
        try:
            return self.gradients(self.network, step)
        except StudioError:
            raise
        except Exception as error:
            self._do_without(error, f" any more at step {step:,}")
        return self.gradients(self.network, step)

    def _compile(self, step: int) -> None:
        """Puts the compiled network in place of the plain one, if it gets through a step forward and backward."""
        cards = [self.state.device] if self.state.device.type == "cuda" else []
        self.say("Compiling the network, about a minute; then it trains faster.")
        start = time.monotonic()
        try:
            compiled = torch.compile(self.state.network)
            with torch.random.fork_rng(cards):  # the step itself is still to come, with its dropout
                self.gradients.attempt(compiled, step)
        except Exception as error:
            # Also where memory ran out: steps of the plain network fit, or will say themselves that they do not.
            self._do_without(error, " here")
        else:
            self.network = compiled
            self.say(f"Compiled in {time.monotonic() - start:.0f} s.")
        finally:
            self.state.network.zero_grad()

    def _do_without(self, error: Exception, where: str) -> None:
        """From here on the plain network, whatever is left of an unfinished step forgotten."""
        self.state.network.zero_grad()
        if self.control.stops_within(PATIENCE):
            raise Stopped from error
        self.network = self.state.network
        self.state.compiled_from = None
        self.say(f"torch.compile does not work{where}, going on without it ({reason(error)}).")


def reason(error: Exception) -> str:
    """The error in half a line: its kind, and the first line of what it says that is not about where to read on."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said[:160]}" if said else type(error).__name__
