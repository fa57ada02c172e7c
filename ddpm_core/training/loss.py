"""One batch's loss: pictures, noise levels and noise are all functions of (seed, step)."""

from collections.abc import Callable

import torch
from torch import Tensor

from ddpm_core import devices, seeds
from ddpm_core.config import RunConfig
from ddpm_core.data.batches import Batches
from ddpm_core.diffusion import objective, schedule


class DiffusionLoss:
    """`loss(network, step)` -> 0-d tensor: the weighted mean squared error of the network's prediction (v, eps or edm)."""

    def __init__(self, config: RunConfig, batches: Batches, device: torch.device) -> None:
        table = schedule.by_name(config.schedule)
        every_t = torch.arange(len(table))
        self.alphas = table.alpha(every_t).float().to(device)
        self.sigmas = table.sigma(every_t).float().to(device)
        self.config = config
        self.batches = batches
        self.device = device

    def __call__(self, network: Callable[[Tensor, Tensor], Tensor], step: int) -> Tensor:
        config = self.config
        x0 = self.batches.batch(step)
        draw = seeds.generator(self.device, config.seed, "noise", step)
        eps = torch.randn(x0.shape, generator=draw, device=self.device)
        t = self._stratified_t(len(x0), draw)
        alpha, sigma = self.alphas[t], self.sigmas[t]

        with devices.autocast(self.device, config.amp):
            output = objective.ask(network, config.prediction, objective.add_noise(x0, eps, alpha, sigma), alpha, sigma)

        target = objective.by_name(config.prediction).target(x0, eps, alpha, sigma)
        weight = objective.loss_weight(config.loss_weight, config.prediction, alpha, sigma)
        return (weight * (output.float() - target).square().mean(dim=(1, 2, 3))).mean()

    def _stratified_t(self, count: int, draw: torch.Generator) -> Tensor:
        """One t from each of `count` equal slices of the table: every batch sees all noise levels, the loss jumps about less."""
        slices = torch.arange(count, device=self.device) + torch.rand(count, generator=draw, device=self.device)
        return (slices * (len(self.alphas) / count)).long().clamp_(max=len(self.alphas) - 1)
