"""What people install today, as it comes and tuned as well as we can: diffusers and denoising-diffusion-pytorch.

Each peer trains with its own package's network, noise table, loss and optimizer, in the loop that package ships (diffusers'
examples/unconditional_image_generation/train_unconditional.py with --use_ema; denoising-diffusion-pytorch's Trainer), less what
only costs time here: accelerate's wrappers, progress bars, and reading files. Tuned means bfloat16 where the device is good at
it, a batch twice as large, ten times the learning rate, a short warm-up, a cosine down to zero at the run's end, v-prediction, our
weight average, fused updates, and pictures by the sampler that ours are drawn by (DPM-Solver++ of second order, beliefs clipped
to [-1, 1]). A tuned peer's key may name its learning rate, its batch and how wide its network is, `diffusers_tuned@0.002x16w32`: so
better ones can be looked for. (torch.compile, flash attention and weights in channels-last order gained them at most 3 % on a
processor, and compiling took 200 s.)

On a graphics card tuned also means weights in channels-last order, torch.compile, the batch of our `standard` preset at that size,
and in the throughput table cuDNN's search for its fastest kernels (rows.py). `..._graphs` compiles with mode="reduce-overhead",
which plays a step's launches from CUDA graphs: what a demanding user tries next. How large the peers' networks are there, says
peer_networks.py.

Two controls tell the network's part from the recipe's: our network with diffusers' recipe (`DiffusersRecipe` around `Timed`),
and diffusers' network with ours (`Levelled`, a network like `UNet`).
"""

import contextlib
import copy
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peer_networks import (
    FULL_RESOLUTION,
    Sampled,
    Timed,
    diffusers_network,
    diffusers_package,
    lucidrains_network,
    lucidrains_package,
    on_a_card,
)
from ddpm_core import devices
from ddpm_core.errors import UsageError
from ddpm_core.network.unet import UNet
from ddpm_core.presets import TABLE
from ddpm_core.training.ema import PowerEMA


class Peer(Protocol):
    """One way to train, with everything of a run inside."""

    name: str
    batch_size: int  # the one it trains with by itself; `step` takes any
    total_steps: int  # of the run; may be told anew on the way, where only the clock knows
    amp: bool

    @property
    def network(self) -> nn.Module: ...

    @property
    def network_parameters(self) -> int: ...

    def step(self, images: Tensor) -> Tensor:
        """One optimizer step on `images`, uint8 (B, C, H, W) on the device; returns the loss, 0-d, on the device."""

    def sample(self, count: int, steps: int, seed: int) -> Tensor:
        """Pictures from the averaged weights: uint8 (count, H, W, C) on the processor. `steps` network calls each."""


# ---- recipes


def tuned_batch(size: int, device: torch.device | str) -> int:
    """On a card what our `standard` preset trains with at that size."""
    return TABLE["standard", size].batch_size if on_a_card(device) else 32


class _Fastest:
    """What makes a tuned network fast on a card: its weights' order at once, torch.compile when `compile` is called.

    That is after the average has made its copy, which draws batches of any size and stays as it is. The network is compiled in
    place, and what fails there fails the step: a row that could not be compiled must not pass for one that was.
    """

    def __init__(self, network: nn.Module, wanted: bool, graphs: bool) -> None:
        self.network = network
        self.wanted = wanted
        self.graphs = wanted and graphs
        if wanted:
            # Convolutions alone: of weights (1, C, 1, 1), as lucidrains' norms have, torch 2.11 compiled a wrong gradient.
            for module in network.modules():
                if isinstance(module, nn.Conv2d):
                    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compile(self) -> None:
        if self.wanted:
            self.network.compile(mode="reduce-overhead" if self.graphs else None)

    def new_step(self) -> None:
        """Of the step before nothing is needed any more: its CUDA graphs' memory is free."""
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()


def share_of_rate(step: int, warmup_steps: int, total_steps: int) -> float:
    """diffusers' cosine with warm-up, down to zero at `total_steps`: which may be told anew on the way, as a run that ends by the
    clock knows better and better how many there will be."""
    if step < warmup_steps:
        return step / warmup_steps
    through = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, through)))


