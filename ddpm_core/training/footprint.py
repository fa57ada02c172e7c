"""What one pass through a network takes, without making it: weights, operations, and the memory of each moment.

The network runs on shapes alone (torch's "meta" device), forward and backward, and a ledger notes every block of memory when it
comes and when it goes. Which numbers are kept, and how long they are, differs between a processor and a card, with mixed
precision and without; `Autocast` does here what torch would do there, so that a laptop knows what a card will need.

(Measured with torch's own profiler on a processor, `cpu` at 32 px and `standard` at 32 and 64 px, float32 and bfloat16: the
largest sum of its blocks was 1.00 to 1.03 times what this says.)
"""

import functools
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.network.unet import UNet, attend_by_products
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training.muon import Muon

# So many pictures run through, as shapes cost nothing. It is prime, and no layer's width is a multiple of it: a block of memory
# whose numbers it divides grows with the pictures, any other does not.
PICTURES = 1009

aten = torch.ops.aten


@dataclass(frozen=True)
class Pass:
    """The memory of one pass, moment by moment, beside the weights: bytes that are there for any number of pictures, and bytes
    a picture. `gradients` is the part of `fixed` that stays as the weights' gradients."""

    fixed: np.ndarray  # int64 (moments,)
    each: np.ndarray
    gradients: np.ndarray

    def peak(self, pictures: int, gradients_there: int = 0) -> int:
        """Bytes at the worst moment of a pass of so many pictures.

        `gradients_there`: bytes of the gradients that micro-batches before this one have left, 0 for the first.
        """
        fixed = self.fixed - self.gradients + gradients_there if gradients_there else self.fixed
        return int((fixed + self.each * pictures).max())


@dataclass(frozen=True)
class Arithmetic:
    """On which kind of device, and whether 16-bit numbers are used where autocast allows them."""

    card: bool  # False: a processor
    half: bool
    graphs: bool = True  # whether such a card records steps; Apple's does not


CARD = Arithmetic(card=True, half=False)


@dataclass(frozen=True)
class Footprint:
    learning: Pass  # forward and backward
    drawing: Pass  # forward only, as in sampling


@functools.lru_cache(maxsize=64)
def footprint(network: NetworkConfig, side: int, channels: int, arithmetic: Arithmetic) -> Footprint:
    """The memory of passes of `network` with square pictures of `side` pixels. Takes about half a second, the first time."""
    with torch.device("meta"):
        model = UNet(network, channels)
        with Ledger(model.parameters()) as learning:
            target = torch.empty(PICTURES, channels, side, side)
            output = _forward(model, side, channels, arithmetic)
            (output.float() - target).square().mean(dim=(1, 2, 3)).mean().backward()
            del output, target
        model.eval().requires_grad_(False)
        with Ledger(model.parameters()) as drawing:
            _forward(model, side, channels, arithmetic)
    return Footprint(learning.result(), drawing.result())


@functools.lru_cache(maxsize=128)
def count(network: NetworkConfig, side: int, channels: int, arithmetic: Arithmetic = CARD) -> tuple[int, int, int]:
    """(weights, floating-point operations forward, bytes kept for the backward pass), all for one picture.

    A multiplication and an addition are two operations.
    """
    with torch.device("meta"):
        model = UNet(network, channels)
        with Ledger(model.parameters()) as ledger:
            output = _forward(model, side, channels, arithmetic)
        kept = ledger.result().each[-1]
        del output
    return sum(weight.numel() for weight in model.parameters()), ledger.flops // PICTURES, int(kept)


def _forward(model: UNet, side: int, channels: int, arithmetic: Arithmetic) -> Tensor:
    with Autocast(arithmetic):
        return model(torch.empty(PICTURES, channels, side, side), torch.empty(PICTURES))


