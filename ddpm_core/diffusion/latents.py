"""The noise a picture starts from. One generator a seed, on the CPU: a seed means the same noise on every device, in any batch."""

import hashlib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ddpm_core import seeds as counter

Shape = tuple[int, int, int]  # channels, height, width


def noise(seeds: Sequence[int], shape: Shape, device: torch.device | str = "cpu") -> Tensor:
    """Float32 (N, C, H, W) from N(0, 1), picture i from seeds[i] alone."""
    return torch.stack([_draw(shape, seed, "latent") for seed in seeds]).to(device)


def step_noise(seeds: Sequence[int], shape: Shape, device: torch.device | str = "cpu") -> Callable[[int], Tensor]:
    """noise(index) -> float32 (N, C, H, W): what a sampler adds at step `index`, again from each picture's seed alone."""
    return lambda index: torch.stack([_draw(shape, seed, "step", index) for seed in seeds]).to(device)


def between(
    seed_a: int, seed_b: int, weights: Sequence[float], shape: Shape, device: torch.device | str = "cpu"
) -> Tensor:
    """Float32 (N, C, H, W): a walk from seed_a's noise (weight 0) to seed_b's (weight 1).

    The weights of the two are a cosine and a sine, so that every stop is again N(0, 1), as the network expects; a straight
    mix would be too quiet in the middle and give grey pictures.
    """
    a, b = noise([seed_a, seed_b], shape)
    mixes = [_mix(a, b, weight) for weight in weights]
    return torch.stack(mixes).to(device)


def step_noise_between(
    seed_a: int, seed_b: int, weights: Sequence[float], shape: Shape, device: torch.device | str = "cpu"
) -> Callable[[int], Tensor]:
    """noise(index) for such a walk: what samplers add on the way is mixed as the start is, so that the walk stays one."""

    def noise(index: int) -> Tensor:
        a, b = step_noise([seed_a, seed_b], shape)(index)
        return torch.stack([_mix(a, b, weight) for weight in weights]).to(device)

    return noise


def noise_after(noise: Tensor) -> Callable[[int], Tensor]:
    """noise(index), (N, C, H, W) on the CPU, for pictures that start at `noise` and have no seed: each start is its own seed."""
    bytes_of = (each.contiguous().numpy().tobytes() for each in noise.cpu())
    seeds = [int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") >> 1 for content in bytes_of]
    channels, height, width = noise.shape[1:]
    return step_noise(seeds, (channels, height, width))


def _mix(a: Tensor, b: Tensor, weight: float) -> Tensor:
    if weight in (0, 1):  # exactly the seed's own picture: cos(pi / 2) is not quite 0
        return b if weight else a
    if torch.equal(a, b):  # from a seed to itself: they are not independent, and their sum would be too loud
        return a
    return math.cos(weight * math.pi / 2) * a + math.sin(weight * math.pi / 2) * b


def _draw(shape: Shape, seed: int, purpose: str, *counters: int) -> Tensor:
    return torch.randn(shape, generator=counter.generator("cpu", seed, purpose, *counters))