class DiffusersRecipe:
    """The loop of diffusers' train_unconditional.py around `network(x, t)`, at its defaults or tuned.

    Defaults: float32, batch 16, AdamW with lr 1e-4, betas (0.95, 0.999), weight decay 1e-6, gradients clipped at 1, 500 steps of
    warm-up and a cosine over `total_steps`, epsilon-prediction on the linear table, EMAModel up to 0.9999.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        shape: tuple[int, int, int],
        *,
        tuned: bool = False,
        graphs: bool = False,
        batch_size: int | None = None,
        lr: float | None = None,
        total_steps: int = 100_000,
        ema_length: float = 0.1,
        device: torch.device | str = "cpu",
    ) -> None:
        diffusers = diffusers_package()
        self.name = name
        self.shape = shape
        self.tuned = self.amp = tuned
        self.device = torch.device(device)
        self.network = network.to(self.device).train()
        self.fastest = _Fastest(self.network, tuned and on_a_card(self.device), graphs)
        self.batch_size = batch_size or (tuned_batch(shape[1], self.device) if tuned else 16)
        self.table = diffusers.DDPMScheduler(
            num_train_timesteps=1000,
            beta_schedule="linear",
            prediction_type="v_prediction" if tuned else "epsilon",
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=lr or (1e-3 if tuned else 1e-4),
            betas=(0.95, 0.99 if tuned else 0.999),
            weight_decay=1e-6,
            eps=1e-8,
            **({"fused": True} if tuned and self.device.type in ("cpu", "cuda") else {}),
        )
        self.warmup_steps = min(100, total_steps // 10) if tuned else 500
        self.steps_made, self.total_steps = 0, total_steps
        self.rate = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._share_of_rate)
        self.scaler = _scaler(self.device, self.amp)
        if tuned:
            self.average = PowerEMA(self.network, ema_length)
        else:
            self.slow_average = diffusers.training_utils.EMAModel(
                self.network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75
            )
        self.fastest.compile()

    @property
    def network_parameters(self) -> int:
        return _weights(self.network)

    def step(self, images: Tensor) -> Tensor:
        clean = images.to(self.device).float().div_(127.5).sub_(1)
        noise = torch.randn(clean.shape, device=self.device)
        t = torch.randint(0, self.table.config.num_train_timesteps, (len(clean),), device=self.device)
        noisy = self.table.add_noise(clean, noise, t)
        self.fastest.new_step()
        with devices.autocast(self.device, self.amp):
            output = self.network(noisy, t)
        target = self.table.get_velocity(clean, noise, t) if self.tuned else noise
        loss = F.mse_loss(output.float(), target)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.rate.step()
        self.optimizer.zero_grad()
        self.steps_made += 1
        if self.tuned:
            self.average.update(self.network, self.steps_made)
        else:
            self.slow_average.step(self.network.parameters())
        return loss.detach()

    def _share_of_rate(self, step: int) -> float:
        return share_of_rate(step, self.warmup_steps, self.total_steps)

    @torch.no_grad()
    def sample(self, count: int, steps: int, seed: int) -> Tensor:
        """Defaults: DDIM as diffusers comes. Tuned: its DPM-Solver++."""
        diffusers = diffusers_package()
        if self.tuned:
            network = self.average.network
            walk = _fast_sampler(self.table.config)
        else:
            network = copy.deepcopy(self.network).eval().requires_grad_(False)
            self.slow_average.copy_to(network.parameters())
            walk = diffusers.DDIMScheduler.from_config(self.table.config)
        with devices.autocast(self.device, self.amp):
            return _drawn(network, walk, self.shape, count, steps, seed, self.device)


class LucidrainsRecipe:
    """denoising-diffusion-pytorch: its Unet, its GaussianDiffusion and the loop of its Trainer.

    Defaults: float32, batch 16, Adam with lr 1e-4 and betas (0.9, 0.99), gradients clipped at 1, v-prediction on the sigmoid
    table, its EMA of 0.995 every ten steps. (Its Trainer also mirrors pictures; letters would suffer, so nobody does here.) Its
    Trainer keeps the rate as it is; tuned, it falls as diffusers' does.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        *,
        tuned: bool = False,
        graphs: bool = False,
        batch_size: int | None = None,
        lr: float | None = None,
        total_steps: int = 100_000,
        width: int | None = None,
        ema_length: float = 0.1,
        device: torch.device | str = "cpu",
    ) -> None:
        package = lucidrains_package()
        self.name = name
        self.shape = shape
        self.tuned = self.amp = tuned
        self.device = torch.device(device)
        self.batch_size = batch_size or (tuned_batch(shape[1], self.device) if tuned else 16)
        unet = lucidrains_network(shape[0], shape[1], self.device, width)
        self.diffusion = package.GaussianDiffusion(unet, image_size=shape[1]).to(self.device)
        self.fastest = _Fastest(self.network, tuned and on_a_card(self.device), graphs)
        self.lr = lr or (1e-3 if tuned else 1e-4)
        self.scaler = _scaler(self.device, self.amp)
        self.total_steps = total_steps
        self.warmup_steps = min(100, total_steps // 10) if tuned else 0
        if tuned:
            fused = self.device.type in ("cpu", "cuda")
            self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                self.diffusion.parameters(), lr=self.lr, betas=(0.9, 0.99), weight_decay=0.0, fused=fused
            )
            self.average = PowerEMA(self.diffusion, ema_length)
        else:
            self.optimizer = torch.optim.Adam(self.diffusion.parameters(), lr=self.lr, betas=(0.9, 0.99))
            from ema_pytorch import EMA  # comes with the package

            self.slow_average = EMA(self.diffusion, beta=0.995, update_every=10)
        self.fastest.compile()
        self.steps_made = 0

    @property
    def network_parameters(self) -> int:
        return _weights(self.diffusion.model)

    @property
    def network(self) -> nn.Module:
        return self.diffusion.model

    def step(self, images: Tensor) -> Tensor:
        self.fastest.new_step()
        with devices.autocast(self.device, self.amp):
            loss = self.diffusion(images.to(self.device).float().div_(255))  # it goes to [-1, 1] by itself
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
        self.steps_made += 1
        if self.tuned:
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr * share_of_rate(self.steps_made, self.warmup_steps, self.total_steps)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.tuned:
            self.average.update(self.diffusion, self.steps_made)
        else:
            self.slow_average.update()
        return loss.detach()

    @torch.no_grad()
    def sample(self, count: int, steps: int, seed: int) -> Tensor:
        """Defaults: its own DDIM, or with 1000 steps its own ancestral sampler. Tuned: diffusers' DPM-Solver++ on its table."""
        diffusion: Any = self.average.network if self.tuned else self.slow_average.ema_model.eval()
        if self.tuned:
            walk = _fast_sampler({"trained_betas": diffusion.betas.cpu().numpy(), "prediction_type": "v_prediction"})
            with devices.autocast(self.device, self.amp):
                return _drawn(diffusion.model, walk, self.shape, count, steps, seed, self.device)
        diffusion.sampling_timesteps = steps
        diffusion.is_ddim_sampling = steps < diffusion.num_timesteps
        # It draws from torch's one generator: what others draw from there stays as it was.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            return torch.cat(
                [_pictures(diffusion.sample(batch_size=part) * 2 - 1) for part in _parts(count, self.shape[1])]
            )


