"""`Norm` (network/norm.py) with all that follows it as one kernel forward and one backward, for compiled networks on a card.

A group of eight channels of one picture is normalised, scaled, shifted, sent through SiLU, and a part of it dropped: that is little
work for a number that must come from memory and go back there. A kernel's program takes a few channels of one picture, at all
places: it reads them twice, the second time from near by unless maps are huge, and writes once. No two programs add to the same sum,
so the same numbers come out to the same bits.

torch.compile made two to three kernels of this forward and three backward, with float32 copies of the maps between them, and drew
four random numbers for each that dropout looks at. (Measured on an H200, a recorded step of 36 million weights at 64 px, batch 64:
all that it compiles took 2.9 of 9.7 ms; with a first version of these kernels, 1.9 of 7.7. Of their tiles, alone: 64 maps of 192 x
32 x 32, 23 us forward and 45 back, without dropout; torch.compile's kernels took 57 to 76 and 118 to 140.)
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

GROUP = tl.constexpr(8)  # channels
WIDEST = 32  # channels of a program, 64 bytes that lie side by side; fewer where 32 do not divide a map's
TILE = 2048  # numbers that a program looks at at once,
WARPS = 4  # with 32 times so many threads;
STAGES = 3  # the next two tiles are on their way meanwhile,
LONG = 16  # where there are so many


@triton.jit
def _of_groups(of_channels, CHANNELS: tl.constexpr):
    """The sum over each group, told to each of its channels."""
    sums = tl.sum(tl.reshape(of_channels, [CHANNELS // GROUP, GROUP]), axis=1)
    return tl.reshape(tl.broadcast_to(sums[:, None], [CHANNELS // GROUP, GROUP]), [CHANNELS])


@triton.jit
def _mine(places, width, CHANNELS: tl.constexpr):
    """Of this program: its picture, which part of the channels it has and their numbers, where what is told of them is, and where the
    picture's map begins."""
    picture, part = tl.program_id(0), tl.program_id(1)
    channels = part * CHANNELS + tl.arange(0, CHANNELS)
    return picture, part, channels, picture * width + channels, picture.to(tl.int64) * places * width


@triton.jit
def _look(first, start, channels, places, width, PLACES: tl.constexpr):
    """The places from `first` on, which of them there are, and where their numbers lie."""
    rows = first + tl.arange(0, PLACES)
    return rows, (rows < places)[:, None], start + rows[:, None] * width + channels[None, :]


