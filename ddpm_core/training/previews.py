"""The pictures a run shows of itself: when they are due, and how they are drawn.

They come from fixed seeds, so that grid after grid shows the same pictures growing, and the Generation tab can make each of
them again from its seed.
"""

from pathlib import Path

import torch

from ddpm_core import devices, pictures
from ddpm_core.diffusion import latents, samplers
from ddpm_core.diffusion.objective import denoiser
from ddpm_core.diffusion.schedule import by_name
from ddpm_core.training.control import Control
from ddpm_core.training.state import TrainingState

FIRST_PREVIEW = 16


def early(step: int, steps_per_epoch: float, sample_every: int) -> bool:
    """Steps 16, 32, 64, ... until the regular grids every `sample_every` epochs take over."""
    return step >= FIRST_PREVIEW and step.bit_count() == 1 and step < sample_every * steps_per_epoch


def draw(state: TrainingState, control: Control, *, count: int, steps: int, path: Path) -> bool:
    """Samples `count` pictures of seeds config.seed, config.seed + 1, ... and writes them as one grid to `path`.

    Returns False, with nothing written, when a stop came in between.
    """
    config, device = state.config, state.device
    seeds = range(config.seed, config.seed + count)
    noise = latents.noise(seeds, (state.channels, config.size, config.size), device)
    denoise = denoiser(state.ema.network, config.prediction)

    walk = samplers.dpmpp_2m(denoise, noise, by_name(config.schedule).levels(steps, config.sigma_max))
    while True:
        with control.turn(), torch.no_grad(), devices.autocast(device, config.amp):
            step = next(walk, None)
        if step is None:
            break
        if control.stopping:
            return False
        belief = step.x0

    recipe = {"run": config.name, "step": state.step, "images": state.images, "sampler": "dpm++2m", "steps": steps}
    recipe["seeds"] = [seeds[0], seeds[-1]]
    pictures.save_png(pictures.grid(pictures.to_uint8(belief)), path, recipe)
    return True