# ---- the peers by name


def _diffusers_peer(tuned: bool, graphs: bool = False) -> Callable[..., Peer]:
    def make(shape: tuple[int, int, int], width: int | None = None, **settings: Any) -> Peer:
        network = Sampled(diffusers_network(shape[0], shape[1], settings.get("device", "cpu"), width))
        name = f"diffusers, {_manner(tuned, graphs)}"
        return DiffusersRecipe(name, network, shape, tuned=tuned, graphs=graphs, **settings)

    return make


def _lucidrains_peer(tuned: bool, graphs: bool = False) -> Callable[..., Peer]:
    def make(shape: tuple[int, int, int], **settings: Any) -> Peer:
        name = f"denoising-diffusion-pytorch, {_manner(tuned, graphs)}"
        return LucidrainsRecipe(name, shape, tuned=tuned, graphs=graphs, **settings)

    return make


def _manner(tuned: bool, graphs: bool) -> str:
    return "tuned, CUDA graphs" if graphs else "tuned" if tuned else "defaults"


def _our_network_their_recipe(tuned: bool) -> Callable[..., Peer]:
    def make(shape: tuple[int, int, int], width: int | None = None, **settings: Any) -> Peer:
        name = "our full-resolution network, diffusers' recipe" + (" tuned" if tuned else "")
        network = dataclasses.replace(FULL_RESOLUTION, width=width or FULL_RESOLUTION.width)
        return DiffusersRecipe(name, Timed(UNet(network, shape[0])), shape, tuned=tuned, **settings)

    return make


