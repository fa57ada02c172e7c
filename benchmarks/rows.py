"""A row of the throughput table: what it trains with, and the process of its own in which it waits for its turns."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, methods, peers
from benchmarks.peak import fastest_convolution, flops, synchronize
from ddpm_core import devices
from ddpm_core.errors import StudioError
from ddpm_core.training import recording, trial

ENOUGH = 0.5  # of a round's time must be undisturbed; else all of it counts, and the table says so
# Steps before the first turn. CUDA graphs are tried, recorded, and only then played.
TO_BEGIN, TO_BEGIN_ON_A_CARD = 2, 6
TO_WAKE, TO_WAKE_ON_A_CARD = 1, 3  # steps of each turn that do not count; a card's memory is taken anew
WAIT_FOR_MEMORY = 120.0  # seconds
TO_LEAVE = 10.0  # seconds that a process has to end by itself, once it is able to


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is called, and what it trains with."""

    title: str
    amp: bool  # bfloat16 asked for
    method: str  # a key of `methods.make`
    settings: dict[str, Any] = field(default_factory=dict)  # what is changed of our recipe


def compiles(row: Row) -> bool:
    """Whether torch.compile is at work in it, on a card."""
    return row.amp if row.method in peers.PEERS else row.settings.get("compile", True)


def begin(row: Row, images: np.ndarray, device: torch.device) -> methods.Method:
    """What `row` trains with, with the memory setting that its own trainer makes; the tuned peers get ours.

    On a card ours computes the same bits again and again; the tuned peers let cuDNN look for its fastest kernels.
    """
    theirs = row.method in peers.PEERS
    if theirs:
        torch.backends.cudnn.benchmark = row.amp
    if row.amp or not theirs:
        devices.keep_freed_memory()
    return methods.make(row.method, images, "openmoji", images.shape[2], 0, device, **row.settings)


@contextlib.contextmanager
def as_installed(row: Row | None) -> Iterator[None]:
    """While it lasts, a peer's process can be started without what ddpm_core/__init__.py sets for ours: it inherits this one's
    environment, and torch is imported there first."""
    names = ("GOMP_SPINCOUNT", "CUBLAS_WORKSPACE_CONFIG") if row is not None and row.method in peers.PEERS else ()
    ours = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(ours)


def broken_promise(method: methods.Method, device: torch.device) -> str | None:
    """Why our trainer, which goes on where something fails, does not do what its row says."""
    if not isinstance(method, methods.Ours):
        return None
    if trial.compiled_later(method.config, device) and method.state.compiled_from is None:
        return "its network could not be compiled"
    if method.state.micro_batch < method.batch_size:
        return "there was not enough memory for a batch in one part"
    if recording.pays(method.state) and method.make_step.recording is None:
        return "its steps could not be recorded"
    return None


# ---- in the row's process


@dataclass
class Turn:
    """What a row did in one round."""

    steps: int
    disturbed: int  # steps beside which others were at work
    kept: bool  # whether the disturbed ones are part of `images_per_second` (too few others were left)
    images_per_second: float


def take_turn(step: Callable[[], object], seconds: float, batch_size: int, device: torch.device) -> Turn:
    """Calls `step` for about `seconds`, in stretches that are long enough to be judged: a last one may end later."""
    stretches: list[tuple[int, machine.Load]] = []
    for _ in range(TO_WAKE_ON_A_CARD if device.type == "cuda" else TO_WAKE):  # threads and caches
        step()
    synchronize(device)
    watch = machine.Watch()
    end = time.perf_counter() + seconds
    while not stretches or time.perf_counter() < end:
        made, start = 0, time.perf_counter()
        while not made or time.perf_counter() < start + machine.SHORTEST:
            step()
            made += 1
        synchronize(device)
        stretches.append((made, watch.lap()))
    clean = [(made, load) for made, load in stretches if not load.disturbed]
    all_seconds = sum(load.wall for _, load in stretches)
    enough = sum(load.wall for _, load in clean) >= ENOUGH * all_seconds
    counted = clean if enough else stretches
    steps, undisturbed = (sum(made for made, _ in some) for some in (stretches, clean))
    pace = batch_size * sum(made for made, _ in counted) / sum(load.wall for _, load in counted)
    return Turn(steps, steps - undisturbed, not enough, pace)


def first_steps(step: Callable[[], object], device: torch.device) -> None:
    """They choose kernels, compile, and make the optimizer's state.

    On a card all rows make theirs at the same time. One that finds no memory left waits until others have given theirs back.
    """
    left = TO_BEGIN_ON_A_CARD if device.type == "cuda" else TO_BEGIN
    waited_since: float | None = None
    while left:
        try:
            step()
            left -= 1
            continue
        except torch.OutOfMemoryError:
            waited_since = waited_since or time.monotonic()
            if time.monotonic() > waited_since + WAIT_FOR_MEMORY:
                raise
        rest(device)  # not above: there the error still holds what the step had taken
        time.sleep(1)


