"""The ways to train that are compared: ours as it is or with one thing changed, the peers, and the controls between them."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import peer_networks, peers
from benchmarks.variants import VARIANTS, settings_of
from ddpm_core import devices, pictures, seeds
from ddpm_core.config import PRESETS, RunConfig, preset
from ddpm_core.data import places
from ddpm_core.data.batches import Batches
from ddpm_core.diffusion import latents, objective, samplers, schedule
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training import trial
from ddpm_core.training.eager_first import EagerFirst
from ddpm_core.training.gradients import Gradients
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.state import TrainingState
from ddpm_core.training.steps import Steps

OURS = {f"ours-{name}": name for name in PRESETS}
_SAMPLE_SEED = 1_000_000  # far from the seeds of training
# All rows of ours in `quality` and in `ablation` are drawn by this one, and the tuned peers'.
COMMON_SAMPLER = "dpm++2m"


class Method(Protocol):
    """One way to train, begun anew for each seed."""

    name: str
    network: nn.Module
    parameters: int
    batch_size: int

    def step(self, done: float) -> Tensor:
        """One optimizer step; `done` is the share of the run that is over, 0 where nobody knows. Returns the loss, 0-d."""

    def sample(self, count: int, steps: int) -> np.ndarray:
        """Pictures from the averaged weights, uint8 (count, C, H, W)."""


# ---- ours


class Ours:
    """What ddpm_core/training/trainer.py does between two reports. `network` stands in for our own, as a control."""

    def __init__(
        self,
        name: str,
        config: RunConfig,
        images: np.ndarray,
        device: torch.device,
        network: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.device = device
        self.batch_size = config.batch_size
        self.state = state = TrainingState(config, images, device)
        if network is not None:
            torch.manual_seed(seeds.mix(config.seed, "weights"))
            state.use_network(network())  # type: ignore[arg-type]
        self.network: nn.Module = state.network
        self.parameters = sum(weight.numel() for weight in self.network.parameters())
        loss = DiffusionLoss(config, Batches(images, config.batch_size, config.seed, device), device)
        self.make_step = steps_of(state, loss)

    def step(self, done: float) -> Tensor:
        config, state = self.config, self.state
        total_steps = max(state.step + 1, round(state.step / done)) if done > 0 else None
        optimizers.set_learning_rate(state.optimizer, optimizers.learning_rate(config, state.step, total_steps))
        loss, _ = self.make_step(state.step)
        state.step += 1
        state.update_averages()
        return loss

    @torch.no_grad()
    def sample(self, count: int, steps: int) -> np.ndarray:
        config = self.config
        denoise = objective.denoiser(self.state.ema.network, config.prediction)
        levels = schedule.by_name(config.schedule).levels(steps, config.sigma_max)
        shape = (self.state.channels, config.size, config.size)
        parts = []
        for first in range(0, count, 250):
            of_part = range(_SAMPLE_SEED + first, _SAMPLE_SEED + min(first + 250, count))
            start, fresh = latents.noise(of_part, shape), latents.step_noise(of_part, shape, self.device)
            with devices.autocast(self.device, config.amp):
                *_, last = samplers.by_name(COMMON_SAMPLER)(denoise, start.to(self.device), levels, noise=fresh)
            parts.append(pictures.to_uint8(last.x0))
        return np.concatenate(parts).transpose(0, 3, 1, 2)

    def sample_in_the_studio(self, count: int, steps: int) -> np.ndarray:
        """What a person gets who makes pictures with this run's model file: uint8 (count, C, H, W), by the studio's own sampler."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ddpm_best.pt"
            self.state.save_model(path, None)
            generator = Generator.load(path, str(self.device))
        parts = []
        for first in range(0, count, 250):
            *_, last = generator.sample(range(_SAMPLE_SEED + first, _SAMPLE_SEED + min(first + 250, count)), steps)
            parts.append(last.pictures)
        return np.concatenate(parts).transpose(0, 3, 1, 2)


