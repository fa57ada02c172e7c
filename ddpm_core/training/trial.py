"""The trial at a fresh start: how many threads, and which layout of the weights, are the fastest here and now.

It makes a few steps forward and backward, without the optimizer; where steps are long, one of each kind. They may
be a large network's or a busy machine's (seen with two threads beside two busy programs: 8 s for a step of 0.06 s; with one thread
0.2 s). Sums come out a little differently on another number of threads or in another layout, so a run's weights depend on its
seed and on what is chosen here; the choice is kept in the resume point. Whatever is not clearly faster is left as it is: a quiet
machine chooses the same again and again.
"""

import functools
import math
import statistics
import time
from collections.abc import Callable

import torch

from ddpm_core import devices
from ddpm_core.config import RunConfig
from ddpm_core.training import recording
from ddpm_core.training.gradients import Gradients
from ddpm_core.training.state import TrainingState

CLEARLY = 1.15  # times as fast is what another choice must be, twice in a row
STEPS = 5  # timed for one choice at most,
SECONDS = 0.3  # or as many as fit in here, but one at least
LONG = 0.7  # seconds: of a step that takes longer only one is timed;
LONGEST = 20.0  # where it takes longer than this no other choice is tried: that would be felt
HOPELESS = 3.0  # times as long, in its first step, and a choice is dropped

# Compiling takes about a minute. It waits until the run has lasted one: a short run never pays for it, and the first pictures
# are there by then.
COMPILE_AFTER = 60.0  # seconds,
COMPILE_AFTER_STEPS = 50  # and not before this step


def choose(state: TrainingState, gradients: Gradients) -> str:
    """Tries what there is to try, sets `state` and torch up accordingly, and returns the line that says so.

    Weights, gradients, random numbers and the order of the pictures are afterwards what they were. Where memory runs out
    nothing more is tried: the first real step makes do with less.
    """
    device = state.device
    compiles = compiled_later(state.config, device)
    trial = Trial(state, gradients)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # dropout draws from numbers that all share
        try:
            state.use_layout(usual_layout(state.config, device))
            if compiles:
                state.compiled_from = max(COMPILE_AFTER_STEPS, math.ceil(COMPILE_AFTER / trial.pace))
            if device.type == "cpu":
                trial.fewer_threads()
            if layout_is_open(state):
                trial.other_layout()
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            if device.type == "cuda":
                torch.cuda.empty_cache()
        finally:
            state.network.zero_grad()

    place = f"{_threads(torch.get_num_threads())}, " if device.type == "cpu" else ""
    layout = "channels-last" if state.channels_last else "plain"
    tried = f" ({'; '.join(trial.tried)})" if trial.tried else ""
    recorded = " Its steps are recorded and played." if recording.pays(state) else ""
    later = f" From step {state.compiled_from:,} on it is compiled." if compiles else ""
    return f"Trains with {place}weights in {layout} layout{tried}.{recorded}{later}"


def compiled_later(config: RunConfig, device: torch.device) -> bool:
    """Whether a run starts with the plain network and goes over to a compiled one (eager_first.py)."""
    return config.compile and devices.compile_pays(device)


def usual_layout(config: RunConfig, device: torch.device) -> bool:
    """Whether the weights, which the feature maps follow, lie channels-last (for each place of a map its channels side by side):
    as is faster, as far as one knows without trying.

    Compiled networks on a card like it, and processors without bfloat16.
    """
    return devices.channels_last_pays(device) or compiled_later(config, device)


def layout_is_open(state: TrainingState) -> bool:
    """Whether the other layout may be the faster one here, and is tried.

    Not on a processor: which one is faster is known there, and a busy machine might find otherwise, with other bits in the end.
    """
    return state.device.type == "cuda" and not compiled_later(state.config, state.device)


class Trial:
    """`tried` tells what was tried and left, and how many times as fast it was as what was chosen instead."""

    def __init__(self, state: TrainingState, gradients: Gradients) -> None:
        self.state = state
        self.gradients = gradients
        self.tried: list[str] = []
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """What one step takes with the present choice."""
        if self._seconds is None:
            if self.state.device.type == "cuda":
                # Loads the card's libraries, and finds out how many pictures fit: that is no step's time.
                self.gradients(self.state.network, self.state.step)
                self.state.network.zero_grad()
            self._seconds = self.measure()
        return self._seconds

    @property
    def pace(self) -> float:
        """What one step will take, where steps are recorded as well as one can know before there is a recording."""
        called = self.seconds
        if not recording.pays(self.state):
            return called
        try:
            return recording.pace(self.state, self.gradients.batch_loss)
        except Exception:  # the first step will try again, and say what is wrong
            return called

    def fewer_threads(self) -> None:
        """Half of them, as long as that is faster: beside a busy browser two can be slower than one."""
        while (now := torch.get_num_threads()) > 1:
            fewer = now // 2
            use, back = functools.partial(torch.set_num_threads, fewer), functools.partial(torch.set_num_threads, now)
            if not self.prefers(_threads(fewer), use, _threads(now), back):
                break

    def other_layout(self) -> None:
        use, back = functools.partial(self.state.use_layout, True), functools.partial(self.state.use_layout, False)
        self.prefers("channels-last", use, "plain", back)

    def prefers(self, other: str, use: Callable[[], None], present: str, back: Callable[[], None]) -> bool:
        """Whether `use()` makes steps clearly faster, found so twice in a row; then it is left so, otherwise `back()` called."""
        for again in (False, True):
            if again:  # the machine may just have had something else to do
                back()
                self._seconds = self.measure()
            so_far = self.seconds
            if so_far > LONGEST:
                self.tried.append("a step takes too long here to try others")
                return False
            try:
                use()
                seconds = self.measure(so_far)
            except BaseException:
                back()
                raise
            if CLEARLY * seconds > so_far:
                back()
                self.tried.append(f"{other}: {_times(so_far / seconds)}")
                return False
        self.tried.append(f"{present}: {_times(seconds / so_far)}")
        self._seconds = seconds
        return True

    def measure(self, reference: float = math.inf) -> float:
        """Seconds of a step: the median of a few, as on a busy machine the luckiest one would say nothing.

        Where the first is long, or hopeless beside `reference`, it is the only one.
        """
        first = step_seconds(self.state, self.gradients)
        if first > LONG or first > HOPELESS * reference:
            return first
        taken = [step_seconds(self.state, self.gradients)]  # the first one also chose kernels and took memory
        while len(taken) < STEPS and sum(taken) + taken[-1] <= SECONDS:
            taken.append(step_seconds(self.state, self.gradients))
        return statistics.median(taken)


def step_seconds(state: TrainingState, gradients: Gradients) -> float:
    """Seconds of one step forward and backward, until the device has done it."""
    start = time.perf_counter()
    gradients.attempt(state.network, state.step)
    state.network.zero_grad()
    if state.device.type == "cuda":
        torch.cuda.synchronize(state.device)
    return time.perf_counter() - start


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio >= 0.05 else "under 0.1x"


def _threads(number: int) -> str:
    return f"{number} thread{'' if number == 1 else 's'}"