def rest(device: torch.device) -> None:
    """Waits until a card has done its work, and gives back the memory that this process would only keep for later."""
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.empty_cache()


def _live(row: Row, pipe: Connection, images: np.ndarray, device: torch.device) -> None:
    """Says what the row is, then trains for as many seconds as it is told, until it is told None."""
    start = time.monotonic()
    method = begin(row, images, device)

    def step() -> None:
        # A schedule's last steps are no slower than its first: the share of the run that is over stays 0.
        method.step(0.0)

    first_steps(step, device)
    if why := broken_promise(method, device):
        raise StudioError(f"{why}, see what it said")
    about = {
        "batch_size": method.batch_size,
        "bfloat16": row.amp and devices.bfloat16_pays(device),
        "parameters": method.parameters,
        "flops": flops(method.network, *images.shape[1:3]),
        "seconds_to_begin": round(time.monotonic() - start, 1),
    }
    rest(device)
    pipe.send(about)
    while (seconds := pipe.recv()) is not None:
        turn = take_turn(step, seconds, method.batch_size, device)
        rest(device)
        pipe.send(asdict(turn))


def _live_peak(pipe: Connection, device: torch.device) -> None:
    devices.keep_freed_memory()
    pipe.send({})
    while (seconds := pipe.recv()) is not None:
        kinds = {"float32": torch.float32}
        if devices.bfloat16_pays(device):  # elsewhere it is emulated, and a single convolution takes seconds
            kinds["bfloat16"] = torch.bfloat16
        peaks = {name: fastest_convolution(kind, device, seconds / 2) for name, kind in kinds.items()}
        rest(device)
        pipe.send(peaks)


def _child(row: Row | None, pipe: Connection, pictures: Path, device_name: str) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own: what torch.compile starts ends with it
    try:
        device = devices.choose(device_name)
        if row is None:
            _live_peak(pipe, device)
        else:
            _live(row, pipe, np.load(pictures), device)
    except StudioError as error:
        pipe.send(str(error))
    except Exception as error:
        traceback.print_exc()  # of a failed compile, pages; the table has room for a line
        pipe.send(" ".join(f"{type(error).__name__}: {error}".split())[:300])


# ---- in the parent


class Child:
    """A row's process, asleep until it is asked; without a row, the one that measures the machine's peak."""

    def __init__(self, name: str, row: Row | None, pictures: Path, device: str) -> None:
        """Starts it, and does not wait. `pictures` is a file of numpy's: what is handed over otherwise, the start waits for."""
        # A fresh interpreter: a copy of this one would share its threads' and its memory's settings.
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.about: dict[str, Any] = {}
        self.begun = time.monotonic()
        self.grace = 0.0  # while it is busy, it does not hear that it may go
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(row, theirs, pictures, device), daemon=True)
        with as_installed(row):
            self.process.start()
        theirs.close()

    def wait(self, patience: float) -> None:
        """Until it has made its first steps, which `about` tells of then. Raises `StudioError` where it cannot, or needs longer
        than `patience` seconds since its start."""
        left = self.begun + patience - time.monotonic()
        self.about = self._answer(left, f"was not ready after {patience:g} seconds")

    def turn(self, seconds: float, patience: float) -> dict[str, Any]:
        """A `Turn` as a dictionary, or of the peak's process GFLOP/s by kind. Raises `StudioError` where the row died, or needs
        `patience` seconds more than it was given."""
        with contextlib.suppress(OSError):  # one that is dead says so below
            self.pipe.send(seconds)
        return self._answer(seconds + patience, f"did not come back from a turn of {seconds:g} seconds")

    def end(self) -> None:
        """Lets it go, or kills it where it is busy; in either case it kills what that has started and left behind."""
        if self.pipe.closed:
            return
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.pipe.close()
        # Until `join` the dead process keeps its number, which is its group's too: nobody else can be meant by it.
        multiprocessing.connection.wait([self.process.sentinel], self.grace)
        if hasattr(os, "killpg") and self.process.pid:
            with contextlib.suppress(OSError):  # no group: it was not that far yet, or all of it is gone
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def _answer(self, seconds: float, late: str) -> dict[str, Any]:
        try:
            if not self.pipe.poll(max(0.0, seconds)):
                self.grace = 0.0
                self.end()
                raise StudioError(f"row {self.name} {late}, and was ended.")
            self.grace = TO_LEAVE
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.end()
            raise StudioError(f"row {self.name} died (exit code {self.process.exitcode}).") from None
        if isinstance(answer, str):
            self.end()
            raise StudioError(f"row {self.name}: {answer}")
        return answer
