"""What a run will cost, told before it starts: steps, time, memory, disk.

The time comes from a trial of a second or less with the very network on the very device; the rest is counted.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ddpm_core import devices
from ddpm_core.config import NETWORKS, SIZES, RunConfig, held_out_count, preset
from ddpm_core.data import places
from ddpm_core.errors import UsageError
from ddpm_core.training import cadence, memory, snapshots
from ddpm_core.training import held_out as unseen
from ddpm_core.training.footprint import Arithmetic, count
from ddpm_core.training.length import Length, epochs_begun
from ddpm_core.training.memory import Fit, Memory
from ddpm_core.training.previews import FIRST_PREVIEW, grid_sizes
from ddpm_core.training.rehearsal import Rehearsal

# Of the largest batch that is tried, about. (Measured on one busy core beside real steps of six networks, 32 to 128 px, counting
# the processor's own time: 17 % less to 10 % more than they took.)
TRIAL_SECONDS = 0.5
# Operations of one picture forward; about a tenth of a second for forward and backward on two cores.
LARGEST_TRIAL = 5e9
STILL_RANDOM = 0.05  # of an average; with more its pictures are noisy
LONG = 2 * 86400.0  # seconds: beyond this a smaller size is proposed
SAMPLING_STEPS = 20  # network calls of a sample grid
# Of a picture's forward and backward pass, the part that is forward: backward makes two products for each of forward's.
FORWARD = 1 / 3


@dataclass(frozen=True)
class Forecast:
    """Counted, but for `pace`, which a short trial measured, and what follows from it."""

    config: RunConfig
    channels: int
    parameters: int
    flops: int  # of one picture's way through the network, forward only
    pictures: int  # to learn from
    held_out: int  # pictures that are never trained on
    data_set: int  # bytes of all of them
    epochs: int
    steps: int  # of the whole run
    step: int  # made already
    micro_batch: int  # pictures in memory at once
    images_per_second: float
    seconds_per_epoch: float
    seconds: float  # of what is left of the run
    first_sample_seconds: float
    memory: Memory  # at the height of the run
    arithmetic: Arithmetic  # how the device computes
    room: int  # bytes that it has free for the run
    disk: int  # bytes of all checkpoints at the end
    device: str
    device_type: str  # "cpu", "cuda" or "mps"

    @property
    def accumulation(self) -> int:
        """Micro-batches of a step."""
        return math.ceil(self.config.batch_size / self.micro_batch)

    @property
    def steps_per_epoch(self) -> float:
        return self.pictures / self.config.batch_size

    @property
    def verdict(self) -> str:
        """Whether it "fits", is "tight" or "does not fit" here and now."""
        return memory.verdict(self.memory.total, self.room)

    @functools.cached_property
    def fits(self) -> tuple[Fit, ...]:
        """The same run on cards of 6, 8, 12 and 24 GB."""
        return memory.fits(self.config, self.channels, self.data_set)

    @property
    def text(self) -> str:
        """A line or two for a person."""
        counted = f"{in_words(self.epochs, 'epoch')} of {in_words(self.pictures, 'picture')}"
        if self.held_out:
            counted += f", {self.held_out:,} more held out"
        pace = f"about {duration(self.seconds)} at {self.images_per_second:.3g} images/s on this {self.device}."
        if self.step:
            lines = [f"{self.steps - self.step:,} of {in_words(self.steps, 'step')} ({counted}) are left: {pace}"]
        else:
            lines = [f"{in_words(self.steps, 'step')} ({counted}) in {pace}"]
            lines += [f"First pictures after about {duration(self.first_sample_seconds)}."]
        if self.accumulation > 1:
            lines += [f"A batch of {self.config.batch_size}, {self.micro_batch} at a time."]
        lines += [
            f"{self.parameters / 1e6:.1f} million weights, {size(self.memory.total)} of memory, {size(self.disk)} of disk."
        ]
        if self.verdict == "does not fit":
            lines += [f"That is more memory than is free here ({size(self.room)})."]
        return " ".join(lines)

    @property
    def hint(self) -> str | None:
        """What to think of first, where a run takes very long, or is too short for its average."""
        return " ".join(filter(None, (self._smaller_first(), self._slow_average()))) or None

    def _smaller_first(self) -> str | None:
        smaller = [side for side in SIZES if side < self.config.size]
        if self.seconds < LONG or not smaller:
            return None
        # As many pictures through the same preset's smaller network take time by their work.
        side = smaller[-1]
        work = count(NETWORKS[self.config.preset, side], side, self.channels)[1]
        seconds = self.seconds * work / self.flops
        return f"That is long. To see first whether it learns what you want: at {side} px (--size={side}) it takes about {duration(seconds)}."

    def _slow_average(self) -> str | None:
        decay = self.config.ema_decay
        if not decay or (left := decay**self.steps) <= STILL_RANDOM:
            return None
        enough = math.ceil(math.log(STILL_RANDOM) / math.log(decay))
        return f"Too short for an average of {decay:g}: {100 * left:.0f} % of it is the random start then ({enough:,} steps leave 5 %)."


def forecast(
    config: RunConfig,
    pictures: int,
    channels: int,
    *,
    step: int = 0,
    turn: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
) -> Forecast:
    """The cost of `config` on a set of `pictures` pictures with `channels` channels (1 or 3); of the rest of it, from `step` on.

    `turn` is taken around the trial, so that it does not run beside a run's work. Raises `UsageError` for a device that is
    not here, and for a network that does not fit there at all.
    """
    device = devices.choose(config.device)
    channels = {"grey": 1, "colour": 3}.get(config.colour, channels)
    data_set = pictures * channels * config.size**2  # bytes, one a value
    on_device = _on_device(config, data_set, device)
    held_out = held_out_count(pictures, config.held_out)
    pictures -= held_out
    arithmetic = memory.arithmetic(device, config.amp)
    with turn():
        micro_batch = memory.micro_batch(config, channels, device, on_device)
        found = pace(config, channels, device, micro_batch)
    parameters, flops, _ = count(config.network, config.size, channels)

    epochs, steps = Length.of(config, pictures)
    epochs = min(epochs, epochs_begun(steps, config, pictures))
    step = min(step, steps)
    step_seconds = config.batch_size * found.picture + found.update

    def due(rhythm: cadence.Cadence) -> int:
        return rhythm.replay(steps, pictures, config.batch_size)

    files_of_epochs = due(cadence.checkpoints(config.checkpoint_every))
    # Each epoch file comes with a large grid; the small ones come more often.
    few, many = grid_sizes(config.size)
    grids = due(cadence.grids(config.sample_every))
    calls = SAMPLING_STEPS * (few * grids + many * files_of_epochs)
    if held_out:  # beside a small grid, and at the end, it is judged by these and by as many that it was trained on
        calls += 2 * unseen.losses(flops, device) * (grids + 1)
    looking = calls * FORWARD * found.picture
    # A snapshot holds both averages in two bytes a weight: as much as a model file.
    files = 2 + files_of_epochs + (len(snapshots.kept(steps)) if config.snapshots else 0)
    needs = memory.needed(config, channels, micro_batch, arithmetic, pictures=on_device)
    resume_points = 2 * (needs.weights + needs.averages + needs.optimizer)
    return Forecast(
        config=config,
        channels=channels,
        parameters=parameters,
        flops=flops,
        pictures=pictures,
        held_out=held_out,
        data_set=data_set,
        epochs=epochs,
        steps=steps,
        step=step,
        micro_batch=micro_batch,
        images_per_second=config.batch_size / step_seconds,
        seconds_per_epoch=pictures / config.batch_size * step_seconds,
        seconds=(steps - step) * step_seconds + looking * (steps - step) / steps,
        first_sample_seconds=min(FIRST_PREVIEW, steps) * step_seconds,
        memory=needs,
        arithmetic=arithmetic,
        room=memory.free(device),
        disk=4 * parameters * files + resume_points,
        device=devices.describe(device),
        device_type=device.type,
    )


def _on_device(config: RunConfig, data_set: int, device: torch.device) -> int:
    """How many of the data set's bytes wait on `device`, as data/places.py decides. A processor's memory is its device."""
    place = places.choose(data_set, device) if config.data_on == "auto" else config.data_on
    return data_set if place == "device" or (place == "memory" and device.type == "cpu") else 0


class Pace(NamedTuple):
    """Seconds."""

    picture: float  # of one picture's way forward and backward
    update: float  # of what follows once a step: optimizer and averages


def pace(config: RunConfig, channels: int, device: torch.device, micro_batch: int) -> Pace:
    """How fast `config` learns with so many pictures at once, measured on `device`."""
    parameters, flops, _ = count(config.network, config.size, channels)
    if device.type != "cpu" or flops < LARGEST_TRIAL:
        return _trial(config, channels, device, micro_batch)
    # On a processor a trial of a large network would take minutes: measure a small one and scale by the work.
    small = preset(size=32, preset="standard", optimizer=config.optimizer, amp=config.amp)
    of_small = count(small.network, small.size, channels)
    found = _trial(small, channels, device, small.batch_size)
    return Pace(found.picture * flops / of_small[1], found.update * parameters / of_small[0])


AGAIN = 60.0  # seconds; a trial younger than this is not repeated
_best_pace: dict[tuple, tuple[Pace, float]] = {}  # with the time of the last trial


def _trial(config: RunConfig, channels: int, device: torch.device, micro_batch: int) -> Pace:
    """The pace of the largest batch that was tried. The best of all trials counts: other work only slows them."""
    key = (config.network, config.size, channels, micro_batch, config.amp, device, config.optimizer)
    best, when = _best_pace.get(key, (None, -math.inf))
    if best is not None and time.monotonic() < when + AGAIN:
        return best
    found: Pace | None = None
    try:
        rehearsal = Rehearsal(config, channels, device)
        rehearsal.learn(1)
        rehearsal.update()  # the first time pays for choosing kernels and for making the optimizer's memory
        rehearsal.learn(1)
        update = rehearsal.seconds(0)
        one = seconds = rehearsal.seconds(1)
        pictures = 1
        while pictures < micro_batch and (pictures == 1 or seconds < 0.6 * TRIAL_SECONDS):
            found = Pace(seconds / pictures, update)
            pictures = min(micro_batch, max(2 * pictures, int(pictures * TRIAL_SECONDS / seconds)))
            rehearsal.learn(pictures)  # the first of a new size pays for its kernels
            seconds = rehearsal.seconds(pictures)
        seconds = min(seconds, rehearsal.seconds(pictures))
        if pictures < micro_batch:  # what a pass takes whatever is in it weighs less in a larger one
            each = max(0.5 * seconds / pictures, (seconds - one) / max(1, pictures - 1))
            seconds += each * (micro_batch - pictures)
            pictures = micro_batch
        found = Pace(seconds / pictures, update)
    except Exception as error:
        if not devices.is_out_of_memory(error):
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if found is None:
        raise UsageError("this network does not fit into the device's memory: choose a smaller size or preset.")
    best = Pace(*map(min, found, best or found))
    _best_pace[key] = best, time.monotonic()
    return best


def duration(seconds: float) -> str:
    """12 s, 5 min, 1 h 40 min, 3 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{int(seconds / 3600)} h {int(seconds / 60) % 60} min"
    return f"{seconds / 86400:.1f} days"


def size(bytes_: int) -> str:
    return f"{bytes_ / 2**30:.1f} GB" if bytes_ >= 2**30 else f"{max(1, round(bytes_ / 2**20))} MB"


def in_words(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
