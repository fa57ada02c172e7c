"""How much memory a run needs, what fits where, and so how many pictures of a batch are in memory at once.

What torch allocates is read off a pass on shapes alone (footprint.py). The rest is in the constants here.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ddpm_core import devices, room
from ddpm_core.config import NETWORKS, SIZES, RunConfig, preset
from ddpm_core.data import places
from ddpm_core.network import convolution
from ddpm_core.training import footprint
from ddpm_core.training.footprint import Arithmetic
from ddpm_core.training.previews import grid_sizes

CARDS = (6, 8, 12, 24)  # GB, of the cards that the plan speaks of
GB = 2**30

# Memory that is filled so far still has room for a desktop and for what no plan knows; beyond the second it is a gamble.
FITS, TIGHT = 0.85, 0.95


@dataclass(frozen=True)
class Beside:
    """What is in memory beside torch's own blocks: `bytes` whatever is trained, and `share` of the blocks, the gaps between them."""

    bytes: int
    share: float


# On a card: the driver's context with the kernels that a U-Net loads, and the workspaces of its convolutions; blocks that do not
# fill the gaps that others left. (Not measured yet: python -m benchmarks.memory tells on a card.)
ON_A_CARD = Beside(600 * 2**20, 0.08)
# On a processor: what oneDNN makes for itself, and the gaps of a heap that is never handed back (devices.keep_freed_memory).
# (Measured by how much a program grew in three steps, one thread, ten rows of 1.5 to 36 million weights, 32 to 128 px: within a
# tenth of each, python -m benchmarks.memory.)
ON_A_PROCESSOR = Beside(15 * 10**6, 0.2)


@dataclass(frozen=True)
class Memory:
    """Bytes at the height of a run."""

    weights: int
    gradients: int
    optimizer: int  # what it remembers of each weight
    averages: int
    activations: int  # feature maps and all else that comes and goes, at the worst moment
    pictures: int  # the data set, where it waits on the device
    beside: int  # of the driver, and gaps
    highest: str  # that moment: "step", "update" (of the optimizer) or "grid" (of samples)

    @property
    def allocated(self) -> int:
        """What torch itself has taken: `torch.cuda.max_memory_allocated` shows this."""
        return self.weights + self.gradients + self.optimizer + self.averages + self.activations + self.pictures

    @property
    def of_steps(self) -> int:
        """The same without the data set: what three steps with made-up pictures take."""
        return self.allocated - self.pictures

    @property
    def total(self) -> int:
        return self.allocated + self.beside


def needed(
    config: RunConfig, channels: int, micro_batch: int, arithmetic: Arithmetic, *, pictures: int = 0, grid: bool = True
) -> Memory:
    """The memory of a run that has `micro_batch` pictures of `channels` channels in memory at once.

    `pictures`: bytes of the data set, if it waits on the device. `grid`: whether it draws sample grids.
    """
    found = footprint.footprint(config.network, config.size, channels, arithmetic)
    weights = 4 * footprint.count(config.network, config.size, channels)[0]
    matrices, of_update = 0, 0
    if config.optimizer == "muon":
        matrices, of_update = footprint.muon(config.network, config.size, channels)
    # At every moment of a run, and at the worst of these. While micro-batches add up, all gradients are there from the first on.
    whole = micro_batch >= config.batch_size
    heights = {
        "step": found.learning.peak(micro_batch, 0 if whole else weights),
        "update": weights + of_update,
        "grid": found.drawing.peak(max(grid_sizes(config.size))) if grid else 0,
    }
    if not arithmetic.card:
        heights["step"] += of_winograd(config, micro_batch, torch.bfloat16 if arithmetic.half else torch.float32)
    if grid and whole and recorded(config, arithmetic):  # what a recording holds is not free for a grid
        heights["grid"] += max(heights["step"], heights["update"])
    highest = max(heights, key=heights.__getitem__)
    found_so_far = Memory(
        weights=weights,
        gradients=weights,
        optimizer=2 * weights - 4 * matrices,  # two moments a weight, and one for Muon's
        averages=(1 + config.snapshots) * weights,  # a second one for the snapshots
        activations=max(0, heights[highest] - weights),
        pictures=pictures,
        beside=0,
        highest=highest,
    )
    extra = ON_A_CARD if arithmetic.card else ON_A_PROCESSOR
    blocks = found_so_far.of_steps
    return dataclasses.replace(found_so_far, beside=extra.bytes + int(extra.share * blocks))


def of_winograd(config: RunConfig, micro_batch: int, kind: torch.dtype) -> int:
    """Bytes that the hungriest of a network's convolutions takes for a moment on a processor, where any goes Winograd's way."""
    network, most = config.network, 0
    for level, multiplier in enumerate(network.multipliers):
        width, side = network.width * multiplier, config.size // network.patch // 2**level
        maps = (micro_batch, side, side)
        if convolution.pays(kind, width, width, maps):
            most = max(most, convolution.workspace(kind, width, maps))
    return most


def recorded(config: RunConfig, arithmetic: Arithmetic) -> bool:
    """Whether a step whose batch is in memory whole will be recorded, on the kind of card whose `arithmetic` this is.

    (Where float16 is all that a card has nothing is recorded, and a little is left over.)
    """
    return arithmetic.card and arithmetic.graphs and config.compile


def arithmetic(device: torch.device, amp: bool) -> Arithmetic:
    """How `device` will compute."""
    with devices.autocast(device, amp):
        half = device.type in ("cuda", "cpu") and torch.is_autocast_enabled(device.type)
    return Arithmetic(card=device.type != "cpu", half=half, graphs=device.type != "mps")


