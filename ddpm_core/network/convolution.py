"""The blocks' 3 x 3 convolutions, which are most of a training step; float32 maps on a processor take a fourth of the products.

Winograd's F(4 x 4, 3 x 3) as in Lavin and Gray 2015, arXiv 1509.09308, section 4: maps are cut into tiles d of 6 x 6 places that
overlap by two. With three small constant matrices, the 4 x 4 places of the result that belong to a tile are

    A^T ((G g G^T) * (B^T d B)) A

for one pair of channels and its kernel g; over the channels the product in the middle becomes one product of matrices for each
of the 36 numbers. So 16 places take 36 multiplications instead of 144, and the transforms are done once for each channel, not
for each pair. The backward pass is the same steps transposed. All of it is torch's own copies and products of matrices.

Rounding errors are 1e-5 of a map's largest number, where a plain convolution has 1e-6 and bfloat16 4e-3. Most processors of
laptops compute in float32 alone. (Measured on two cores with AVX2, forward and backward, beside oneDNN's convolutions: 128 maps
of 192 channels and 8 x 8 places 54 ms instead of 103, 32 maps of 128 channels and 16 x 16 places 27 ms instead of 45.)
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SIDE = 4  # of the part of the result that belongs to a tile
# With fewer channels the transforms of the tiles cost what the products gain, and with fewer tiles those of the kernels do.
# (Measured on two cores: 64 channels 0.8 to 1.3 times as fast, 96 with 128 tiles 1.05 to 1.3.) Transforms grow with the sum of
# the channels in and out and products with their product, so it is the harmonic mean that decides. (64 and 320, 107 in the mean:
# 1.15 to 1.4; 64 and 128, 85: 1.0 to 1.15.)
LEAST_CHANNELS = 96
LEAST_TILES = 128
# So many numbers of tiles at once, 8 MB: little beside a step's maps, and enough tiles that the products pay for their kernels.
# (Measured on two cores, the full-resolution network of benchmarks/throughput.py: a step takes 0.94 of what it
# takes with half as many, and as long with twice as many.)
AT_ONCE = 2**21

# fmt: off
B = torch.tensor([  # of tiles
    [4,  0, -5,  0, 1, 0],
    [0, -4, -4,  1, 1, 0],
    [0,  4, -4, -1, 1, 0],
    [0, -2, -1,  2, 1, 0],
    [0,  2, -1, -2, 1, 0],
    [0,  4,  0, -5, 0, 1],
], dtype=torch.float32).T
G = torch.tensor([  # of kernels
    [ 1 / 4,       0,      0],
    [-1 / 6,  -1 / 6, -1 / 6],
    [-1 / 6,   1 / 6, -1 / 6],
    [1 / 24,  1 / 12,  1 / 6],
    [1 / 24, -1 / 12,  1 / 6],
    [     0,       0,      1],
])
A = torch.tensor([  # of the result
    [1, 1,  1, 1,  1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1,  1, 4,  4, 0],
    [0, 1, -1, 8, -8, 1],
], dtype=torch.float32).T
# fmt: on


class Convolution(nn.Conv2d):
    """3 x 3, and as many places come out as go in. The state's layout decides how it is computed (training/trial.py): Winograd's
    way wants channels-last. Where nothing is learned it is not taken: a picture's bits depend on what is drawn beside it there."""

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__(channels, channels_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is not None and self._winograd_pays(x):
            return winograd(x, self.weight, self.bias)
        return super().forward(x)

    def _winograd_pays(self, x: Tensor) -> bool:
        count, _, height, width = x.shape
        return (
            x.device.type == "cpu"
            and x.dtype == torch.float32
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and self.weight.is_contiguous(memory_format=torch.channels_last)
            and 2 * self.in_channels * self.out_channels >= LEAST_CHANNELS * (self.in_channels + self.out_channels)
            and height % SIDE == width % SIDE == 0
            and count * height * width >= LEAST_TILES * SIDE**2
        )


def winograd(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.conv2d(x, weight, bias, padding=1)` for float32 x (batch, channels, H, W), H and W multiples of 4, weight
    (channels_out, channels, 3, 3) and bias (channels_out,). The result is channels-last; an x that is so is not copied."""
    return _Winograd.apply(x, weight, bias)


def workspace(channels: int, channels_out: int) -> int:
    """Bytes that `winograd` takes for a moment, beside what goes in and comes out: kernels, their gradients, and some tiles."""
    return 4 * (3 * 36 * channels * channels_out + 3 * AT_ONCE)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        x = x.permute(0, 2, 3, 1).contiguous()
        kernels = _kernels(weight)
        y = x.new_empty(*x.shape[:3], len(weight))
        for part in _parts(x, len(weight)):
            places = _by_place(y[part])
            products = torch.bmm(_tiles(x[part]), kernels)
            torch.add(_transformed(A.T, products.flatten(1)).view(places.shape), bias, out=places)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        x, gradient = (maps.permute(0, 2, 3, 1).contiguous() for maps in (x, gradient))
        kernels = _kernels(weight).mT
        of_x = torch.empty_like(x)
        of_kernels = torch.zeros_like(kernels.mT)
        for part in _parts(x, len(weight)):
            products = _transformed(A, _by_place(gradient[part]).reshape(16, -1)).view(36, -1, len(weight))
            of_kernels.baddbmm_(_tiles(x[part]).mT, products)
            _add_up(_transformed(B, torch.bmm(products, kernels).flatten(1)), of_x[part])
        of_weight = _transformed(G.T, of_kernels.flatten(1)).view(3, 3, *of_kernels.shape[1:]).permute(3, 2, 0, 1)
        return of_x.permute(0, 3, 1, 2), of_weight, gradient.sum(dim=(0, 1, 2))


def _parts(x: Tensor, channels_out: int) -> list[slice]:
    count, height, width, channels = x.shape
    a_picture = 36 * (height // SIDE) * (width // SIDE) * max(channels, channels_out)
    at_once = max(1, AT_ONCE // a_picture)
    return [slice(first, first + at_once) for first in range(0, count, at_once)]


def _transformed(matrix: Tensor, numbers: Tensor) -> Tensor:
    """matrix n matrix^T for each n of `numbers`, whose k x k numbers lie one below the other: (k k, N) -> (m m, N)."""
    # Both as batches of small products, which MKL does side by side: one of 6 rows and many columns is slower.
    m, k = matrix.shape
    rows = torch.bmm(matrix.expand(k, m, k).contiguous(), numbers.view(k, k, -1).transpose(0, 1))
    return torch.bmm(matrix.expand(m, m, k).contiguous(), rows.transpose(0, 1)).view(m * m, -1)


def _kernels(weight: Tensor) -> Tensor:
    """(channels_out, channels, 3, 3) -> (36, channels, channels_out)"""
    channels_out, channels = weight.shape[:2]
    return _transformed(G, weight.permute(2, 3, 1, 0).reshape(9, -1)).view(36, channels, channels_out)


def _tiles(x: Tensor) -> Tensor:
    """(n, H, W, channels) -> (36, n H/4 W/4, channels), transformed."""
    count, height, width, channels = x.shape
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    picture, row, place, _ = padded.stride()
    shape = (6, 6, count, height // SIDE, width // SIDE, channels)
    tiles = padded.as_strided(shape, (row, place, picture, SIDE * row, SIDE * place, 1))
    return _transformed(B.T, tiles.reshape(36, -1)).view(36, -1, channels)


def _by_place(y: Tensor) -> Tensor:
    """(n, H, W, channels) -> a view of it: (4, 4, n, H/4, W/4, channels), the same place of all tiles side by side."""
    count, height, width, channels = y.shape
    return y.view(count, height // SIDE, SIDE, width // SIDE, SIDE, channels).permute(2, 4, 0, 1, 3, 5)


def _add_up(tiles: Tensor, x: Tensor) -> None:
    """Cutting into tiles, transposed: each place of x (n, H, W, channels) gets the sum of all that overlap there."""
    count, height, width, channels = x.shape
    down, across = height // SIDE, width // SIDE
    tiles = tiles.view(6, 6, count, down, across, channels).permute(2, 3, 0, 4, 1, 5)
    padded = x.new_zeros(count, down + 1, SIDE, across + 1, SIDE, channels)
    padded[:, :-1, :, :-1] = tiles[:, :, :SIDE, :, :SIDE]
    padded[:, 1:, :2, :-1] += tiles[:, :, SIDE:, :, :SIDE]
    padded[:, :-1, :, 1:, :2] += tiles[:, :, :SIDE, :, SIDE:]
    padded[:, 1:, :2, 1:, :2] += tiles[:, :, SIDE:, :, SIDE:]
    x.copy_(padded.view(count, height + SIDE, width + SIDE, channels)[:, 1 : height + 1, 1 : width + 1])
