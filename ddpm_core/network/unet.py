"""The network: a U-Net that looks at a noisy picture and a noise level and predicts what diffusion/objective.py asks.

The residual blocks follow DDPM++ and ADM (Song et al. 2021, arXiv 2011.13456; Dhariwal and Nichol 2021, arXiv 2105.05233).
The stem may fold patch x patch pixels into channels, which buys parameters at equal cost (simple diffusion, arXiv 2301.11093).

Where those networks run their blocks on both halves of a skip connection side by side, ours first mixes the halves with a
1 x 1 convolution (`Join`), and enlarges without a convolution of its own. That halves the work of a step. (Measured on
OpenMoji at 32 px, 100 seconds on one core: 13,952 pictures seen instead of 8,928, validation loss 0.041 instead of 0.048.)
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_core.config import NetworkConfig
from ddpm_core.network.convolution import Convolution
from ddpm_core.network.norm import Dropout, Norm


class UNet(nn.Module):
    """`network(x, log_sigma)`: x (B, C, H, W), any float type; log_sigma (B,) = ln(sigma / alpha); returns (B, C, H, W).

    If `config.labels`, training also gives labels (B, config.labels), how each picture was changed; no labels count as zeros.
    If `config.classes`, it can be told classes, int64 (B,): what each picture shows; -1 and none at all say nothing. Or, instead
    of numbers, the vectors that it is told for them, float (B, 4 width): `mixed` makes those of mixtures.
    H and W must be multiples of `config.stride`. The output starts at zero, so the first loss is that of guessing nothing.
    """

    def __init__(self, config: NetworkConfig, channels: int) -> None:
        super().__init__()
        self.patch = config.patch
        condition_width = 4 * config.width
        self.noise_level = NoiseLevelEmbedding(condition_width)

        def stage(width_in: int, width_out: int, level: int) -> Stage:
            return Stage(width_in, width_out, condition_width, config.dropout, attention=level in config.attention)

        widths = [config.width * multiplier for multiplier in config.multipliers]
        width = widths[0]
        self.stem = Stem(channels * config.patch**2, width, 3, padding=1)

        self.down = nn.ModuleList()
        for level, level_width in enumerate(widths):
            if level > 0:
                self.down.append(Downsample(width))
            for _ in range(config.blocks):
                self.down.append(stage(width, level_width, level))
                width = level_width

        self.middle = Stage(width, width, condition_width, config.dropout, attention=True)

        # The mirror image: before each stage, what its counterpart on the way down has kept is mixed in.
        self.up = nn.ModuleList()
        for level, level_width in reversed(list(enumerate(widths))):
            for _ in range(config.blocks):
                self.up.append(Join(width, level_width))
                self.up.append(stage(level_width, level_width, level))
                width = level_width

        # v and eps contain the noise itself, which x shows almost openly. This gain, one number a channel and noise level,
        # hands it through at once; without it the blocks need hundreds of steps to learn to copy. (Measured: the loss of
        # step 130 falls from 0.097 to 0.077 on OpenMoji at 32 px.)
        self.gain = nn.Linear(condition_width, channels * config.patch**2)
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.gain.bias)

        self.head_norm = Norm(width)
        self.head = zero(nn.Conv2d(width, channels * config.patch**2, 3, padding=1))

        # Last, so that the other weights begin alike with it and without. No bias: labels of zero say nothing at all.
        if config.labels:
            self.labels = nn.Linear(config.labels, condition_width, bias=False)
            nn.init.zeros_(self.labels.weight)
        if config.classes:
            self.classes = nn.Embedding(config.classes, condition_width)
            nn.init.zeros_(self.classes.weight)

    def forward(
        self, x: Tensor, log_sigma: Tensor, labels: Tensor | None = None, classes: Tensor | None = None
    ) -> Tensor:
        more = None if labels is None else self.labels(labels)
        if classes is not None:
            told = classes
            if not classes.is_floating_point():
                told = self.classes(classes.clamp(min=0)) * (classes >= 0)[:, None]
            more = told if more is None else more + told
        condition = self.noise_level(log_sigma, more)
        patches = F.pixel_unshuffle(x, self.patch)
        h = self.stem(patches)

        kept = []
        for layer in self.down:
            h = layer(h, condition)
            if isinstance(layer, Stage):
                kept.append(h)

        h = self.middle(h, condition)

        for layer in self.up:
            h = layer(h, kept.pop() if isinstance(layer, Join) else condition)

        h = self.head(self.head_norm(h, silu=True))
        h = torch.addcmul(h.float(), self.gain(condition)[:, :, None, None].float(), patches.float())
        return F.pixel_shuffle(h, self.patch)

    def mixed(self, mixtures: Sequence[Mapping[int, float]]) -> Tensor:
        """Float (N, 4 width): what the network is told of mixtures {class: share}, sum_i share_i vector_i.

        -1 counts as the vector of zeros that an untold class is. Term by term, so that a mixture has the same bits in any company.
        """
        vectors = self.classes.weight.detach()
        rows = []
        for mixture in mixtures:
            row = torch.zeros_like(vectors[0])
            for which, share in mixture.items():
                row = row if which < 0 else row + share * vectors[which]
            rows.append(row)
        return torch.stack(rows)


class Stem(nn.Conv2d):
    """The first convolution, of few channels: a card gets as many more of zeros as make a multiple of eight of them.

    cuDNN's tensor-core kernels want that. (Measured on an H200, 64 maps of 12 x 32 x 32 to 192 channels: 27 us instead of 149.)
    """

    def forward(self, x: Tensor) -> Tensor:
        more = -x.shape[1] % 8 if x.device.type == "cuda" else 0
        if not more:
            return super().forward(x)
        x, weight = (F.pad(part, (0, 0, 0, 0, 0, more)) for part in (x, self.weight))
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class NoiseLevelEmbedding(nn.Module):
    """ln(sigma / alpha), a number from about -5 to 10, as waves of 32 frequencies and two linear layers: (B,) -> (B, width)."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # The slowest wave spans the whole range and the fastest a fortieth of it: neighbouring noise levels look alike.
        frequencies = torch.exp(torch.linspace(math.log(0.5), math.log(16.0), 32))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.layers = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, log_sigma: Tensor, more: Tensor | None = None) -> Tensor:
        """`more`, (B, width), joins before the first nonlinearity: what it says can depend on the noise level then."""
        angles = (log_sigma.float() / 4)[:, None] * self.frequencies
        first, *others = self.layers
        h = first(torch.cat([angles.cos(), angles.sin()], dim=1))
        if more is not None:
            h = h + more
        for layer in others:
            h = layer(h)
        return h


