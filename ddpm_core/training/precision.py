"""The backward pass and the optimizer's step at half precision.

bfloat16 has float32's range and needs nothing. float16, for cards that have no bfloat16, ends at 65,504 and 6e-8: gradients
would vanish, so the loss is multiplied by a scale and the gradients are divided by it (Micikevicius et al. 2017, arXiv
1710.03740, section 3.2). Where they overflow nevertheless the step is left out and the scale halved; the scaler doubles it
again after 2,000 good steps.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from ddpm_core import devices
from ddpm_core.errors import StudioError
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training.optimizer import Optimizer

MOST_SKIPPED = 40  # in a row: by then the scale is less than a trillionth of what it was, and not the reason


class Precision:
    """What a run on `device` does with its gradients. Without float16 that is what one would do without this class."""

    def __init__(self, device: torch.device, amp: bool) -> None:
        half = devices.half(device, amp)
        self.scaler = torch.amp.GradScaler(device.type) if half is torch.float16 else None
        self._skipped = 0

    def backward(self, loss: Tensor) -> None:
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def step(self, optimizer: Optimizer, network: nn.Module, longest: float) -> Tensor | None:
        """Shortens the gradient to norm `longest`, makes the optimizer's step, and returns the norm that it had.

        None if the step was left out. Raises `StudioError` where that happens again and again.
        """
        if self.scaler is None:
            return optimizers.step(optimizer, network, longest)
        # Of the optimizer the scaler wants to know nothing but its weights, and several may be one.
        self.scaler.unscale_(cast(torch.optim.Optimizer, optimizer))
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), longest)
        # Here a step waits for the device: whether it counts must be known. (`scaler.step` asks the same.)
        good = bool(norm.isfinite())
        if good:
            optimizer.step()
        self.scaler.update()
        self._skipped = 0 if good else self._skipped + 1
        if self._skipped > MOST_SKIPPED:
            raise StudioError(
                "the gradients are not numbers any more in float16, however small the loss is scaled: the checkpoints before"
                " are untouched. Start again with a lower learning rate, or without mixed precision (--no-amp)."
            )
        return norm if good else None

    def state(self) -> dict[str, Any] | None:
        """The scale and how long it has been good, for the resume point."""
        return None if self.scaler is None else self.scaler.state_dict()

    def restore(self, state: dict[str, Any] | None) -> None:
        """The inverse of `state`; a run that goes on with other arithmetic begins with a scale of its own."""
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)
