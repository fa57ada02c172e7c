"""A trained model that makes pictures: samples from seeds, and walks between two seeds.

The network is always called with the same number of pictures (`Generator.chunk`), the last call filled up with blanks. For
a convolution adds in another order when the batch is another size, and the pictures would differ in the last digits; like
this a seed gives the same picture, bit for bit, alone or among a thousand. Arithmetic is float32 for the same reason.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddpm_core import checkpoint, devices, pictures, recipes
from ddpm_core.diffusion import latents, objective, samplers, schedule
from ddpm_core.errors import UsageError
from ddpm_core.network.unet import UNet

MOST_PICTURES = 1024  # in one request
Turn = Callable[[], AbstractContextManager]


@dataclass(frozen=True)
class Preview:
    """Where a request stands after a network call. Costs nothing until somebody looks at `pictures`."""

    step: int  # steps that all pictures have behind them, 0..steps
    steps: int
    done: float  # part of the network calls made so far, above 0; 1.0 at the last
    beliefs: tuple[Tensor, ...]
    count: int
    states: tuple[Tensor, ...] = ()  # like the beliefs: the noisy pictures that the walk has reached

    @cached_property
    def pictures(self) -> np.ndarray:
        """uint8 (N, H, W, C): the pictures as the network believes in them so far; at the last step the finished ones."""
        return pictures.to_uint8(torch.cat(self.beliefs)[: self.count])

    @cached_property
    def noisy(self) -> np.ndarray:
        """uint8 (N, H, W, C): the pictures with the noise that they still have; at the last step none."""
        return pictures.to_uint8(torch.cat(self.states)[: self.count])


class Generator:
    """One model, ready on one device.

    `turn()` is entered around each network call, so that a training run on the same device gets its turns too.
    """

    def __init__(self, model: checkpoint.Model, path: Path | str, device: torch.device, turn: Turn) -> None:
        self.model, self.path, self.device, self.turn = model, Path(path), device, turn
        self.size, self.channels = model.config.size, model.channels
        self.schedule = schedule.by_name(model.config.schedule)
        # A new network draws random weights from torch's one global generator, and so may a training step (dropout).
        with turn():
            self.network = UNet(model.config.network, model.channels).eval().requires_grad_(False)
            checkpoint.load_weights(self.network, model.weights, path)
            self.network.to(device)
            self.chunk = _chunk(self.network, self.size, device)

    @classmethod
    def load(cls, path: Path | str, device: str = "auto", turn: Turn = contextlib.nullcontext) -> "Generator":
        """From a model file. Raises `CheckpointError` for a file that is no model, `UsageError` for a device that is not here."""
        chosen = devices.choose(device)
        return cls(checkpoint.load_model(path), path, chosen, turn)

    def sample(self, seeds: Sequence[int], steps: int = 20, sampler: str = "dpm++2m") -> Iterator[Preview]:
        """One picture a seed, 1 to 1024 of them. Yields after every network call; stop asking, and it has stopped.

        All pictures advance together, step by step. Raises `UsageError`, before any work, for a request that cannot work.
        """
        _check_count("samples", len(seeds), 1)
        walk = self._walker(steps, sampler)
        return walk(latents.noise(seeds, self._shape))

    def interpolate(
        self, seed_a: int, seed_b: int, frames: int = 9, steps: int = 20, sampler: str = "dpm++2m"
    ) -> Iterator[Preview]:
        """A walk from seed_a's picture to seed_b's in 2 to 1024 frames, both ends included. Otherwise like `sample`."""
        _check_count("frames", frames, 2)
        walk = self._walker(steps, sampler)
        return walk(latents.between(seed_a, seed_b, np.linspace(0, 1, frames).tolist(), self._shape))

    @property
    def about(self) -> dict[str, Any]:
        """The model as a recipe names it: its run, file, hash, training steps and side in pixels."""
        # A file may have any name on a command line; in a recipe a plain one stands for it, and the hash says which it is.
        name = re.sub(r"[^A-Za-z0-9._-]", "-", self.path.stem).lstrip("._-")[:90] or "model"
        made_by = {"run": self.model.config.name, "model": name + ".pt", "hash": self.model.hash}
        return {**made_by, "trained_steps": self.model.step, "size": self.size}

    def recipe(self, what: str, **request: Any) -> dict[str, Any]:
        """What a PNG should say about itself: the model, and the request in the terms of recipes.py.

        Raises `UsageError` for a request that is none.
        """
        return recipes.compose(what, **{**self.about, **request})

    @property
    def _shape(self) -> latents.Shape:
        return self.channels, self.size, self.size

    def _walker(self, steps: int, sampler: str) -> Callable[[Tensor], Iterator[Preview]]:
        """Checks the request now; the walk itself begins when its first preview is asked for."""
        levels, sample = self.schedule.levels(steps, self.model.config.sigma_max), samplers.by_name(sampler)
        network_denoise = objective.denoiser(self.network, self.model.config.prediction)

        def denoise(x: Tensor, alpha: float, sigma: float) -> Tensor:
            with self.turn():
                return network_denoise(x, alpha, sigma)

        def walk(noise: Tensor) -> Iterator[Preview]:
            blanks = noise.new_zeros(-len(noise) % self.chunk, *noise.shape[1:])
            states = list(torch.cat([noise, blanks]).to(self.device).split(self.chunk))
            beliefs = list(states)  # noise is the first picture shown
            chunks = [sample(denoise, x, levels) for x in states]
            for call, (step, i) in enumerate(itertools.product(range(steps), range(len(chunks))), start=1):
                reached = next(chunks[i])
                states[i], beliefs[i] = reached.x, reached.x0
                behind = step + (i + 1) // len(chunks)
                yield Preview(behind, steps, call / (steps * len(chunks)), tuple(beliefs), len(noise), tuple(states))

        return walk


def _chunk(network: UNet, size: int, device: torch.device) -> int:
    """Pictures in one network call: as many as keep it well under 0.3 s, by arithmetic, never by the clock.

    A processor gains nothing beyond four; two cores do about 60e9 operations a second. On a graphics card sixteen small
    pictures take hardly longer than one, and the bound is for a small card.
    """
    most, budget = (4, 15e9) if device.type == "cpu" else (16, 4e12)
    weights = sum(weight.numel() for weight in network.parameters())
    # A multiplication and an addition a weight and place would be 2; most weights work on the smaller maps further down.
    operations = 2 / 3 * weights * (size // network.patch) ** 2
    return max(1, min(most, int(budget // operations)))


def _check_count(what: str, count: Any, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not least <= count <= MOST_PICTURES:
        raise UsageError(f"{what} is {count!r}: choose a whole number from {least} to {MOST_PICTURES}.")