@functools.lru_cache(maxsize=64)
def muon(network: NetworkConfig, side: int, channels: int) -> tuple[int, int]:
    """(numbers in the matrices that Muon moves, bytes that its step takes for a moment)."""
    with torch.device("meta"):
        model = UNet(network, channels)
        optimizer = optimizers.build(model, RunConfig(size=side, network=network, optimizer="muon"))
        mine = next((part for part in getattr(optimizer, "parts", ()) if isinstance(part, Muon)), None)
        if mine is None:
            return 0, 0
        weights = [weight for group in mine.param_groups for weight in group["params"]]
        for weight in weights:
            weight.grad = torch.empty_like(weight)
        mine.step()  # makes the momenta
        with Ledger(weights) as ledger:
            mine.step()
    return sum(weight.numel() for weight in weights), ledger.result().peak(0)


class Ledger(TorchDispatchMode):
    """Notes every block of memory that torch takes and gives back inside, and counts the operations.

    The blocks of `there`, the weights, were taken before.
    """

    def __init__(self, there: Iterable[Tensor]) -> None:
        super().__init__()
        self.there = {tensor.untyped_storage()._cdata for tensor in there}
        self.flops = 0
        self.entries: list[tuple[int, int]] = []  # (block, bytes): taken, or given back where the bytes are negative
        self.blocks: dict[int, tuple[int, int, Any]] = {}  # by address: (block, bytes, what tells its end)
        self.count = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        results = SHORT.get(operation, operation)(*args, **(kwargs or {}))
        work = flop_registry.get(operation._overloadpacket)
        if work is not None:
            self.flops += work(*args, **(kwargs or {}), out_val=results)
        for result in results if isinstance(results, tuple | list) else (results,):
            if isinstance(result, Tensor):
                self._note(result.untyped_storage())
        return results

    def _note(self, storage: torch.UntypedStorage) -> None:
        address = storage._cdata
        if address in self.blocks or address in self.there:
            return
        block, size = self.count, storage.nbytes()
        self.count += 1
        self.entries.append((block, size))

        def gone(_: Any) -> None:
            del self.blocks[address]
            self.entries.append((block, -size))

        self.blocks[address] = block, size, weakref.ref(storage, gone)

    def result(self) -> Pass:
        block, size = np.array(self.entries, dtype=np.int64).reshape(-1, 2).T
        each = np.where(size % PICTURES == 0, size // PICTURES, 0)
        fixed = np.where(size % PICTURES == 0, 0, size)
        stays = np.isin(block, [number for number, _, _ in self.blocks.values()])
        return Pass(fixed.cumsum(), each.cumsum(), np.where(stays, fixed, 0).cumsum())


# Half of the time would go into what torch does to learn these two's shapes, which are known.
SHORT: dict[Any, Callable] = {
    aten.native_group_norm.default: lambda x, weight, bias, n, c, places, groups, eps: (
        torch.empty_like(x),
        *(x.new_empty(n, groups, dtype=torch.float32) for _ in range(2)),
    ),
    aten.native_group_norm_backward.default: lambda gradient, x, *_: (
        torch.empty_like(x),
        *(x.new_empty(x.shape[1], dtype=torch.float32) for _ in range(2)),
    ),
}


class Autocast(TorchFunctionMode):
    """What torch.autocast, and torch's choice of kernels, do on the kind of device that there is not here.

    The lists are those of ATen/autocast_mode.h, as far as our network calls them.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.arithmetic = arithmetic

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        card, half = self.arithmetic.card, self.arithmetic.half
        if half and function in IN_HALF:
            args = _as(torch.bfloat16, args)
        if half and card and function is torch.addcmul and any(part.dtype == torch.float32 for part in args):
            args = _as(torch.float32, args)
        if function is F.scaled_dot_product_attention:
            if not card:
                return attend_by_products(*args)
            if half:
                return aten._scaled_dot_product_flash_attention(*args)[0]
            return aten._scaled_dot_product_efficient_attention(*args, None, True)[0]
        if function is F.dropout and card:
            return torch.native_dropout(args[0], kwargs["p"], True)[0]
        return function(*args, **kwargs)


IN_HALF = {torch.conv2d, F.linear, torch.bmm, torch.matmul, F.scaled_dot_product_attention}


def _as(kind: torch.dtype, args: tuple) -> tuple:
    return tuple(value.to(kind) if isinstance(value, Tensor) and value.is_floating_point() else value for value in args)
