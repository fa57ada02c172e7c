"""Noise made of other noise: walks, the four corners of a pad, mixtures of real pictures, one noise at several sizes.

A network expects noise from N(0, 1). A sum of independent noises, sum w_i z_i, has variance sum w_i^2, so dividing by
its root gives N(0, 1) again, whatever the weights and however many (Bodin et al. 2024, arXiv 2408.08558; between two it
is the usual walk along a sphere). A plain mean would be too quiet, and give grey pictures.

Classes, unlike noise, are mixed by plain means: the vector that the network is told is sum_i shares(weights)_i
vector_i, with vector_i what it is told for class i (`classes`). So a pad's weights serve both.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_core import seeds
from ddpm_core.diffusion import latents
from ddpm_core.errors import UsageError


def line(t: Tensor | Sequence[float] | float) -> Tensor:
    """Float64 (..., 2): weights of the two ends at each t; 0 is all the first, 1 all the second, as in `latents.between`."""
    t = torch.as_tensor(t, dtype=torch.float64)
    weights = torch.stack([torch.cos(t * (math.pi / 2)), torch.sin(t * (math.pi / 2))], dim=-1)
    ends = torch.stack([1 - t, t], dim=-1)  # cos(pi / 2) is not quite 0
    return torch.where(((t == 0) | (t == 1)).unsqueeze(-1), ends, weights)


def corners(u: Tensor | Sequence[float] | float, v: Tensor | Sequence[float] | float) -> Tensor:
    """Float64 (..., 4): weights of the top left, top right, bottom left and bottom right corner of a pad.

    u goes from 0 at the left to 1 at the right, v from 0 at the top to 1 at the bottom; of any shapes that broadcast,
    so a whole grid is `corners(t, t[:, None])`. Squares sum to 1. Corners are exact, and each edge is the `line`
    between its two.
    """
    across, down = line(u), line(v)
    return (down.unsqueeze(-1) * across.unsqueeze(-2)).flatten(-2)


def mix(noises: Tensor, weights: Tensor) -> Tensor:
    """N mixtures (N, C, H, W) of K noises (K, C, H, W) by weights (N, K) of any size and sign: N(0, 1) like the noises.

    Exactly noises[k] where only weight k is not 0; the same bits alone and in a batch. Noises that are the same (one
    seed at two corners) are not independent: their weights count together, for two halves of one noise are that noise.
    Raises `UsageError` where the weights of a mixture are all 0, or cancel.
    """
    weights = weights.detach().cpu().double()
    same = (noises.unsqueeze(0) == noises.unsqueeze(1)).flatten(2).all(-1).cpu().double()
    variance = ((weights @ same) * weights).sum(-1, keepdim=True)
    if not (variance > 1e-12).all():
        raise UsageError("the weights of a mixture are all 0, or cancel: give at least one of them some weight.")
    parts = (weights / variance.sqrt()).to(noises)[..., None, None, None]
    mixed = parts[:, 0] * noises[0]
    for k in range(1, len(noises)):  # term by term: a matrix product would add in another order for another N
        mixed = mixed + parts[:, k] * noises[k]
    return mixed


def shares(weights: Tensor) -> Tensor:
    """Weights (..., K) as shares of one whole: w_i^2 / sum w^2, for what is mixed by a plain mean. Exactly 1 and 0 at the ends."""
    squares = weights.double() ** 2
    return squares / squares.sum(-1, keepdim=True)


def classes(ends: Sequence[int | Mapping[int, float]], weights: Tensor) -> list[int | Mapping[int, float]]:
    """What N pictures are told that lie between K of these classes, by weights (N, K): each {class: share}, its shares 1 together.

    Where only one class has a share it is that class itself: exactly so at the ends, and everywhere between ends that are
    alike. A share of -1, any, is one of nothing. All of it is {-1: 1.0}, unless all ends are -1: guidance does nothing to
    such a picture, and must not be refused for it. (An end may be a mixture itself.)
    """
    told: list[int | Mapping[int, float]] = []
    for row in shares(weights).tolist():
        mixture: dict[int, float] = {}
        for end, share in zip(ends, row, strict=True):
            for which, part in ({end: 1.0} if isinstance(end, int) else end).items():
                if share * part > 0:
                    mixture[which] = mixture.get(which, 0.0) + share * part
        (which, *others) = mixture
        among = which < 0 and any(end != which for end in ends)
        told.append(mixture if others else {which: 1.0} if among else which)
    return told


class Normalised(NamedTuple):
    noise: Tensor  # (K, C, H, W), each channel of mean 0 and standard deviation 1
    mean: Tensor  # (K, C, 1, 1)
    std: Tensor  # (K, C, 1, 1); noise * std + mean is what it was


def normalised(noises: Tensor) -> Normalised:
    """The noise of real pictures (K, C, H, W), as `inversion.invert` finds it, with each channel's mean and spread taken out.

    It is not quite N(0, 1): brighter on average, as drawings on white paper are, and quieter. Mixed as noise, what is
    random averages out while such means add up, and mixtures fade (Landolsi & Kahl 2025, arXiv 2505.07481, who adjust
    channel means).
    """
    std, mean = torch.std_mean(noises, (2, 3), correction=0, keepdim=True)
    std = std.clamp(min=1e-6)
    return Normalised((noises - mean) / std, mean, std)


def mix_inverted(noises: Tensor, weights: Tensor) -> Tensor:
    """`mix` for the noise of real pictures: what is random is mixed as noise, means and variances by their `shares`.

    noises (K, C, H, W), weights (N, K) -> (N, C, H, W). Exactly noises[k] where only weight k is not 0. Raises as
    `mix`. (Measured: OpenMoji at 32 px, pictures of mean brightness 0.55 and contrast 0.61; equal mixtures of two, four
    and eight have 0.56, 0.57, 0.51 and 0.62, 0.60, 0.65; with `mix` they fade to white, 0.63, 0.72, 0.79 and 0.58,
    0.48, 0.42.)
    """
    noise, mean, std = normalised(noises)
    part = shares(weights.cpu()).to(noises)
    mean, variance = (torch.einsum("nk,kcij->ncij", part, moment) for moment in (mean, std**2))
    mixed = mix(noise, weights) * variance.sqrt() + mean
    # Normalising and undoing it rounds: a noise that is alone is taken as it is.
    rest, which = weights.abs().sum(-1), weights.max(-1)
    alone = (rest == which.values).to(noises.device)[:, None, None, None]
    return torch.where(alone, noises[which.indices.to(noises.device)], mixed)


def noise_at_sizes(seed: int, sizes: Sequence[int], channels: int = 3) -> dict[int, Tensor]:
    """{size: float32 (C, size, size)}: one noise for models of several sizes, so that their large shapes agree.

    Each is white N(0, 1). Where one size is k times another, k x k pixels of the large one have the mean of the pixel
    they cover, divided by k, as white noise has it; where neither divides the other (64 and 96) this holds for both and
    their greatest common divisor. The smallest size has the seed's own noise, so its model draws the picture it always draws
    for this seed; the noise of the others depends on that one, the seed and their size, not on which more were asked for. (Measured:
    OpenMoji models of 32 and 64 px, trained apart for minutes, 32 pictures each shrunk to 8 x 8: correlation 0.80 from one
    noise, -0.02 from two.)
    """
    base = latents.noise([seed], (channels, min(sizes), min(sizes)))[0]
    return {size: _resized(base, size, seed) for size in sizes}


def shared(seeds: Sequence[int], sizes: Sequence[int], size: int, channels: int) -> Tensor:
    """Float32 (N, channels, size, size): each seed's noise for a model of `size` beside models of the other `sizes`.

    Models of one size get the seeds' own noise; see `noise_at_sizes` and, for grey models, `grey`.
    """
    if len(set(sizes)) == 1:
        return latents.noise(seeds, (channels, size, size))
    noise = torch.stack([noise_at_sizes(seed, sizes)[size] for seed in seeds])
    return noise if channels == 3 else grey(noise)


def grey(noise: Tensor) -> Tensor:
    """(..., 3, H, W) -> (..., 1, H, W): the noise for a grey model beside colour ones: their mean, N(0, 1) again."""
    return noise.mean(-3, keepdim=True) * math.sqrt(noise.shape[-3])


def _resized(noise: Tensor, size: int, seed: int) -> Tensor:
    """Down to the greatest common divisor by means, then up by one prime factor after the other: never more than `size` large.

    The alternative, one noise at the least common multiple, would be 768 x 768 for 96 beside 256, and no model's own.
    """
    side = math.gcd(noise.shape[-1], size)
    k = noise.shape[-1] // side
    coarse = _means(noise.cpu().double(), k) * k
    while side < size:
        k = _smallest_factor(size // side)
        side *= k
        generator = seeds.generator("cpu", seed, "refine", side)
        fresh = torch.randn((noise.shape[0], side, side), generator=generator, dtype=torch.float32).double()
        # White noise whose block means are exchanged for the given ones: their variance, 1 / k^2, is the same.
        coarse = fresh + _enlarged(coarse / k - _means(fresh, k), k)
    return coarse.to(noise)


def _means(x: Tensor, k: int) -> Tensor:
    """(C, kS, kS) -> (C, S, S): the mean of each k x k block."""
    side = x.shape[-1] // k
    return x.reshape(-1, side, k, side, k).mean((2, 4))


def _enlarged(x: Tensor, k: int) -> Tensor:
    return x.repeat_interleave(k, -1).repeat_interleave(k, -2)


def _smallest_factor(number: int) -> int:
    return next(k for k in range(2, number + 1) if number % k == 0)
