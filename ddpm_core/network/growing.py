"""A trained network becomes the start of another: for larger pictures, for colour instead of grey, for new pictures alone.

The trunk is kept as it is, whatever the size of the pictures: only the stem and the head know pixels, and they learn to fold
larger patches. (Progressive growing: Karras et al. 2018, arXiv 1710.10196; here no layer is added, as in simple diffusion,
Hoogeboom et al. 2023, arXiv 2301.11093, where one trunk serves several patch sizes.)

Let U enlarge a picture r times, each pixel becoming r x r equal ones. The grown network g and the network f it came from are
the same function on such pictures: g(U x, log_sigma) = U f(x, log_sigma - ln r). Its head answers with flat patches at first,
and it takes noise for less than it is, because noise, unlike shapes, is averaged away where r x r pixels become one.
"""

import dataclasses
import math
from fractions import Fraction

import torch
from torch import Tensor

from ddpm_core.checkpoint import Model
from ddpm_core.config import SIZES, NetworkConfig, RunConfig
from ddpm_core.errors import UsageError
from ddpm_core.network.unet import UNet

_STEM, _HEAD, _GAIN, _LEVEL = "stem.weight", "head", "gain", "noise_level.layers.0.weight"


def fit(config: RunConfig, old: RunConfig) -> RunConfig:
    """`config` with the network of a model of settings `old`, its patch grown with the pictures, predicting what that predicts.

    A trunk's map keeps its side, so a step costs about as much as it did. Raises `UsageError` where the patch would not come
    out whole, or the network would be none for this size.
    """
    patch = Fraction(old.network.patch * config.size, old.size)
    if patch.denominator != 1:
        possible = [size for size in SIZES if old.network.patch * size % old.size == 0]
        raise UsageError(
            f"a model of {old.size} px with patches of {old.network.patch} cannot become one of {config.size} px:"
            f" choose --size {' or '.join(map(str, possible))}."
        )
    own = {name: getattr(config.network, name) for name in ("labels", "classes", "dropout")}
    network = dataclasses.replace(old.network, patch=int(patch), **own)
    return dataclasses.replace(config, network=network, prediction=old.prediction)


def weights(
    model: Model, network: UNet, config: RunConfig, channels: int, classes: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The weights that a `network` of `config` (which went through `fit`) on pictures of `channels` channels starts with, on the
    processor, wherever the network and the model's weights are.

    What the model cannot know starts as in a new network: the classes, unless it was trained with the very same ones, and the
    labels of augmentation, unless it heard them too. Raises `UsageError` if the trunks differ.
    """
    old, new = model.config, config
    if _trunk(old.network) != _trunk(new.network) or old.prediction != new.prediction:
        raise UsageError(
            f"{old.name} has another network than this run: start it from the model with --from-model and without --preset."
        )
    own = {name: weight.cpu() for name, weight in model.weights.items()}
    grown = {name: weight.cpu() for name, weight in network.state_dict().items()}
    for name, weight in own.items():
        if name in grown and (model.classes == classes or not name.startswith("classes.")):
            grown[name] = weight

    down, up = _pixels(old.network.patch, new.network.patch, model.channels, channels)
    grown[_STEM] = torch.einsum("wpij,pq->wqij", own[_STEM], down)
    for layer in (_HEAD, _GAIN):
        for part in ("weight", "bias"):
            name = f"{layer}.{part}"
            grown[name] = torch.einsum("qp,p...->q...", up, own[name])
    grown[_LEVEL] = _less_noise(own[_LEVEL], network.noise_level.frequencies.cpu(), math.log(new.size / old.size))
    return grown


def _trunk(network: NetworkConfig) -> NetworkConfig:
    """All that the stem and the head do not know."""
    return dataclasses.replace(network, patch=1, labels=0, classes=0, dropout=0.0)


def _pixels(old_patch: int, new_patch: int, old_channels: int, new_channels: int) -> tuple[Tensor, Tensor]:
    """Two matrices between the values of one patch, in the order of pixel_unshuffle (channel, row, column).

    `down`, (old values, new values), makes the old patch from the new one, each pixel the mean of those it covers; `up`,
    (new values, old values), the new one from the old.
    """
    edges_old, edges_new = (torch.arange(patch + 1, dtype=torch.float64) / patch for patch in (old_patch, new_patch))
    shared = torch.minimum(edges_old[1:, None], edges_new[1:]) - torch.maximum(edges_old[:-1, None], edges_new[:-1])
    shared = shared.clamp(min=0.0)  # of each old pixel with each new one, along one side
    colours = torch.ones(old_channels, new_channels, dtype=torch.float64)
    if old_channels == new_channels:
        colours = torch.eye(old_channels, dtype=torch.float64)
    down, up = (_kron(_means(colours), _means(shared)), _kron(_means(colours.T), _means(shared.T)))
    return down.float(), up.float()


def _means(shares: Tensor) -> Tensor:
    return (shares / shares.sum(dim=1, keepdim=True)).contiguous()


def _kron(colours: Tensor, side: Tensor) -> Tensor:
    return torch.kron(colours, torch.kron(side, side))


def _less_noise(weight: Tensor, frequencies: Tensor, shift: float) -> Tensor:
    """The first layer's weights over [cos, sin] of the level's waves, so that it hears log_sigma - shift. Exact: waves turn."""
    turn = frequencies * shift / 4
    of_cos, of_sin = weight.chunk(2, dim=1)
    return torch.cat([of_cos * turn.cos() - of_sin * turn.sin(), of_cos * turn.sin() + of_sin * turn.cos()], dim=1)
