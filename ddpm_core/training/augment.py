"""Changed copies of the pictures, for small data sets, and the labels that tell the network what was changed.

The non-leaking augmentation of EDM (Karras et al. 2022, arXiv 2206.00364, appendix F.2): the network hears the labels beside
the noise level. At sampling it hears zeros, "nothing was done", and so draws no turned or shifted pictures. Of the paper's
changes these are here: mirror, rotation (as quarter turns and as small angles), scaling and shift.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ddpm_core.config import AUGMENT_LABELS

MOST_ANGLE = math.radians(15)  # of a small rotation, either way; quarter turns, which blur nothing, do the rest
SCALE = 0.2  # standard deviation of the base-2 logarithm of the scaling factor (the paper's)
SHIFT = 1 / 8  # standard deviation of a shift, in sides of the picture (the paper's); whole pixels, which blur nothing


def change(x0: Tensor, probability: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """x0, float (B, C, S, S) in [-1, 1] -> the changed pictures, and labels (B, AUGMENT_LABELS): 0 where nothing was done.

    Each kind of change is made with `probability`, by itself. `draw` is a generator on x0's device. The labels, all about 1
    in size: [mirrored: 1, cos(angle) - 1, sin(angle), log2(factor) / SCALE, right, down], the last two in eighths of a side;
    the angle is clockwise. The changes follow one another in this order.
    """
    count, device = len(x0), x0.device
    made = (torch.rand(count, 5, generator=draw, device=device) < probability).to(x0.dtype)
    mirrored, turned, rotated, scaled, shifted = made.unbind(1)

    # Every number is drawn whether it is used or not, so that none depends on another's luck.
    sin_turn = turned * torch.randint(-1, 2, (count,), generator=draw, device=device)  # 0 for the half turn
    cos_turn = torch.where(turned > 0, sin_turn.abs() - 1, 1)
    angle = rotated * MOST_ANGLE * (2 * torch.rand(count, generator=draw, device=device) - 1)
    cos = cos_turn * angle.cos() - sin_turn * angle.sin()
    sin = sin_turn * angle.cos() + cos_turn * angle.sin()
    octaves = scaled * torch.randn(count, generator=draw, device=device)  # in units of SCALE
    deviates = torch.randn(count, 2, generator=draw, device=device)
    pixels = shifted[:, None] * (deviates * SHIFT * x0.shape[-1]).round()

    labels = torch.cat([torch.stack([mirrored, cos - 1, sin, octaves], dim=1), pixels / (SHIFT * x0.shape[-1])], dim=1)
    assert labels.shape[1] == AUGMENT_LABELS

    # All changes in one matrix, so that a picture is resampled once. It leads back: from a place of the changed picture to its
    # source. Places go from -1 to 1 across the picture.
    flip = 1 - 2 * mirrored
    smaller = (2 ** (-SCALE * octaves))[:, None, None]
    back = smaller * torch.stack([flip * cos, flip * sin, -sin, cos], dim=1).view(-1, 2, 2)
    # (Not as a matrix product: graphics cards may round those.)
    origin = -(back * (2 / x0.shape[-1] * pixels)[:, None]).sum(dim=2, keepdim=True)
    changed = _resampled(x0, back, origin)
    # Resampling would keep an unchanged picture only nearly. `where` makes no copy wait for the device, as an index would.
    return torch.where(labels.any(dim=1)[:, None, None, None], changed, x0), labels


def _resampled(x0: Tensor, back: Tensor, origin: Tensor) -> Tensor:
    """x0 where each place p, (x, y) in [-1, 1], shows what was at back p + origin; back (B, 2, 2), origin (B, 2, 1).

    Beyond its edges a picture goes on as its mirror image: a background stays what it is, and nothing is smeared. (Centres are
    computed here because those of `F.affine_grid` are rounded; these are exact for sides of 32, 64, 128 and 256, and so is a
    mirrored, turned or shifted picture.)
    """
    side = x0.shape[-1]
    centres = (2 * torch.arange(side, device=x0.device, dtype=x0.dtype) + 1) / side - 1
    sources = back[:, :, :1, None] * centres + back[:, :, 1:, None] * centres[:, None] + origin[..., None]
    return F.grid_sample(x0, sources.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=False)
