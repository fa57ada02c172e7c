"""From a picture to the noise that draws it: deterministic DDIM, walked upwards.

A step down asks the network at x and arrives at x'. Upwards x' is known and x is sought, so each step is an equation,
x = sigma / sigma' x' + (alpha - sigma / sigma' alpha') belief(x). Asking at x' instead (Song et al. 2020, arXiv
2010.02502, section 4.3) is wrong by as much as the belief changes within a step. Here the equation is solved by asking
again where the last answer pointed, with Anderson's acceleration, as Pan et al. 2023 do (AIDI, arXiv 2309.04907): plain
repetition diverges where sigma / alpha more than doubles in a step, as it does in the last steps of a short staircase.

A sampler that can be undone exactly (BDIA, arXiv 2307.10829; BELM, arXiv 2410.07273) would need a walk down of its own,
unlike that of every other picture; this one comes back close enough, see `invert`.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_core.diffusion.objective import Denoise
from ddpm_core.diffusion.samplers import Step


def invert(
    denoise: Denoise,
    x0: Tensor,
    levels: Tensor,
    *,
    refinements: int = 2,
    clip: bool = True,
) -> Iterator[Step]:
    """The walk of `samplers.ddim(denoise, x, levels, clip=clip)` upwards: from pictures to the noise that it draws them from.

    x0      (B, C, H, W) in [-1, 1]
    levels  the sampler's own, (steps + 1, 2) with falling noise; where the last row is not (1, 0), x0 is the state at
            that row
    Yields after every network call, (1 + refinements) steps of them; x is the state at the level being solved, and the
    last x is the noise, of level levels[0]. Holds a few tensors like x0, however many the steps. The same bits alone
    and in a batch.

    The noise of real pictures is not quite N(0, 1): `mixing.mix_inverted` mixes it. (Measured: eight pictures to noise
    and back, mean and worst PSNR, OpenMoji at 32 px after 1,700 training steps on a processor, `Schedule.levels` of 20,
    50 and 100 steps: with two refinements 61 and 55, 85 and 73, 102 and 89 dB; with none 36 and 16, 48 and 20, 56 and
    32. Sixteen pictures in 20 steps: the noise's standard deviation is 0.76, and 0.91 where the walk starts at alpha x0 +
    sigma noise instead of at alpha x0; but then the brightness of mixtures of four is 0.48 instead of 0.57, and that of the
    pictures is 0.55.)
    """
    rows = levels.double().flip(0).tolist()
    calls, index = (len(rows) - 1) * (1 + refinements), 0
    known, below = x0, x0  # the belief and the state one level below
    for (alpha, sigma), (next_alpha, next_sigma) in pairwise(rows):
        # Sought is the x with x = own x + kept + part belief(x).
        if sigma > 0:
            own, kept, part = 0.0, next_sigma / sigma * below, next_alpha - next_sigma / sigma * alpha
            x = kept + part * known
        else:  # the last step down gave the belief itself: correct x by what the belief lacks of the picture
            own, kept, part = 1.0, next_alpha * below, -next_alpha
            x = kept
        before: tuple[Tensor, Tensor] | None = None
        for _ in range(1 + refinements):
            index += 1
            known = denoise(x, next_alpha, next_sigma)
            known = known.clamp(-1.0, 1.0) if clip else known
            better = own * x + kept + part * known
            off = better - x
            x = better
            if before is not None:
                older, older_off = before
                x = better - _overshoot(off, older_off) * (better - older)
            before = better, off
            yield Step(index, calls, x, known)
        below = x


class ReconstructionError(NamedTuple):
    """How far pictures that went to noise and back are from what they were; each (B,), one number a picture."""

    psnr: Tensor  # peak signal to noise ratio in dB; 40 is hard to see, infinite means equal
    mean: Tensor  # mean absolute difference in steps of 8-bit colour, 0..255


def reconstruction_error(original: Tensor, again: Tensor) -> ReconstructionError:
    """original, again: (B, C, H, W) in [-1, 1]; what is outside is clipped, as on the screen."""
    difference = (original.clamp(-1.0, 1.0) - again.clamp(-1.0, 1.0)).double().flatten(1)
    return ReconstructionError(10 * torch.log10(4.0 / difference.square().mean(1)), 127.5 * difference.abs().mean(1))


def _overshoot(off: Tensor, older_off: Tensor) -> Tensor:
    """(B, 1, 1, 1): how much of the last move to take back, a picture: of all on the line, the point expected to be off least.

    Anderson's acceleration with a memory of one. Dot products picture by picture: the order in which a batch is summed
    may depend on its size.
    """
    change = (off - older_off).flatten(1)
    products = [(torch.dot(o, c), torch.dot(c, c)) for o, c in zip(off.flatten(1), change, strict=True)]
    parts = [with_change / of_change.clamp(min=1e-20) for with_change, of_change in products]
    return torch.stack(parts).clamp(-1.0, 1.0).view(-1, 1, 1, 1)
