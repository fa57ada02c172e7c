"""The norm in front of every layer, and what is always done with it: scale and shift, SiLU, dropout."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_core.network.convolution import Convolution


class Dropout(nn.Module):
    """While training, makes each number zero with probability `p` (0 to below 1) and the others larger, so that the mean stays.

    On a processor it draws one random byte a number, eight at once, where torch's own draws 64 bits for each; `p` is rounded to
    a multiple of 1/256 there, and to one of 1/65,536 in compiled networks on a card. (Measured on two cores: a tenth of the time of
    a `standard` step at 32 px went into torch's draws.)
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        dropped = round(256 * self.p)  # of 256 byte values
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        # The factor comes last: bfloat16 would round it itself by 0.3 %, and so the mean.
        return (x * kept.to(x.dtype)).mul_(256 / (256 - dropped))


class Norm(nn.GroupNorm):
    """Groups of eight channels at every width (`NetworkConfig` keeps widths multiples of eight)."""

    def __init__(self, width: int) -> None:
        super().__init__(width // 8, width)

    def forward(
        self,
        x: Tensor,
        scale: Tensor | None = None,
        shift: Tensor | None = None,
        *,
        silu: bool = False,
        dropout: Dropout | None = None,
    ) -> Tensor:
        """x (B, C, H, W) normalised; then, where they are given, times 1 + `scale` plus `shift`, (B, C) each, through SiLU, and
        through `dropout`."""
        if in_one_kernel(x):
            return self._in_one_kernel(x, None, scale, shift, silu, dropout)
        h = self._alone(x)
        if scale is not None and shift is not None:
            h = torch.addcmul(shift[:, :, None, None], h, scale[:, :, None, None] + 1)
        if silu:
            h = F.silu(h)
        return h if dropout is None else dropout(h)

    def after(
        self,
        convolution: Convolution,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        *,
        silu: bool,
        dropout: Dropout,
    ) -> Tensor:
        """The same of `convolution(x)`. The kernel adds its bias as well, which would be one more pass over the map."""
        if not in_one_kernel(x):
            return self(convolution(x), scale, shift, silu=silu, dropout=dropout)
        h = F.conv2d(x, convolution.weight, padding=1)
        return self._in_one_kernel(h, convolution.bias, scale, shift, silu, dropout)

    def _alone(self, x: Tensor) -> Tensor:
        """In mixed precision autocast would hand a card float32 copies of the maps here, and keep them. Its kernel sums in float32
        whatever it is given, so it is given the maps as they are: half of the memory, and of the time that moving it takes."""
        if x.device.type != "cuda":
            return super().forward(x)
        with torch.autocast("cuda", enabled=False):
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)

    def _in_one_kernel(
        self,
        x: Tensor,
        bias: Tensor | None,
        scale: Tensor | None,
        shift: Tensor | None,
        silu: bool,
        dropout: Dropout | None,
    ) -> Tensor:
        from ddpm_core.network import norm_kernels  # Triton, as compiling does too; it is not everywhere

        gain, offset = (weight.expand(len(x), -1) for weight in (self.weight, self.bias))
        if scale is not None and shift is not None:
            factor = scale.float() + 1
            gain, offset = gain * factor, offset * factor + shift.float()
        drop = dropout.p if dropout is not None and dropout.training else 0.0
        seed = torch.randint(2**31 - 1, (1,), device=x.device) if drop else None
        return norm_kernels.norm(x, bias, gain, offset, seed, drop, silu, self.eps)[0]


def in_one_kernel(x: Tensor) -> bool:
    """Whether all that is done here is one kernel forward and one backward: in compiled networks on a card."""
    return x.device.type == "cuda" and torch.compiler.is_compiling()