def steps_of(state: TrainingState, loss: DiffusionLoss) -> Steps:
    """A run's steps as they are after its first minute: where compiling pays, compiled from the first one on."""
    state.compiled_from = 0 if trial.compiled_later(state.config, state.device) else None
    state.use_layout(trial.usual_layout(state.config, state.device))
    gradients = Gradients(state, loss, _tell)
    return Steps(state, gradients, EagerFirst(state, gradients, _tell), _tell)


def _tell(line: str) -> None:
    """What a run would say: that it compiles, that something does not work here."""
    print(line, file=sys.stderr, flush=True)


# ---- the peers


class Theirs:
    """A peer of benchmarks/peers.py, fed with pictures in an order drawn as ours is."""

    def __init__(
        self, key: str, images: np.ndarray, seed: int, device: torch.device, total_steps: int | None = None
    ) -> None:
        self.peer = peers.make(key, images.shape[1:], seed=seed, device=device, total_steps=total_steps or 1000)
        self.name = self.peer.name
        self.network = self.peer.network
        self.parameters = self.peer.network_parameters
        self.batch_size = self.peer.batch_size
        self.order = Batches(images, self.batch_size, seed, "cpu")
        self.images = torch.tensor(images).to(device)
        self.steps_made = 0

    def step(self, done: float) -> Tensor:
        if done > 0:
            self.peer.total_steps = max(self.steps_made + 1, round(self.steps_made / done))
        batch = self.images[places.send(self.order.indices(self.steps_made), self.images.device)]
        self.steps_made += 1
        loss = self.peer.step(batch)
        if not self.peer.amp:
            loss.item()  # both packages' own loops show the loss of every step
        return loss

    def sample(self, count: int, steps: int) -> np.ndarray:
        return self.peer.sample(count, steps, _SAMPLE_SEED).numpy().transpose(0, 3, 1, 2)


def make(
    key: str,
    images: np.ndarray,
    dataset: str,
    size: int,
    seed: int,
    device: torch.device,
    total_steps: int | None = None,
    base: str = "cpu",
    **changed: Any,
) -> Method:
    """The method `key`: ours-cpu, ours-standard, one of benchmarks/variants.py, the two controls with our recipe, or a peer's key.

    Variants and controls are those of the preset `base`. `changed` are settings of `RunConfig` for those with our recipe. Raises
    what `check` does.
    """
    check(key)
    settings: dict[str, Any] = {"seed": seed, "device": str(device), **changed}
    if key in OURS:
        return Ours(f"ours, {OURS[key]}", preset(dataset, size, OURS[key], **settings), images, device)
    if key in VARIANTS:
        variant = settings_of(key, preset(dataset, size, base))
        return Ours(f"ours, {VARIANTS[key][0]}", preset(dataset, size, base, **(settings | variant)), images, device)
    if key == "full-resolution":
        config = preset(dataset, size, base, network=peer_networks.FULL_RESOLUTION, **settings)
        return Ours("our full-resolution network, our recipe", config, images, device)
    if key == "diffusers-network":
        config = preset(dataset, size, base, **settings)
        return Ours(
            "diffusers' network, our recipe", config, images, device,
            lambda: peer_networks.Levelled(peer_networks.diffusers_network(images.shape[1], size, device), config.schedule),
        )  # fmt: skip
    return Theirs(key, images, seed, device, total_steps)


def check(key: str) -> None:
    """Raises `UsageError` where there is no method `key`, and with the pip command where a package that it needs is missing."""
    name, _ = peers.split_tuning(key)
    ours = [*OURS, *VARIANTS, "full-resolution"]
    if key in ours:
        return
    if key != "diffusers-network" and name not in peers.PEERS:
        raise UsageError(
            f"there is no method {key!r}: choose from {', '.join([*ours, 'diffusers-network', *peers.PEERS])}."
        )
    peer_networks.diffusers_package()  # a tuned lucidrains draws with its sampler too
    if name.startswith("lucidrains"):
        peer_networks.lucidrains_package()