# ---- what fits


def verdict(needed_bytes: int, card_bytes: int) -> str:
    """ "fits", "tight" or "does not fit": so many bytes on a card of `card_bytes`."""
    if needed_bytes <= FITS * card_bytes:
        return "fits"
    return "tight" if needed_bytes <= TIGHT * card_bytes else "does not fit"


@dataclass(frozen=True)
class Fit:
    """How a run would be on a card."""

    card: int  # its bytes
    micro_batch: int
    memory: Memory
    verdict: str


def fit(config: RunConfig, channels: int, card: int, arithmetic: Arithmetic, data_set: int = 0) -> Fit:
    """The run on a card of `card` bytes that has nothing else to do: with as many pictures at once as fit, or as the settings say.

    `data_set`: bytes of all pictures.
    """
    pictures = on_card(config, data_set, card)
    for micro_batch in _choices(config):
        memory = needed(config, channels, micro_batch, arithmetic, pictures=pictures)
        if verdict(memory.total, card) == "fits":
            break
    return Fit(card, micro_batch, memory, verdict(memory.total, card))


def on_card(config: RunConfig, data_set: int, card: int) -> int:
    """How much of a data set of so many bytes waits on a card with `card` bytes free: all or nothing (data/places.py)."""
    here = config.data_on == "device" or (config.data_on == "auto" and places.fits_beside(data_set, card))
    return data_set if here else 0


def fits(config: RunConfig, channels: int, data_set: int = 0) -> tuple[Fit, ...]:
    """The run on cards of 6, 8, 12 and 24 GB. `data_set`: bytes of all pictures."""
    kind = Arithmetic(card=True, half=config.amp)
    return tuple(fit(config, channels, gigabytes * GB, kind, data_set) for gigabytes in CARDS)


@dataclass(frozen=True)
class Change:
    settings: dict[str, Any]  # fields of RunConfig, or of `config.preset`
    words: str  # as flags: "--micro-batch 8"


def smallest_change(config: RunConfig, channels: int, card: int, arithmetic: Arithmetic) -> Change | None:
    """The least that must change so that the run fits: fewer pictures at once, a smaller preset, a smaller size, in this order.

    None where it fits as it is, and where nothing would.
    """
    if fit(config, channels, card, arithmetic).verdict == "fits":
        return None
    if config.micro_batch:
        free = fit(dataclasses.replace(config, micro_batch=None), channels, card, arithmetic)
        if free.verdict == "fits":
            return Change({"micro_batch": free.micro_batch}, f"--micro-batch {free.micro_batch}")
    for size in [size for size in reversed(SIZES) if size <= config.size]:
        for name in _from_this_downwards(config.preset, config.size):
            if (name, size) == (config.preset, config.size):
                continue
            smaller = preset(config.dataset, size, name, amp=config.amp, optimizer=config.optimizer)
            if fit(smaller, channels, card, arithmetic).verdict == "fits":
                changed = {"preset": name} if size == config.size else {"size": size, "preset": name}
                if name == config.preset:
                    del changed["preset"]
                return Change(changed, " ".join(f"--{key} {value}" for key, value in changed.items()))
    return None


def _from_this_downwards(name: str, size: int) -> list[str]:
    """The presets with at most as many weights as this one, the largest first; only this one of the classic kind."""
    names = [other for other, at in NETWORKS if at == size and other != "classic"]
    weights = {other: footprint.count(NETWORKS[other, size], size, 3)[0] for other in {*names, name}}
    smaller = sorted((other for other in names if weights[other] < weights[name]), key=lambda other: -weights[other])
    return [name, *smaller]


# ---- what to do on this machine


def micro_batch(config: RunConfig, channels: int, device: torch.device, pictures: int = 0) -> int:
    """Pictures in one forward and backward pass, at most `config.batch_size`; a step is made of as many as it needs.

    The largest of the batch, its half, its quarter, ... that fits into what is free on `device` now: ask before the network is
    there. What the settings say counts more. `pictures`: bytes of the data set, if it is still to be put on the device.
    """
    if config.micro_batch:
        return min(config.micro_batch, config.batch_size)
    kind, room = arithmetic(device, config.amp), FITS * free(device)
    for count in _choices(config):
        if needed(config, channels, count, kind, pictures=pictures).total <= room:
            break
    return count


def best_preset(settings: dict[str, Any], device: torch.device) -> str:
    """For these fields of a RunConfig: "cpu" on a processor; on a card "standard", or "small" where that would have to crawl, less
    than an eighth of a batch at a time."""
    if device.type == "cpu":
        return "cpu"
    standard = preset(**{**settings, "preset": "standard"})
    at_once = micro_batch(standard, 3, device)
    whole = needed(standard, 3, at_once, arithmetic(device, standard.amp)).total <= FITS * free(device)
    return "standard" if whole and (standard.micro_batch or 8 * at_once >= standard.batch_size) else "small"


def free(device: torch.device) -> int:
    """Bytes that a run could have on `device` beside what this program has there now."""
    if device.type == "cpu":
        return room.left()
    # A card's driver has taken its part by now: a run needs no second one.
    return places.free_on(device) + (ON_A_CARD.bytes if device.type == "cuda" else 0)


def _choices(config: RunConfig) -> Iterator[int]:
    """The batch, its half, its quarter, ... 1; only what the settings say, where they do."""
    if config.micro_batch:
        yield min(config.micro_batch, config.batch_size)
        return
    count = config.batch_size
    while count > 1:
        yield count
        count = math.ceil(count / 2)
    yield 1