class Stage(nn.Module):
    """A residual block that hears the noise level, then self-attention if asked for."""

    def __init__(self, width_in: int, width_out: int, condition_width: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.norm_in = Norm(width_in)
        self.conv_in = Convolution(width_in, width_out)
        self.scale_shift = nn.Linear(condition_width, 2 * width_out)
        self.norm_out = Norm(width_out)
        self.dropout = Dropout(dropout)
        self.conv_out = zero(Convolution(width_out, width_out))
        self.shortcut = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()
        self.attention = SelfAttention(width_out) if attention else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.norm_in(x, silu=True)
        scale, shift = self.scale_shift(condition).chunk(2, dim=1)
        h = self.norm_out.after(self.conv_in, h, scale, shift, silu=True, dropout=self.dropout)
        h = self.conv_out(h)
        return self.attention(self.shortcut(x) + h)


class SelfAttention(nn.Module):
    """Every place of the feature map looks at every other; heads of about 64 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, width // 64), 0, -1) if width % heads == 0)
        self.norm = Norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.project = zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, width, height, side = x.shape
        # One row a place, its channels side by side: the layout attention is fastest in.
        places = self.norm(x).flatten(2).transpose(1, 2)
        qkv = F.linear(places, self.qkv.weight.flatten(1), self.qkv.bias)
        q, k, v = qkv.unflatten(-1, (3, self.heads, width // self.heads)).permute(2, 0, 3, 1, 4).unbind()
        h = attend(q, k, v).transpose(1, 2).reshape(batch, height * side, width)
        h = F.linear(h, self.project.weight.flatten(1), self.project.bias)
        return x + h.transpose(1, 2).reshape(batch, width, height, side)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(width)) v, each (batch, heads, places, width).

    On a processor as plain products: torch 2.13's own attention needs 3 to 6 times as long there for a bfloat16 training step.
    (Measured on two cores, batch 128, 3 heads, 64 places, forward and backward: 10 ms instead of 49.)
    """
    return attend_by_products(q, k, v) if q.device.type == "cpu" else F.scaled_dot_product_attention(q, k, v)


def attend_by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What `attend` does on a processor."""
    heads = q.shape[1]
    q, k, v = (part.flatten(0, 1) for part in (q, k, v))
    likeness = torch.bmm(q * q.shape[-1] ** -0.5, k.mT).softmax(dim=-1)
    return torch.bmm(likeness, v).unflatten(0, (-1, heads))


class Downsample(nn.Module):
    """Halves the side of the feature map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.conv(x)


class Join(nn.Module):
    """Mixes what the way up has with what the way down has kept: a 1 x 1 convolution over both.

    Where the kept map has twice the side, `x` is enlarged; the convolutions that follow smooth it. Each place of `x` would be
    multiplied four times then, so the two halves of the convolution are computed apart, the one of `x` while it is small.
    (Measured, 256 channels to 64 at 16 x 16 places and batch 32: 16 ms forward and backward on two cores instead of 83.)
    """

    def __init__(self, width: int, width_kept: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width + width_kept, width_kept, 1)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        of_x, of_kept = self.mix.weight.split((x.shape[1], kept.shape[1]), dim=1)
        h = F.conv2d(x, of_x)
        if h.shape[-1] < kept.shape[-1]:
            h = enlarged(h)
        return h + F.conv2d(kept, of_kept, self.mix.bias)


def enlarged(x: Tensor) -> Tensor:
    """(batch, width, height, side) -> twice the height and the side: each place becomes four.

    On a card by an expanded view: autocast would make float32 of what torch's own is given, and its compiled backward pass is slow
    where sums must be repeatable. (Measured on an H200, 64 px, batch 64: 3 ms of a step's 10.)
    """
    return by_a_view(x) if x.device.type == "cuda" else F.interpolate(x, scale_factor=2.0, mode="nearest")


def by_a_view(x: Tensor) -> Tensor:
    """In the layout of x: where its channels lie side by side, those of the result do, as the maps that it is added to.

    (Measured on an H200, 64 px, batch 64: in the plain layout maps were turned back and forth for 0.4 of a step's 9.7 ms.)
    """
    batch, width, height, side = x.shape
    if x.is_contiguous(memory_format=torch.channels_last):
        places = x.permute(0, 2, 3, 1)[:, :, None, :, None].expand(batch, height, 2, side, 2, width)
        return places.reshape(batch, 2 * height, 2 * side, width).permute(0, 3, 1, 2)
    four = x[:, :, :, None, :, None].expand(batch, width, height, 2, side, 2)
    return four.reshape(batch, width, 2 * height, 2 * side)


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that starts as "no change", so that a deep network begins as a shallow one."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