@triton.jit
def _kept(seed, threshold, picture, rows, part, places, width, PLACES: tl.constexpr, CHANNELS: tl.constexpr):
    """Which numbers of a tile dropout leaves: a number's 16 random bits must reach the threshold.

    They are drawn eight at a time, and depend on the place of a number in the map alone. (Philox in 7 rounds: Salmon et al. 2011,
    "Parallel random numbers: as easy as 1, 2, 3", found it good from there on.)
    """
    eights = part * (CHANNELS // 8) + tl.arange(0, CHANNELS // 8)
    counter = (picture * places + rows)[:, None] * (width // 8) + eights[None, :]
    a, b, c, d = tl.randint4x(seed, counter, 7)
    low = tl.join(tl.join(a, b), tl.join(c, d))
    bits = tl.reshape(tl.join(low, low >> 16), [PLACES, CHANNELS])
    return (bits & 0xFFFF).to(tl.int32) >= threshold


@triton.jit
def _forward(
    x, bias, gain, gain_step, shift, shift_step, seed, y, mean, unit, places, width, threshold, larger, eps,
    BIAS: tl.constexpr, SILU: tl.constexpr, DROPS: tl.constexpr, PLACES: tl.constexpr, CHANNELS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    picture, part, channels, of_picture, start = _mine(places, width, CHANNELS)
    if DROPS:
        draws = tl.load(seed)
    # Sums of squares lose their digits where the mean is far from zero: from what is at the first place it mostly is not.
    off = tl.zeros([CHANNELS], tl.float32)
    if BIAS:
        off = tl.load(bias + channels)
    off -= _of_groups(tl.load(x + start + channels).to(tl.float32) + off, CHANNELS) / GROUP
    total = tl.zeros([PLACES, CHANNELS], tl.float32)
    squares = tl.zeros([PLACES, CHANNELS], tl.float32)
    for first in tl.range(0, places, PLACES, num_stages=STAGES):
        rows, there, at = _look(first, start, channels, places, width, PLACES)
        h = tl.where(there, tl.load(x + at, mask=there, other=0.0).to(tl.float32) + off[None, :], 0.0)
        total += h
        squares += h * h
    count = places * GROUP
    away = _of_groups(tl.sum(total, axis=0), CHANNELS) / count
    var = _of_groups(tl.sum(squares, axis=0), CHANNELS) / count - away * away
    middle = away - off  # of x as it was given, without its bias
    one = 1 / tl.sqrt(tl.maximum(var, 0.0) + eps)
    tl.store(mean + of_picture, middle)
    tl.store(unit + of_picture, one)
    a = tl.load(gain + picture * gain_step + channels)
    b = tl.load(shift + picture * shift_step + channels)
    for first in tl.range(0, places, PLACES, num_stages=STAGES):
        rows, there, at = _look(first, start, channels, places, width, PLACES)
        h = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
        h = (h - middle[None, :]) * one[None, :] * a[None, :] + b[None, :]
        if SILU:
            h = h * tl.sigmoid(h)
        if DROPS:
            kept = _kept(draws, threshold, picture, rows, part, places, width, PLACES, CHANNELS)
            h = tl.where(kept, h * larger, 0.0)
        tl.store(y + at, h.to(y.dtype.element_ty), mask=there)


@triton.jit
def _backward(
    x, gain, gain_step, shift, shift_step, seed, mean, unit, dy, dx, dbias, dgain, dshift, places, width, threshold, larger,
    BIAS: tl.constexpr, SILU: tl.constexpr, DROPS: tl.constexpr, PLACES: tl.constexpr, CHANNELS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    picture, part, channels, of_picture, start = _mine(places, width, CHANNELS)
    middle, one = tl.load(mean + of_picture), tl.load(unit + of_picture)
    a = tl.load(gain + picture * gain_step + channels)
    b = tl.load(shift + picture * shift_step + channels)
    if DROPS:
        draws = tl.load(seed)
    gains = tl.zeros([PLACES, CHANNELS], tl.float32)
    shifts = tl.zeros([PLACES, CHANNELS], tl.float32)
    biases = tl.zeros([PLACES, CHANNELS], tl.float32)
    # Twice the same: once for the sums over all places, then for each place with those sums.
    for again in tl.static_range(2):
        if again:
            of_gain, of_shift = tl.sum(gains, axis=0), tl.sum(shifts, axis=0)
            tl.store(dgain + of_picture, of_gain)
            tl.store(dshift + of_picture, of_shift)
            count = places * GROUP
            of_unit = _of_groups(a * of_gain, CHANNELS) / count
            of_mean = _of_groups(a * of_shift, CHANNELS) / count
        for first in tl.range(0, places, PLACES, num_stages=STAGES):
            rows, there, at = _look(first, start, channels, places, width, PLACES)
            h = (tl.load(x + at, mask=there, other=0.0).to(tl.float32) - middle[None, :]) * one[None, :]
            d = tl.load(dy + at, mask=there, other=0.0).to(tl.float32)
            if DROPS:
                kept = _kept(draws, threshold, picture, rows, part, places, width, PLACES, CHANNELS)
                d = tl.where(kept, d * larger, 0.0)
            if SILU:
                z = h * a[None, :] + b[None, :]
                s = tl.sigmoid(z)
                d = d * s * (1 + z * (1 - s))
            if again:
                d = one[None, :] * (a[None, :] * d - of_mean[None, :] - h * of_unit[None, :])
                tl.store(dx + at, d.to(dx.dtype.element_ty), mask=there)
                if BIAS:
                    biases += tl.where(there, d, 0.0)
            else:
                gains += d * h
                shifts += d
    if BIAS:
        tl.store(dbias + of_picture, tl.sum(biases, axis=0))


@torch.library.custom_op("ddpm_core::norm", mutates_args=())
def norm(
    x: Tensor,
    bias: Tensor | None,
    gain: Tensor,
    shift: Tensor,
    seed: Tensor | None,
    drop: float,
    silu: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, mean, 1 / deviation): y = silu(gain (x + bias - mean of that) / its standard deviation + shift), a share `drop` of it
    zero and the rest larger.

    x (B, C, H, W), C a multiple of eight; bias float32 (C,); gain and shift float32 (B, C), and so are the others that come back:
    the mean as x's own, and the same deviation for all channels of a group. `seed`, int64 (1,), starts the random numbers of
    dropout; None where nothing is dropped. y has x's type, and lies channels-last. Only y has gradients.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    y, mean, unit = _results(x, gain)
    with torch.cuda.device_of(x):  # Triton starts kernels on the present card, wherever the numbers are
        _forward[_programs(x)](
            x, bias, *_by_picture(gain), *_by_picture(shift), seed, y, mean, unit, *_shape(x), *_dropout(drop), eps,
            BIAS=bias is not None, SILU=silu, DROPS=seed is not None, **_tile(x),
        )  # fmt: skip
    return y, mean, unit


@torch.library.custom_op("ddpm_core::norm_backward", mutates_args=())
def norm_backward(
    dy: Tensor,
    x: Tensor,
    gain: Tensor,
    shift: Tensor,
    seed: Tensor | None,
    mean: Tensor,
    unit: Tensor,
    drop: float,
    silu: bool,
    biased: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, of the bias by each picture (B, C), of gain and of shift, from that of y and what `norm` was given and gave.

    That of the bias is not written where it is not `biased`.
    """
    x, dy = (part.contiguous(memory_format=torch.channels_last) for part in (x, dy))
    dx, dgain, dshift = _results(x, gain)
    dbias = torch.empty_like(dgain)
    with torch.cuda.device_of(x):
        _backward[_programs(x)](
            x, *_by_picture(gain), *_by_picture(shift), seed, mean, unit, dy, dx, dbias, dgain, dshift, *_shape(x), *_dropout(drop),
            BIAS=biased, SILU=silu, DROPS=seed is not None, **_tile(x),
        )  # fmt: skip
    return dx, dbias, dgain, dshift


def _results(x: Tensor, gain: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    like_x = torch.empty_like(x, memory_format=torch.channels_last)
    return like_x, gain.new_empty(gain.shape), gain.new_empty(gain.shape)


def _programs(x: Tensor) -> tuple[int, int]:
    return x.shape[0], x.shape[1] // _channels(x)


def _channels(x: Tensor) -> int:
    """Of a program: the largest power of two up to `WIDEST` that divides those of the map."""
    return min(WIDEST, x.shape[1] & -x.shape[1])


def _tile(x: Tensor) -> dict[str, int]:
    """What a program looks at at once, with how many threads, and how much of the next is on its way meanwhile."""
    channels, places = _channels(x), x.shape[2] * x.shape[3]
    at_once = min(TILE // channels, triton.next_power_of_2(places))
    stages = STAGES if places >= LONG * at_once else 1
    return {"PLACES": at_once, "CHANNELS": channels, "STAGES": stages, "num_warps": WARPS}


def _shape(x: Tensor) -> tuple[int, int]:
    """(places, channels) of a map."""
    return x.shape[2] * x.shape[3], x.shape[1]


def _by_picture(of_channels: Tensor) -> tuple[Tensor, int]:
    """(B, C), and how far its rows are apart: not at all where one row is told to all."""
    return of_channels, of_channels.stride(0)


def _dropout(drop: float) -> tuple[int, float]:
    """The threshold of 16 random bits, and what is multiplied by what is left."""
    return round(drop * 2**16), 1 / (1 - drop)


@norm.register_fake
def _(x: Tensor, bias: Tensor | None, gain: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _results(x, gain)


@norm_backward.register_fake
def _(dy: Tensor, x: Tensor, gain: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dx, dgain, dshift = _results(x, gain)
    return dx, torch.empty_like(dgain), dgain, dshift


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, bias, gain, shift, seed, ctx.drop, ctx.silu, _ = inputs
    _, mean, unit = output
    ctx.biased = bias is not None
    ctx.mark_non_differentiable(mean, unit)
    ctx.save_for_backward(x, gain, shift, seed, mean, unit)


def _gradients(ctx: Any, dy: Tensor, *_: Any) -> tuple:
    x, gain, shift, seed, mean, unit = ctx.saved_tensors
    dx, dbias, dgain, dshift = norm_backward(dy, x, gain, shift, seed, mean, unit, ctx.drop, ctx.silu, ctx.biased)
    return dx, dbias.sum(0) if ctx.biased else None, dgain, dshift, None, None, None, None


# (torch keeps compiled backward passes from run to run under the operators' names and arguments: where the formula above changes, so
# must one of those.)
norm.register_autograd(_gradients, setup_context=_keep)
