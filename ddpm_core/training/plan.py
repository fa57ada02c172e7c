"""What a run will cost, told before it starts: steps, time, memory, disk.

The time comes from a trial of a second or less with the very network on the very device; the rest is counted.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from ddpm_core import devices
from ddpm_core.config import NETWORKS, NetworkConfig, RunConfig, default_epochs
from ddpm_core.errors import UsageError
from ddpm_core.network.unet import UNet
from ddpm_core.training import cadence, snapshots
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training.previews import FIRST_PREVIEW

TRIAL_SECONDS = 0.4
LARGEST_TRIAL = (
    5e9  # operations of one picture forward; about a tenth of a second for forward and backward on two cores
)


@dataclass(frozen=True)
class Forecast:
    """Counted, but for `images_per_second`, which a short trial measured, and what follows from it."""

    parameters: int
    flops: int  # of one picture's way through the network, forward only
    pictures: int
    epochs: int
    steps: int
    images_per_second: float
    seconds: float  # of the whole run
    first_sample_seconds: float
    memory: int  # bytes on the device at the height of a step, estimated
    disk: int  # bytes of all checkpoints at the end
    device: str

    @property
    def text(self) -> str:
        """One line for a person."""
        return (
            f"{in_words(self.steps, 'step')} ({in_words(self.epochs, 'epoch')} of {in_words(self.pictures, 'picture')}) in about"
            f" {duration(self.seconds)} at {self.images_per_second:.3g} images/s on this {self.device}."
            f" First pictures after about {duration(self.first_sample_seconds)}."
            f" {self.parameters / 1e6:.1f} million weights, {size(self.memory)} of memory, {size(self.disk)} of disk."
        )


def forecast(
    config: RunConfig,
    pictures: int,
    channels: int,
    *,
    turn: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
) -> Forecast:
    """The cost of `config` on a set of `pictures` pictures with `channels` channels (1 or 3).

    `turn` is taken around the trial, so that it does not run beside a training step. Raises `UsageError` for a device that is
    not here.
    """
    device = devices.choose(config.device)
    with turn():
        pace = images_per_second(
            config.network, config.size, channels, config.batch_size, config.amp, device, config.optimizer
        )
    parameters, flops, activations = count(config.network, config.size, channels)
    epochs = config.epochs or default_epochs(pictures)
    steps = math.ceil(epochs * pictures / config.batch_size)
    if config.max_steps and config.max_steps < steps:
        steps = config.max_steps
        epochs = math.ceil(steps * config.batch_size / pictures)
    # Weights, gradients, two moments and the two averages; then what the backward pass needs, at half precision under amp.
    half = 0.5 if config.amp and devices.bfloat16_pays(device) else 1.0
    memory = 6 * 4 * parameters + int(half * activations) * config.batch_size
    if device.type == "cpu":  # there the pictures wait in the same memory, a byte a value
        memory += pictures * channels * config.size**2
    files_of_epochs = cadence.count(cadence.checkpoints(config.checkpoint_every), steps, pictures, config.batch_size)
    # A snapshot holds both averages in two bytes a weight: as much as a model file.
    files = 2 + files_of_epochs + (len(snapshots.kept(steps)) if config.snapshots else 0)
    disk = 4 * parameters * files + 2 * 20 * parameters
    return Forecast(
        parameters=parameters,
        flops=flops,
        pictures=pictures,
        epochs=epochs,
        steps=steps,
        images_per_second=pace,
        seconds=steps * config.batch_size / pace,
        first_sample_seconds=min(FIRST_PREVIEW, steps) * config.batch_size / pace,
        memory=memory,
        disk=disk,
        device=devices.describe(device),
    )


@functools.lru_cache(maxsize=64)
def count(network: NetworkConfig, side: int, channels: int) -> tuple[int, int, int]:
    """(weights, floating-point operations forward, bytes kept for the backward pass in float32), all for one picture.

    Nothing is computed: the network runs on shapes alone.
    """
    with torch.device("meta"):
        model = UNet(network, channels)
        x, log_sigma = torch.empty(1, channels, side, side), torch.empty(1)
    # By storage: attention keeps several views of one tensor, and views of its weights.
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(x, log_sigma)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, counter.get_total_flops(), sum(kept.values())


def images_per_second(
    network: NetworkConfig,
    side: int,
    channels: int,
    batch_size: int,
    amp: bool,
    device: torch.device,
    optimizer: str = "muon",
) -> float:
    """Pictures a second through forward, backward and optimizer, measured on `device`."""
    flops = count(network, side, channels)[1]
    if device.type != "cpu" or flops < LARGEST_TRIAL:
        return _trial(network, side, channels, batch_size, amp, device, optimizer)
    # On a processor a trial of a large network would take minutes: measure a small one and scale by the work.
    small = NETWORKS["standard", 32]
    return _trial(small, 32, channels, batch_size, amp, device, optimizer) * count(small, 32, channels)[1] / flops


_best_pace: dict[tuple, float] = {}


def _trial(
    network: NetworkConfig,
    side: int,
    channels: int,
    batch_size: int,
    amp: bool,
    device: torch.device,
    optimizer: str = "muon",
) -> float:
    """The pace of the largest batch that was tried. The best of all trials counts: other work only slows them."""
    pace = 0.0
    try:
        for measured in _paces(network, side, channels, batch_size, amp, device, optimizer):
            pace = measured
    except Exception as error:
        if not devices.is_out_of_memory(error):
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if not pace:
        raise UsageError("this network does not fit into the device's memory: choose a smaller size or preset.")
    key = (network, side, channels, batch_size, amp, device, optimizer)
    _best_pace[key] = max(pace, _best_pace.get(key, 0.0))
    return _best_pace[key]


def _paces(
    network: NetworkConfig, side: int, channels: int, batch_size: int, amp: bool, device: torch.device, kind: str
) -> Iterator[float]:
    """Pictures a second, with batches that grow until one takes long enough to trust."""
    model = UNet(network, channels).to(device)
    optimizer = optimizers.build(model, RunConfig(network=network, size=side, optimizer=kind))

    def seconds_of(batch: int) -> float:
        x, log_sigma = torch.zeros(batch, channels, side, side, device=device), torch.zeros(batch, device=device)
        start = time.perf_counter()
        with devices.autocast(device, amp):
            output = model(x, log_sigma)
        output.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    seconds_of(1)  # the first time pays for choosing kernels
    batch = 1
    while (seconds := seconds_of(batch)) < TRIAL_SECONDS and batch < batch_size:
        yield batch / seconds
        batch = min(batch_size, 4 * batch)
    yield batch / min(seconds, seconds_of(batch), seconds_of(batch))


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
