"""What is drawn from a person's own pictures: a walk between two, one drawn again from some noise level, a part filled in.

Pictures are uint8 (S, S, C) as the network sees them, masks bool (S, S), True where to draw. Imports no torch.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import pictures
from ddpm_core.config import SPACING_OF
from ddpm_core.errors import UsageError
from ddpm_core.stop import Stop

if TYPE_CHECKING:
    from torch import Tensor

    from ddpm_core.diffusion.samplers import Noise, Step
    from ddpm_core.generator import Generator

WALK_SAMPLER = "ddim"  # can be gone both ways


def between(generator: "Generator", ends: Sequence[np.ndarray], steps: int, mix: Sequence[float]) -> Iterator[Stop]:
    """A walk between two pictures, a frame for each place 0..1 of `mix`: "invert", up into the noise that draws them, where
    there is nothing to see; then "walk", down again from mixtures of it."""
    from ddpm_core.diffusion import inversion, mixing

    shape = (generator.size, generator.size, generator.channels)
    if any(end.shape != shape for end in ends):
        raise UsageError("these pictures have not the model's size and colour: bring them to it first.")
    spacing = SPACING_OF[WALK_SAMPLER]
    levels = generator.schedule.levels(steps, generator.model.config.sigma_max, spacing)
    x0 = signed(ends).to(generator.device)
    for step in inversion.invert(generator.denoise(), x0, levels):
        yield Stop(step.index, step.steps, 0.5 * step.index / step.steps, None, "invert")
    noise = mixing.mix_inverted(step.x.cpu(), mixing.line(mix))
    for preview in generator.walker(steps, WALK_SAMPLER, spacing=spacing)(noise):
        draw = functools.partial(getattr, preview, "pictures")
        yield Stop(preview.step, preview.steps, 0.5 + 0.5 * preview.done, draw, "walk")


class Way:
    """Seeds, sampler and staircase of pictures that begin from another one; a picture a seed. Raises `UsageError`."""

    def __init__(self, generator: "Generator", seeds: Sequence[int], sampler: str, steps: int) -> None:
        from ddpm_core.diffusion import samplers

        self.generator, self.seeds, self.name, self.steps = generator, list(seeds), sampler, steps
        self.sampler = samplers.by_name(sampler)
        self.levels = generator.schedule.levels(steps, generator.model.config.sigma_max, SPACING_OF[sampler])

    def level(self, strength: float) -> float:
        """The noise level sigma / alpha that `redraw` begins at, rounded as a recipe holds it."""
        from ddpm_core.diffusion import editing

        return self._rounded()[editing.start_row(strength, self.levels, self.generator.size)]

    def strength(self, level: float) -> float:
        """A strength that begins at this level of a recipe. Raises `UsageError` where no step lies there."""
        from ddpm_core.diffusion import editing

        levels = self._rounded()
        if level not in levels:
            raise UsageError(
                f"this picture begins at the noise level {level:g}, where none of {self.steps} steps of {self.name} lies."
            )
        return editing.strength_of(levels.index(level), self.levels, self.generator.size)

    def redraw(self, picture: np.ndarray, strength: float) -> Iterator[Stop]:
        """The picture drawn again from under noise, see `editing.redraw`."""
        from ddpm_core.diffusion import editing

        denoise, x0 = self.generator.denoise(), self._x0(picture)
        walks = [
            editing.redraw(denoise, self.sampler, x0, self.levels, strength, noise, step_noise=step_noise)
            for noise, step_noise in self._parts()
        ]
        return self._stops(walks)

    def fill(self, picture: np.ndarray, mask: np.ndarray) -> Iterator[Stop]:
        """What the mask covers drawn anew, see `editing.fill`. Raises `UsageError` for a mask that does not fit."""
        import torch

        from ddpm_core.diffusion import editing

        denoise, x0, covered = self.generator.denoise(), self._x0(picture), torch.from_numpy(mask)
        walks = [
            editing.fill(denoise, self.sampler, x0, covered, self.levels, noise, step_noise=step_noise)
            for noise, step_noise in self._parts()
        ]
        return self._stops(walks)

    def _x0(self, picture: np.ndarray) -> "Tensor":
        return signed([picture])[0].to(self.generator.device)

    def _rounded(self) -> list[float]:
        return [round(level, 6) for level in (self.levels[:, 1] / self.levels[:, 0]).tolist()]

    def _parts(self) -> "Iterator[tuple[Tensor, Noise]]":
        """(noise, step_noise) for as many seeds as one network call takes, the last part filled up: a seed gives the same
        picture alone and among others, and large models are asked often instead of long (see Generator)."""
        from ddpm_core.diffusion import latents

        seeds, sizes, shape, device = self.seeds, self.generator.sizes, self.generator.shape, self.generator.device
        while seeds:
            size = next((size for size in sizes if size <= len(seeds)), sizes[-1])
            part, seeds = (seeds + seeds[-1:] * size)[:size], seeds[size:]
            yield latents.noise(part, shape).to(device), latents.step_noise(part, shape, device)

    def _stops(self, walks: "Sequence[Iterator[Step]]") -> Iterator[Stop]:
        for steps in _together(walks):
            behind = min(step.index for step in steps) if len(steps) == len(walks) else 0
            made, calls = sum(step.index for step in steps), steps[0].steps * len(walks)
            parts = [step.x if made == calls else step.x0 for step in steps]
            draw = functools.partial(_pictures, parts, len(self.seeds)) if behind else None
            yield Stop(behind, steps[0].steps, made / calls, draw)


def signed(own: Sequence[np.ndarray]) -> "Tensor":
    """uint8 (H, W, C) each -> float (B, C, H, W) in [-1, 1]."""
    import torch

    return torch.from_numpy(np.stack(own).transpose(0, 3, 1, 2).copy()).float().div_(127.5).sub_(1)


def _together(walks: "Sequence[Iterator[Step]]") -> "Iterator[tuple[Step, ...]]":
    """All walks at the same pace: after every network call, where those stand that have begun."""
    stand: dict[int, Step] = {}
    for i, walk in itertools.cycle(enumerate(walks)):
        step = next(walk, None)
        if step is None:  # the first to end, and so the last of the others has just done so
            return
        stand[i] = step
        yield tuple(stand.values())


def _pictures(parts: "list[Any]", count: int) -> np.ndarray:
    import torch

    return pictures.to_uint8(torch.cat(parts)[:count])
