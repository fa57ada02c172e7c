"""Pictures that are never trained on: what the network has learned, and not by heart, shows in its loss on them.

The averaged network's loss is measured on held-out pictures and on as many trained ones, with the same noise and noise levels,
the same every time: whatever moves the figures is the network, and whatever sets them apart is that it knows some of the
pictures.
"""

import torch
from torch import Tensor

from ddpm_core import devices, seeds
from ddpm_core.config import held_out_count
from ddpm_core.diffusion import latents
from ddpm_core.training import footprint
from ddpm_core.training.control import Control
from ddpm_core.training.loss import DiffusionLoss, Drawn
from ddpm_core.training.out_of_memory import halving
from ddpm_core.training.state import TrainingState

LOSSES = 256  # in each of the two figures; a few pictures are taken several times, with other noise
# On a processor as many as take about a second, but so many at least. (Measured on one core, cpu network: 1.0 s beside the 1.5 s
# of a sample grid at 32 px, 1.2 s beside 2.6 s at 128 px.)
FEWEST_LOSSES, OPERATIONS = 64, 70e9
OPERATIONS_A_TURN = 15e9  # a quarter of a second, so that picture making need not wait long


def split(pictures: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """The pictures that are trained on, in order, and those held out, in the order of their choice: int64, together 0..N-1."""
    order = torch.randperm(pictures, generator=seeds.generator("cpu", seed, "held out"))
    trained, held_out = order.split([pictures - (n := held_out_count(pictures, share)), n])
    return trained.sort().values, held_out


def losses(flops: int, device: torch.device) -> int:
    """In each of the two figures, of a network that takes `flops` operations for one picture's way forward."""
    return max(FEWEST_LOSSES, min(LOSSES, int(OPERATIONS / flops))) if device.type == "cpu" else LOSSES


class HeldOut:
    """`measure()` -> {"held_out": loss, "trained": loss}, or {} where nothing is held out or a stop came in between.

    The losses are weighted as in training, without its dropout, augmentation and untold classes.
    """

    def __init__(
        self, state: TrainingState, batch_loss: DiffusionLoss, trained: Tensor, held_out: Tensor, control: Control
    ) -> None:
        config, device = state.config, state.device
        self.state, self.batch_loss, self.control = state, batch_loss, control
        flops = footprint.count(config.network, config.size, state.channels)[1]
        count, self.at_once = losses(flops, device), state.micro_batch  # so many fit on a card in training
        if device.type == "cpu":
            self.at_once = max(1, min(64, int(OPERATIONS_A_TURN / flops)))
        draw = seeds.generator("cpu", config.seed, "trained beside held out")
        beside = trained[torch.randperm(len(trained), generator=draw)[: len(held_out)]]
        self.picks = {
            name: chosen[torch.arange(count) % len(chosen)] if len(chosen) else chosen
            for name, chosen in (("held_out", held_out[:count]), ("trained", beside[:count]))
        }
        self.noise_seeds = [seeds.mix(config.seed, "held out noise", number) for number in range(count)]
        draw = seeds.generator(device, config.seed, "held out levels")
        self.alpha, self.sigma = batch_loss.noise_levels(count, draw)

    def measure(self) -> dict[str, float]:
        if not len(self.picks["held_out"]):
            return {}
        try:
            return halving(self._measure, self.at_once, self.state.device)
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            return {}  # a figure less is no reason to end a run

    def _measure(self, at_once: int) -> dict[str, float]:
        means = {}
        for name, picks in self.picks.items():
            total = torch.zeros((), device=self.state.device)
            for first in range(0, len(picks), at_once):
                if self.control.stopping:
                    return {}
                with self.control.turn(), torch.no_grad():
                    drawn = self._drawn(picks, first, min(first + at_once, len(picks)))
                    total += self.batch_loss.of(self.state.ema.network, drawn) * len(drawn.x0)
            means[name] = total / len(picks)
        return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))

    def _drawn(self, picks: Tensor, first: int, last: int) -> Drawn:
        x0, classes = self.batch_loss.batches.at(picks[first:last])
        eps = latents.noise(self.noise_seeds[first:last], (*x0.shape[1:],), x0.device)
        return Drawn(x0, eps, self.alpha[first:last], self.sigma[first:last], classes=classes)
