"""The blocks' 3 x 3 convolutions, most of a training step; on most processors wide ones take a fourth of the multiplications.

Winograd's F(4 x 4, 3 x 3) as in Lavin and Gray 2015, arXiv 1509.09308, section 4: maps are cut into tiles d of 6 x 6 places that
overlap by two. With three small constant matrices, the 4 x 4 places of the result that belong to a tile are

    A^T ((G g G^T) * (B^T d B)) A

for one pair of channels and its kernel g; over the channels the product in the middle becomes one product of matrices for each
of the 36 numbers. So 16 places take 36 multiplications instead of 144, and the transforms are done once for each channel, not
for each pair. The backward pass is the same steps transposed. All of it is torch's own copies and products of matrices.

In float32, which is all that most laptops compute in, rounding errors are 4e-6 of a map's largest number, where a plain
convolution has 1e-6. (Measured on two cores with AVX2, forward and backward, beside oneDNN's convolutions: 128 maps of 192 channels
and 8 x 8 places 54 ms instead of 103, 32 maps of 128 channels and 16 x 16 places 27 ms instead of 45.)

In bfloat16 what goes into the products and what comes out is rounded, which is a noise of 1.7 % of a result, forward and backward,
where a plain convolution has 0.2 %. Learning does not mind: 300 steps of a network of 11 million weights on Fashion-MNIST, with
the same draws, ended at a mean loss of 0.2839 instead of 0.2846 (the last 100). (Measured on two cores with AVX-512: 32 maps of
320 channels and 16 x 16 places 60 ms instead of 97, of 8 x 8 places 20 ms instead of 25.)
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ddpm_core import devices

SIDE = 4  # of the part of the result that belongs to a tile
# With fewer channels the transforms of the tiles cost what the products gain, and with fewer tiles those of the kernels do.
# (Measured on two cores: 64 channels 0.8 to 1.3 times as fast, 96 with 128 tiles 1.05 to 1.3.) Transforms grow with the sum of
# the channels in and out and products with their product, so it is the harmonic mean that decides. (64 and 320, 107 in the mean:
# 1.15 to 1.4; 64 and 128, 85: 1.0 to 1.15.) In bfloat16 plain products take half the time, and transforms do not. (With 128 and 512
# tiles: 256 channels 1.2 and 1.45 times as fast, 320 1.2 and 1.6; on two cores with twice the peak 1.1 and 1.3, 1.1 and 1.2. There 192
# channels are 1.05 to 1.2 times as fast; what the rounding does where nearly all maps go this way is not measured.)
LEAST_CHANNELS = {torch.float32: 96, torch.bfloat16: 256}
LEAST_TILES = 128
# So many bytes of tiles at once: little beside a step's maps, and enough tiles that the products pay for their kernels.
# (Measured on two cores, the full-resolution network of benchmarks/throughput.py in float32: a step takes 0.94 of what it takes
# with a fourth of it, and as long with half as many. In bfloat16 320 channels of 16 x 16 places take 0.94 of what they take with half.)
AT_ONCE = 2**24

# The transforms look at polynomials at 0, 1/2, -1/2, 3/2, -3/2 and infinity. (The usual 0, 1, -1, 2, -2 round nearly twice as much.)
# Any two of B's numbers multiplied have no more digits than bfloat16 has, and of A's all but 27/8 and 27/8. Those of G have.
# fmt: off
B = torch.tensor([  # of tiles
    [9 / 16,       0,  -5 / 2,       0, 1, 0],
    [     0,  -9 / 8,  -9 / 4,   1 / 2, 1, 0],
    [     0,   9 / 8,  -9 / 4,  -1 / 2, 1, 0],
    [     0,  -3 / 8,  -1 / 4,   3 / 2, 1, 0],
    [     0,   3 / 8,  -1 / 4,  -3 / 2, 1, 0],
    [     0,  9 / 16,       0,  -5 / 2, 0, 1],
]).T
G = torch.tensor([  # of kernels
    [16 / 9,       0,      0],
    [    -1,  -1 / 2, -1 / 4],
    [    -1,   1 / 2, -1 / 4],
    [ 1 / 9,   1 / 6,  1 / 4],
    [ 1 / 9,  -1 / 6,  1 / 4],
    [     0,       0,      1],
])
A = torch.tensor([  # of the result
    [1,     1,      1,      1,       1, 0],
    [0, 1 / 2, -1 / 2,  3 / 2,  -3 / 2, 0],
    [0, 1 / 4,  1 / 4,  9 / 4,   9 / 4, 0],
    [0, 1 / 8, -1 / 8, 27 / 8, -27 / 8, 1],
]).T
# fmt: on


class Convolution(nn.Conv2d):
    """3 x 3, and as many places come out as go in. Where nothing is learned Winograd's way is not taken: with it a picture's bits
    would depend on what is drawn beside it."""

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__(channels, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype in LEAST_CHANNELS
        if learns and self.bias is not None and self.weight.dtype == torch.float32:
            kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
            if pays(kind, self.in_channels, self.out_channels, (len(x), *x.shape[2:])):
                return winograd(x.to(kind), self.weight, self.bias)
        return super().forward(x)


def pays(kind: torch.dtype, channels: int, channels_out: int, maps: tuple[int, int, int]) -> bool:
    """Whether `winograd` is faster than torch's own convolution, for maps (how many, H, W) of `kind`."""
    count, height, width = maps
    return (
        kind in LEAST_CHANNELS
        and 2 * channels * channels_out >= LEAST_CHANNELS[kind] * (channels + channels_out)
        and height % SIDE == width % SIDE == 0
        and count * height * width >= LEAST_TILES * SIDE**2
        and (kind == torch.float32 or not devices.has_matrix_units())  # with them nobody has measured it
    )