PEERS: dict[str, Callable[..., Peer]] = {
    "diffusers": _diffusers_peer(tuned=False),
    "diffusers_tuned": _diffusers_peer(tuned=True),
    "diffusers_tuned_graphs": _diffusers_peer(tuned=True, graphs=True),
    "lucidrains": _lucidrains_peer(tuned=False),
    "lucidrains_tuned": _lucidrains_peer(tuned=True),
    "lucidrains_tuned_graphs": _lucidrains_peer(tuned=True, graphs=True),
    "ours_their_recipe": _our_network_their_recipe(tuned=False),
    "ours_their_recipe_tuned": _our_network_their_recipe(tuned=True),
}


def make(key: str, shape: tuple[int, int, int], *, seed: int = 0, **settings: Any) -> Peer:
    """The peer `key` of `PEERS` for pictures of `shape` (C, H, W); `settings` are those of its recipe above. What `split_tuning`
    knows may follow the key.

    Raises `UsageError` for an unknown key, and with the pip command where its package is missing.
    """
    name, tuning = split_tuning(key)
    if name not in PEERS:
        raise UsageError(f"there is no peer {key!r}: choose one of {', '.join(PEERS)}.")
    torch.manual_seed(seed)
    peer = PEERS[name](shape, **tuning, **settings)
    words = {"lr": "rate", "batch_size": "batch", "width": "width"}
    peer.name += "".join(f", {words[what]} {value:g}" for what, value in tuning.items())
    return peer


TUNING = re.compile(r"(?P<lr>[^xw]+)(?:x(?P<batch_size>\d+))?(?:w(?P<width>\d+))?")


def split_tuning(key: str) -> tuple[str, dict[str, Any]]:
    """`diffusers_tuned@0.002x16w32` -> (`diffusers_tuned`, {"lr": 0.002, "batch_size": 16, "width": 32}): a learning rate, a batch,
    and the channels of the network's first level, the others' in proportion. All, or the last, or the last two may be left out.

    Raises `UsageError` where they are no numbers that can be meant.
    """
    name, sign, tuning = key.partition("@")
    if not sign:
        return name, {}
    found: dict[str, Any] = {}
    if read := TUNING.fullmatch(tuning):
        with contextlib.suppress(ValueError):
            found = {"lr": float(read["lr"])}
        found |= {what: int(read[what]) for what in ("batch_size", "width") if read[what]}
    if not (
        0 < found.get("lr", 0) < 1 and 1 <= found.get("batch_size", 1) <= 4096 and 8 <= found.get("width", 8) <= 2048
    ):
        raise UsageError(
            f"in {key!r} a learning rate between 0 and 1 must follow the @; if you like, an x with a batch and a w with the first"
            f" level's channels, as in {name}@0.002, {name}@0.002x16 or {name}@0.002x16w32."
        )
    return name, found


def _weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _scaler(device: torch.device, amp: bool) -> torch.amp.GradScaler:
    """What both packages' own loops scale a loss with in float16, on cards without bfloat16; elsewhere it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=devices.half(device, amp) is torch.float16)


def _fast_sampler(config: Any) -> Any:
    """diffusers' DPM-Solver++ of second order for the noise table of `config`."""
    # Its "dynamic thresholding" up to 1 is a plain clip of what the network believes to [-1, 1]: ours is clipped too.
    return diffusers_package().DPMSolverMultistepScheduler.from_config(
        config, timestep_spacing="trailing", thresholding=True, sample_max_value=1.0
    )


def _drawn(
    network: nn.Module, walk: Any, shape: tuple[int, ...], count: int, steps: int, seed: int, device: torch.device
) -> Tensor:
    """Pictures of `network(x, t)` by a scheduler of diffusers, uint8 (count, H, W, C) on the processor."""
    draw = torch.Generator(device).manual_seed(seed)
    parts = []
    for part in _parts(count, shape[1]):
        walk.set_timesteps(steps)  # anew: a solver of several steps remembers the part before
        x = torch.randn((part, *shape), generator=draw, device=device)
        for t in walk.timesteps:
            x = walk.step(network(x, torch.full((part,), int(t), device=device)).float(), t, x).prev_sample
        parts.append(_pictures(x))
    return torch.cat(parts)


def _parts(count: int, size: int) -> list[int]:
    """`count` in parts that need no more memory than 250 pictures of 32 px do, some 2.5 GB."""
    most = max(1, 250 * 32 * 32 // (size * size))
    return [min(most, count - done) for done in range(0, count, most)]


def _pictures(x: Tensor) -> Tensor:
    """[-1, 1] float (N, C, H, W) -> uint8 (N, H, W, C) on the processor."""
    return x.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()
