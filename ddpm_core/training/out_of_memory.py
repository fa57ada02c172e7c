"""Where memory runs out, the same work again in smaller parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

from ddpm_core import devices
from ddpm_core.config import RunConfig

Result = TypeVar("Result")


def halving(
    work: Callable[[int], Result],
    at_once: int,
    device: torch.device,
    smaller: Callable[[int], None] = lambda at_once: None,
) -> Result:
    """`work(at_once)`, and where memory runs out again with half as many pictures at once, down to one.

    `smaller` hears each new number before it is tried, and clears away what the attempt has left. Raises what `work` raises,
    also the error of memory that runs out with a single picture.
    """
    while True:
        try:
            return work(at_once)
        except Exception as error:
            if at_once == 1 or not devices.is_out_of_memory(error):
                raise
        # Only out here is the error gone, and with it the frames that held the attempt's tensors.
        at_once = (at_once + 1) // 2
        smaller(at_once)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()


def too_small(config: RunConfig) -> str:
    """The line for a person where nothing is left to halve."""
    wider = "" if config.amp else ", or leave out --no-amp"
    return f"the device's memory is too small for this run at {config.size} px: choose a smaller size or preset{wider}."