def winograd(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.conv2d(x, weight, bias, padding=1)` for x (batch, channels, H, W), float32 or bfloat16, H and W multiples of 4, and float32
    weight (channels_out, channels, 3, 3) and bias (channels_out,). The result has x's type, and is channels-last where x is."""
    return _Winograd.apply(x, weight, bias)


def workspace(kind: torch.dtype, channels: int, maps: tuple[int, int, int]) -> int:
    """Bytes that `winograd` takes for a moment, beside what goes in and comes out, with as many channels out as in: kernels, their
    gradients from one part of the maps and from all, and a part's tiles on their way."""
    count, height, width = maps
    a_picture = kind.itemsize * channels * 36 * (height // SIDE) * (width // SIDE)
    return 36 * channels**2 * 12 + 5 * min(count * a_picture, max(AT_ONCE, a_picture))


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        kernels, bias = _kernels(weight.to(x.dtype)).mT, bias.to(x.dtype)
        y = _like(x, len(weight))
        for part in _parts(x, len(weight)):
            _put_together(_transformed(A.T, torch.bmm(_tiles(x[part]), kernels).flatten(1)), bias, y[part])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        kernels = _kernels(weight.to(x.dtype))
        of_x, of_kernels = torch.empty_like(x), None
        for part in _parts(x, len(weight)):
            # Channels side by side first: to gather their places then is quick.
            of_places = _by_place(gradient[part].contiguous(memory_format=torch.channels_last)).reshape(16, -1)
            products = _transformed(A, of_places).view(36, -1, len(weight))
            del of_places
            of_part = torch.bmm(products.mT, _tiles(x[part]))
            # Parts add up in float32: the last transform makes each rounding ten times as large.
            of_kernels = of_part if of_kernels is None else of_kernels.float().add_(of_part)
            del of_part
            _add_up(_transformed(B, torch.bmm(products, kernels).flatten(1)), of_x[part])
        del kernels, products  # the last transform takes their room
        assert of_kernels is not None  # there is no map without a part
        return of_x, _of_weight(of_kernels), gradient.sum(dim=(0, 2, 3), dtype=torch.float32)


def _like(x: Tensor, channels: int) -> Tensor:
    """Maps of so many channels, in the layout of x."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(len(x), channels, *x.shape[2:], dtype=x.dtype, device=x.device, memory_format=layout)


def _parts(x: Tensor, channels_out: int) -> list[slice]:
    count, channels, height, width = x.shape
    a_picture = 36 * (height // SIDE) * (width // SIDE) * max(channels, channels_out)
    at_once = max(1, AT_ONCE // (a_picture * x.element_size()))
    return [slice(first, first + at_once) for first in range(0, count, at_once)]


def _transformed(matrix: Tensor, numbers: Tensor) -> Tensor:
    """matrix n matrix^T for each n of `numbers`, whose k x k numbers lie one below the other: (k k, N) -> (m m, N)."""
    m, k = matrix.shape
    if numbers.dtype == torch.bfloat16:
        # In one product, which rounds once.
        return torch.kron(matrix, matrix).to(numbers.dtype).mm(numbers)
    # Both as batches of small products, which MKL does side by side: one of 6 rows and many columns is slower.
    rows = torch.bmm(matrix.expand(k, m, k).contiguous(), numbers.view(k, k, -1).transpose(0, 1))
    return torch.bmm(matrix.expand(m, m, k).contiguous(), rows.transpose(0, 1)).view(m * m, -1)


def _kernels(weight: Tensor) -> Tensor:
    """(channels_out, channels, 3, 3) -> (36, channels_out, channels)"""
    numbers = weight.permute(2, 3, 0, 1).reshape(9, -1)
    if weight.dtype == torch.float32:
        return _transformed(G, numbers).view(36, *weight.shape[:2])
    return _in_two(G, weight.dtype).mm(numbers.repeat(2, 1)).view(36, *weight.shape[:2])


def _of_weight(of_kernels: Tensor) -> Tensor:
    """(36, channels_out, channels) -> float32 (channels_out, channels, 3, 3): the transform of kernels, transposed."""
    numbers = of_kernels.flatten(1)
    if numbers.dtype == torch.float32:
        of_weight = _transformed(G.T, numbers)
    else:
        first, rest = _in_two(G, numbers.dtype).mT.mm(numbers).chunk(2)
        of_weight = first.float().add_(rest)
    return of_weight.view(3, 3, *of_kernels.shape[1:]).permute(2, 3, 0, 1)


def _in_two(matrix: Tensor, kind: torch.dtype) -> Tensor:
    """The Kronecker square of a (m, k) matrix whose numbers have more digits than `kind`, as two such numbers each: (m m, 2 k k)."""
    squared = torch.kron(matrix, matrix)
    first = squared.to(kind)
    return torch.cat([first, (squared - first).to(kind)], dim=1)


def _tiles(x: Tensor) -> Tensor:
    """(n, channels, H, W) -> (36, n H/4 W/4, channels), transformed."""
    count, channels, height, width = x.shape
    padded = x.new_zeros(count, height + 2, width + 2, channels)
    padded[:, 1:-1, 1:-1] = x.permute(0, 2, 3, 1)
    picture, row, place, _ = padded.stride()
    shape = (6, 6, count, height // SIDE, width // SIDE, channels)
    tiles = padded.as_strided(shape, (row, place, picture, SIDE * row, SIDE * place, 1))
    return _transformed(B.T, tiles.reshape(36, -1)).view(36, -1, channels)


def _by_place(y: Tensor) -> Tensor:
    """(n, channels, H, W) -> a view of it: (4, 4, n, H/4, W/4, channels), the same place of all tiles side by side."""
    return y.unflatten(3, (-1, SIDE)).unflatten(2, (-1, SIDE)).permute(3, 5, 0, 2, 4, 1)


def _put_together(tiles: Tensor, bias: Tensor, y: Tensor) -> None:
    """Each place of y (n, channels, H, W) gets its number of `tiles` (16, n H/4 W/4 channels), and the bias of its channel.

    Summed where channels lie side by side and copied: straight into plain maps would take longer than both. (Measured on two cores,
    32 maps of 320 channels and 16 x 16 places in bfloat16: 5.9 ms, and 0.24 and 0.39 so.)
    """
    last = torch.channels_last
    sums = y if y.is_contiguous(memory_format=last) else torch.empty_like(y, memory_format=last)
    places = _by_place(sums)
    torch.add(tiles.view(places.shape), bias, out=places)
    if sums is not y:
        y.copy_(sums)


def _add_up(tiles: Tensor, x: Tensor) -> None:
    """Cutting into tiles, transposed: each place of x (n, channels, H, W) gets the sum of all that overlap there."""
    count, channels, height, width = x.shape
    down, across = height // SIDE, width // SIDE
    tiles = tiles.view(6, 6, count, down, across, channels).permute(2, 3, 0, 4, 1, 5)
    padded = x.new_zeros(count, down + 1, SIDE, across + 1, SIDE, channels)
    padded[:, :-1, :, :-1] = tiles[:, :, :SIDE, :, :SIDE]
    padded[:, 1:, :2, :-1] += tiles[:, :, SIDE:, :, :SIDE]
    padded[:, :-1, :, 1:, :2] += tiles[:, :, :SIDE, :, SIDE:]
    padded[:, 1:, :2, 1:, :2] += tiles[:, :, SIDE:, :, SIDE:]
    padded = padded.view(count, height + SIDE, width + SIDE, channels)
    x.copy_(padded[:, 1 : height + 1, 1 : width + 1].permute(0, 3, 1, 2))
