"""How pictures came to be: some steps of their walk, as pictures, so that one can go back and forth through them."""

import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ddpm_core import pictures
from ddpm_core.config import SAMPLERS, SPACING_OF, TWO_CALLS

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview

MOST_FRAMES = 24
# In all frames of a walk together: 64 pictures of 32 px keep every pixel, larger ones are thinned out. 9 MB in colour.
MOST_PIXELS = 2 * MOST_FRAMES * 64 * 32 * 32
KEPT = 4  # walks


@dataclass(frozen=True, eq=False)
class Frame:
    """One step: what the network was shown, and what it made of that."""

    step: int  # 1..steps
    level: float  # sigma / alpha of what it was shown: noise over picture
    noisy: np.ndarray  # uint8 (N, h, w, C)
    belief: np.ndarray  # uint8 (N, h, w, C)


class Trajectory:
    """Looks on while a walk goes and keeps at most MOST_FRAMES of its steps, evenly spread, the first and the last among them.

    Everything becomes uint8 at once: a walk as tensors would be four times as large, on the device.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.steps = 0

    def watch(
        self,
        generator: "Generator",
        noise: np.ndarray,
        steps: int,
        previews: "Iterable[Preview]",
        sampler: str = SAMPLERS[0],
    ) -> "Iterator[Preview]":
        """Hands on `previews`, the walk of `steps` steps of `sampler` that begins at `noise`, uint8 (N, H, W, C)."""
        levels = _levels(generator, steps, sampler)
        self.frames, self.steps = [], len(levels)
        kept = _spread(self.steps)
        every = _every(noise, len(kept))
        shown, behind = noise[:, ::every, ::every], 0
        for preview in previews:
            if preview.step > behind:  # all pictures have made this step
                behind = preview.step
                if behind in kept:
                    belief = preview.pictures[:, ::every, ::every].copy()
                    self.frames.append(Frame(behind, levels[behind - 1], shown, belief))
                if behind + 1 in kept:
                    shown = preview.noisy[:, ::every, ::every].copy()
            yield preview


class Trails:
    """The last few trajectories by a name that nobody can guess: a page fetches its own right after the pictures."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Trajectory] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, trajectory: Trajectory) -> str:
        name = secrets.token_hex(8)
        with self._lock:
            self._kept[name] = trajectory
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> Trajectory | None:
        with self._lock:
            return self._kept.get(name)


def noise_of(generator: "Generator", seeds: Sequence[int]) -> np.ndarray:
    """uint8 (N, H, W, C): the noise that these seeds' pictures start from."""
    from ddpm_core.diffusion import latents  # here, since torch takes seconds to import

    return pictures.to_uint8(latents.noise(seeds, (generator.channels, generator.size, generator.size)))


def _spread(steps: int) -> set[int]:
    return {round(step) for step in np.linspace(1, steps, min(steps, MOST_FRAMES)).tolist()}


def _every(noise: np.ndarray, frames: int) -> int:
    count, height, width = noise.shape[:3]
    return max(1, math.ceil(math.sqrt(2 * frames * count * height * width / MOST_PIXELS)))


def _levels(generator: "Generator", steps: int, sampler: str) -> list[float]:
    """sigma / alpha at each network call of the sampler's walk."""
    staircase = generator.schedule.levels(steps, generator.model.config.sigma_max, SPACING_OF[sampler]).tolist()
    levels = [sigma / alpha for alpha, sigma in staircase[:-1]]
    if sampler in TWO_CALLS:  # a step's second call is at the level where it leads to; the last step has no second
        return [levels[(call + 1) // 2] for call in range(2 * steps - 1)]
    return levels
