"""A trained network made ready to draw: quick, and with the same bits for a picture whatever is drawn beside it.

The last bits of a sum depend on the order of adding, and torch's kernels choose that by the size of a batch. For a network that
only draws, on a processor, three habits are changed, which also makes it faster:

- A linear layer adds one row in another order than several. All pictures of a call have one noise level and mostly one class:
  the network is told them once, as one row, and adds what follows to every picture (`told_once`). Where each is told a mixture
  of classes of its own, the linear layers, which hear nothing else, take their rows one by one (`RowByRow`); convolutions,
  which are nearly all of the work, have all pictures at once.
- One small picture alone goes to another convolution than two. Here it is always oneDNN's.
- oneDNN arranges a convolution's weights anew at every call. Here they stay arranged.

What that achieves on a machine is looked at, not assumed (`alike`, `alike_told_apart`): other devices have other habits.
"""

import functools
import platform
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_core.network.unet import Join, UNet


def ready(network: UNet, device: torch.device) -> UNet:
    """The same network, on `device` and for drawing alone: it cannot be trained, nor its weights be changed any more."""
    network = network.eval().requires_grad_(False).to(device)
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__class__ = RowByRow
    if device.type == "cpu" and torch.backends.mkldnn.is_available() and platform.machine() in ("x86_64", "AMD64"):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        _arrange(network)
    return network


def told_once(network: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`network` with the first of a call's noise levels, and of what else it is told of each picture: all must be alike.

    But not the vectors of classes, float (B, ...): they are for one picture each, or a single one for all.
    """

    def once(x: Tensor, log_sigma: Tensor, labels: Tensor | None = None, classes: Tensor | None = None) -> Tensor:
        if classes is not None and not classes.is_floating_point():
            classes = classes[:1]
        return network(x, log_sigma[:1], labels if labels is None else labels[:1], classes)

    return once


_begins = threading.Lock()


def hands(count: int) -> ThreadPoolExecutor:
    """Threads that each compute on one core, for network calls side by side; the same ones whenever that many are asked for.

    A network as small as ours is drawn with faster like this than by all cores together at one call: they need not wait for each
    other after every layer. (Measured on two cores that other programs used too: 2.6 ms a picture instead of 7.)
    """
    with _begins:  # two at once would each take the other's one core for what was set before
        return _begun(count)


@functools.cache
def _begun(count: int) -> ThreadPoolExecutor:
    pool, together = ThreadPoolExecutor(count, "hand", initializer=_one_core), threading.Barrier(count)
    before = torch.get_num_threads()
    list(pool.map(lambda _: together.wait(), range(count)))  # now all of them are there
    torch.set_num_threads(before)  # what a thread sets for itself is also what threads begun later start with
    return pool


def _one_core() -> None:
    # The first question of a thread takes over what the last thread has set for itself; what is set after it stays. (Hands that
    # computed on two cores each left more threads behind than there are cores. Then OpenMP's threads no longer wait awake for
    # the next step, and training in this process was a third slower until its end.)
    torch.get_num_threads()
    torch.set_num_threads(1)


@torch.inference_mode()
def alike(network: UNet, shape: tuple[int, int, int], sizes: Sequence[int]) -> list[int]:
    """Those of `sizes`, largest first, in which a picture has the bits that it has in a batch of the largest one."""
    if len(sizes) == 1:
        return list(sizes)
    x, level = _probe(network, max(sizes), shape)
    whole = network(x, level)

    def same(size: int) -> bool:
        ends = slice(None, size), slice(-size, None)
        return all(torch.equal(network(x[part].clone(), level), whole[part]) for part in ends)

    return [size for size in sorted(sizes, reverse=True) if size == len(x) or same(size)]


@torch.inference_mode()
def alike_told_apart(network: UNet, shape: tuple[int, int, int], sizes: Sequence[int]) -> bool:
    """Whether a picture has the same bits, in a batch of any of these `sizes`, where all are told one vector for their class and
    where each is told its own. The network must know classes."""
    x, level = _probe(network, max(sizes), shape)
    told = torch.randn((2, network.classes.embedding_dim), generator=torch.Generator().manual_seed(1)).to(x.device)
    together = [network(x, level, classes=vector[None]) for vector in told]

    def same(size: int) -> bool:
        which = [row % 2 for row in range(size)]
        apart = network(x[:size].clone(), level, classes=told[which])
        return all(torch.equal(apart[row], together[one][row]) for row, one in enumerate(which))

    return all(map(same, sizes))


@torch.inference_mode()
def alike_by_hand(network: UNet, shape: tuple[int, int, int], sizes: Sequence[int], count: int) -> bool:
    """Whether a picture has the same bits when one of so many `hands` computes it, in a batch of any of these `sizes`, as when
    all cores compute the largest one: how a batch is shared out among cores can depend on its size, too."""
    x, level = _probe(network, max(sizes), shape)
    whole = network(x, level)

    def same() -> bool:
        with torch.inference_mode():
            return all(torch.equal(network(x[:size].clone(), level), whole[:size]) for size in sizes)

    return hands(count).submit(same).result()


def _probe(network: UNet, count: int, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    device = next(network.parameters()).device
    x = torch.randn((count, *shape), generator=torch.Generator().manual_seed(0))
    return x.to(device), torch.zeros(1, device=device)


class RowByRow(nn.Linear):
    """A linear layer that computes each row as if it were alone."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            return F.linear(x, self.weight, self.bias)
        return torch.cat([F.linear(row, self.weight, self.bias) for row in x.split(1)])


class ByOneDnn(nn.Conv2d):
    """A convolution by oneDNN, its weights arranged once, for the first batch it sees."""

    arranged: Tensor | None = None

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        how: list[Any] = [self.padding, self.stride, self.dilation, self.groups]
        if self.arranged is None:
            self.arranged = torch.ops.mkldnn._reorder_convolution_weight(weight.contiguous(), *how, list(x.shape))
        return torch.ops.mkldnn._convolution_pointwise(x, self.arranged, bias, *how, "none", [], "")


class TwoConvolutions(Join):
    """A `Join` whose two halves are convolutions of their own."""

    of_x: nn.Conv2d
    of_kept: nn.Conv2d

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        h = self.of_x(x)
        if h.shape[-1] < kept.shape[-1]:
            h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        return h + self.of_kept(kept)


def _arrange(network: nn.Module) -> None:
    """Gives modules that have a faster class here that class; their weights stay where they are."""
    for module in list(network.modules()):
        if type(module) is Join:
            module.__class__ = TwoConvolutions
            of_kept = module.mix.out_channels
            of_x = module.mix.in_channels - of_kept
            module.of_x, module.of_kept = nn.Conv2d(of_x, of_kept, 1, bias=False), nn.Conv2d(of_kept, of_kept, 1)
            halves = module.mix.weight.split((of_x, of_kept), dim=1)
            module.of_x.weight, module.of_kept.weight = (nn.Parameter(half, requires_grad=False) for half in halves)
            module.of_kept.bias = module.mix.bias
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.__class__ = ByOneDnn
