"""One batch's loss: pictures, noise levels and noise are all functions of (seed, step)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_core import devices, seeds
from ddpm_core.config import RunConfig
from ddpm_core.data.batches import Batches
from ddpm_core.data.places import send
from ddpm_core.diffusion import objective, schedule
from ddpm_core.training import augment


class Drawn(NamedTuple):
    """Pictures and all that was drawn at random for them, on the device."""

    x0: Tensor  # float32 (B, C, H, W) in [-1, 1]
    eps: Tensor  # like x0, N(0, 1)
    alpha: Tensor  # (B,)
    sigma: Tensor  # (B,)
    labels: Tensor | None = None  # (B, AUGMENT_LABELS), how the pictures were changed
    classes: Tensor | None = None  # int64 (B,), what they show; -1 = the network is not told

    def part(self, first: int, last: int) -> "Drawn":
        """Pictures first..last-1 and what was drawn for them."""
        return self._replace(**{name: all_[first:last] for name, all_ in self._asdict().items() if all_ is not None})


class DiffusionLoss:
    """`loss(network, step)` -> 0-d tensor: the weighted mean squared error of the network's prediction (v, eps or edm).

    It comes in two halves, so that a batch may be drawn whole and shown to the network in parts: `draw` and `of`.
    """

    def __init__(self, config: RunConfig, batches: Batches, device: torch.device) -> None:
        table = schedule.by_name(config.schedule)
        every_t = torch.arange(len(table))
        self.alphas = table.alpha(every_t).float().to(device)
        self.sigmas = table.sigma(every_t).float().to(device)
        lowest, highest = table.log_range
        if config.sigma_max is not None:
            highest = max(lowest, min(highest, math.log(config.sigma_max)))
        self.log_bounds = lowest, highest  # samplers walk inside them
        self.config = config
        self.batches = batches
        self.device = device

    def __call__(self, network: Callable[..., Tensor], step: int) -> Tensor:
        return self.of(network, self.draw(step))

    def draw(self, step: int) -> Drawn:
        """The whole batch of `step`."""
        config = self.config
        x0, labels = self.batches.batch(step), None
        if config.flip:
            draw = seeds.generator("cpu", config.seed, "flip", step)
            mirrored = send(torch.rand(len(x0), generator=draw) < 0.5, self.device)
            x0 = torch.where(mirrored[:, None, None, None], x0.flip(3), x0)
        if config.augment:
            x0, labels = augment.change(x0, config.augment, seeds.generator(self.device, config.seed, "augment", step))
        draw = seeds.generator(self.device, config.seed, "noise", step)
        eps = torch.randn(x0.shape, generator=draw, device=self.device)
        return Drawn(x0, eps, *self.noise_levels(len(x0), draw), labels, self._told_classes(step))

    def of(self, network: Callable[..., Tensor], drawn: Drawn) -> Tensor:
        """The mean over the pictures of `drawn`, which may be a whole batch or a part of one."""
        config = self.config
        x0, eps, alpha, sigma, labels, classes = drawn
        with devices.autocast(self.device, config.amp):
            x_t = objective.add_noise(x0, eps, alpha, sigma)
            output = objective.ask(network, config.prediction, x_t, alpha, sigma, labels, classes)

        target = objective.by_name(config.prediction).target(x0, eps, alpha, sigma)
        weight = objective.loss_weight(config.loss_weight, config.prediction, alpha, sigma, config.log_normal)
        return (weight * (output.float() - target).square().mean(dim=(1, 2, 3))).mean()

    def _told_classes(self, step: int) -> Tensor | None:
        """The batch's classes, some of them kept back: so the network learns to draw without being told one, too."""
        classes = self.batches.labels(step)
        if classes is None:
            return None
        draw = seeds.generator("cpu", self.config.seed, "label drop", step)
        kept_back = torch.rand(len(classes), generator=draw) < self.config.label_drop
        return send(torch.where(kept_back, -1, classes), self.device)

    def noise_levels(self, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """alpha and sigma, (count,) each, of one batch.

        Unless they are to be independent, one comes from each of `count` slices of equal probability: every batch sees all
        noise levels, and the loss jumps about less.
        """
        uniform = torch.rand(count, generator=draw, device=self.device)
        if self.config.noise_levels != "independent":
            uniform = (torch.arange(count, device=self.device) + uniform) / count
        if self.config.noise_levels == "log-normal":
            mean, std = self.config.log_normal
            # The normal distribution's inverse. Where rounding made 0 or 1 of `uniform` it is infinite: hence the bounds too.
            normal = math.sqrt(2) * torch.erfinv(2 * uniform - 1)
            return schedule.at((mean + std * normal).clamp(*self.log_bounds))
        t = (uniform * len(self.alphas)).long().clamp_(max=len(self.alphas) - 1)
        return self.alphas[t], self.sigmas[t]
