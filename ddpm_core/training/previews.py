"""The pictures a run shows of itself: when they are due, and how they are drawn.

They come from fixed seeds, so that grid after grid shows the same pictures growing, and the Generation tab can make each of
them again from its seed.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ddpm_core import devices, pictures
from ddpm_core.config import SAMPLERS, SPACING_OF
from ddpm_core.diffusion import latents, samplers
from ddpm_core.diffusion.objective import denoiser
from ddpm_core.diffusion.schedule import by_name
from ddpm_core.training.control import Control
from ddpm_core.training.out_of_memory import halving
from ddpm_core.training.state import TrainingState

FIRST_PREVIEW = 16


def grid_sizes(size: int) -> tuple[int, int]:
    """How many pictures of `size` pixels a small grid shows, and how many a large one."""
    return (36, 64) if size <= 64 else (16, 36)


def early(step: int, steps_per_epoch: float, sample_every: int) -> bool:
    """Steps 16, 32, 64, ... until the regular grids every `sample_every` epochs take over."""
    return step >= FIRST_PREVIEW and step.bit_count() == 1 and step < sample_every * steps_per_epoch


def draw(
    state: TrainingState, control: Control, say: Callable[[str], None], *, count: int, steps: int, path: Path
) -> bool:
    """Samples `count` pictures of seeds config.seed, config.seed + 1, ... and writes them as one grid to `path`.

    A network that knows classes draws one of each in turn. Where memory runs out they are drawn a few at a time. Returns
    False, with nothing written, when a stop came in between, or where there is no room for even one; `say` hears of that.
    """
    config = state.config
    seeds = range(config.seed, config.seed + count)
    try:
        beliefs = halving(functools.partial(_sample, state, control, seeds, steps), count, state.device)
    except Exception as error:
        if not devices.is_out_of_memory(error):
            raise
        say("There is too little memory left to draw sample pictures: some are missing.")
        return False
    if beliefs is None:
        return False

    recipe = {"run": config.name, "step": state.step, "images": state.images, "sampler": SAMPLERS[0], "steps": steps}
    recipe["seeds"] = [seeds[0], seeds[-1]]
    if state.classes:
        recipe["classes"] = list(state.classes[:count])  # one a picture, and again from the first
    pictures.save_png(pictures.grid(pictures.to_uint8(beliefs)), path, recipe)
    return True


def _sample(state: TrainingState, control: Control, seeds: range, steps: int, at_once: int) -> Tensor | None:
    """The pictures of `seeds` in [-1, 1], (count, C, H, W) on the processor, `at_once` at a time; None when a stop came."""
    config = state.config
    name, shape = SAMPLERS[0], (state.channels, config.size, config.size)
    levels, sampler = by_name(config.schedule).levels(steps, config.sigma_max, SPACING_OF[name]), samplers.by_name(name)
    beliefs = []
    for first in range(0, len(seeds), at_once):
        some = seeds[first : first + at_once]
        noise = latents.noise(some, shape, state.device)
        classes = None
        if state.classes:
            classes = torch.arange(first, first + len(noise), device=state.device) % len(state.classes)
        denoise = denoiser(state.ema.network, config.prediction, classes)
        walk = sampler(denoise, noise, levels, noise=latents.step_noise(some, shape, state.device))
        while True:
            with control.turn(), torch.no_grad(), devices.autocast(state.device, config.amp):
                step = next(walk, None)
            if step is None:
                break
            if control.stopping:
                return None
            belief = step.x0
        beliefs.append(belief.cpu())
    return torch.cat(beliefs)
