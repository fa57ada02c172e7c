"""A row of the throughput table: what it trains with, and the process of its own in which it waits for its turns."""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from benchmarks import machine, methods, peers
from benchmarks.peak import fastest_convolution, flops, synchronize
from ddpm_core import devices
from ddpm_core.errors import StudioError

ENOUGH = 0.5  # of a round's time must be undisturbed; else all of it counts, and the table says so


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is called, and what it trains with."""

    title: str
    amp: bool  # bfloat16 asked for
    method: str  # a key of `methods.make`
    settings: dict[str, Any] = field(default_factory=dict)  # what is changed of our recipe


def begin(row: Row, images: np.ndarray, device: torch.device) -> methods.Method:
    """What `row` trains with, with the memory setting that its own trainer makes; the tuned peers get ours."""
    if row.amp or row.method not in peers.PEERS:
        devices.keep_freed_memory()
    return methods.make(row.method, images, "openmoji", images.shape[2], 0, device, **row.settings)


# ---- in the row's process


@dataclass
class Turn:
    """What a row did in one round."""

    steps: int
    disturbed: int  # steps beside which others were at work
    kept: bool  # whether the disturbed ones are part of `images_per_second` (too few others were left)
    images_per_second: float


def take_turn(step: Callable[[], object], seconds: float, batch_size: int, device: torch.device) -> Turn:
    """Calls `step` for about `seconds`, for at least one stretch that is long enough to be judged."""
    stretches: list[tuple[int, machine.Load]] = []
    step()  # wakes threads and caches; not counted
    synchronize(device)
    watch = machine.Watch()
    end = time.perf_counter() + seconds
    while not stretches or time.perf_counter() < end:
        made, start = 0, time.perf_counter()
        while not made or time.perf_counter() < min(start + machine.SHORTEST, max(end, start + 0.1)):
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


def _live(row: Row, pipe: Connection, images: np.ndarray, device: torch.device) -> None:
    """Says what the row is, then trains for as many seconds as it is told, until it is told None."""
    method = begin(row, images, device)

    def step() -> None:
        # A schedule's last steps are no slower than its first: the share of the run that is over stays 0.
        method.step(0.0)

    for _ in range(2):  # the first steps choose kernels and make the optimizer's state
        step()
    pipe.send(
        {
            "batch_size": method.batch_size,
            "bfloat16": row.amp and devices.bfloat16_pays(device),
            "parameters": method.parameters,
            "flops": flops(method.network, *images.shape[1:3]),
        }
    )
    while (seconds := pipe.recv()) is not None:
        pipe.send(asdict(take_turn(step, seconds, method.batch_size, device)))


def _live_peak(pipe: Connection, device: torch.device) -> None:
    devices.keep_freed_memory()
    pipe.send({})
    while (seconds := pipe.recv()) is not None:
        pipe.send({"float32": fastest_convolution(torch.float32, device, seconds / 2),
                   "bfloat16": fastest_convolution(torch.bfloat16, device, seconds / 2)})  # fmt: skip


def _child(row: Row | None, pipe: Connection, images: np.ndarray, device_name: str) -> None:
    try:
        device = devices.choose(device_name)
        if row is None:
            _live_peak(pipe, device)
        else:
            _live(row, pipe, images, device)
    except StudioError as error:
        pipe.send(str(error))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


# ---- in the parent


class Child:
    """A row's process, asleep until it is asked; without a row, the one that measures the machine's peak."""

    def __init__(self, name: str, row: Row | None, images: np.ndarray, device: str) -> None:
        # A fresh interpreter: a copy of this one would share its threads' and its memory's settings.
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(row, theirs, images, device), daemon=True)
        self.process.start()
        theirs.close()
        self.about = self._answer()  # when it has made its first steps

    def turn(self, seconds: float) -> dict[str, Any]:
        """A `Turn` as a dictionary, or of the peak's process GFLOP/s by kind. Raises `StudioError` where the row died."""
        self.pipe.send(seconds)
        return self._answer()

    def end(self) -> None:
        if self.process.is_alive():
            self.pipe.send(None)
            self.process.join(10)

    def _answer(self) -> dict[str, Any]:
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join(10)
            raise StudioError(f"row {self.name} died (exit code {self.process.exitcode}).") from None
        if isinstance(answer, str):
            raise StudioError(f"row {self.name}: {answer}")
        return answer
