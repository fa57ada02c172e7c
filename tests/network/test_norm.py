"""The norm as kernels of a card beside torch's own, forward and backward; without a card Triton's interpreter runs them."""

import pytest
import torch
from torch.nn import functional as F

from ddpm_core.config import NetworkConfig
from ddpm_core.network import norm as norms
from ddpm_core.network.norm import Dropout, Norm
from ddpm_core.network.unet import UNet
from tests.kernels import device_or_skip

DEVICE = device_or_skip()
CARD = DEVICE == "cuda"

from ddpm_core.network import norm_kernels  # noqa: E402  (needs Triton)


def random(*shape, seed=0, mean=0.0):
    draw = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=draw) + mean).to(DEVICE)


def plain(x, bias, gain, shift, silu):
    """In float64, by torch's own operations."""
    x = x.double() + (0 if bias is None else bias.double()[:, None, None])
    h = F.group_norm(x, x.shape[1] // 8) * gain.double()[:, :, None, None] + shift.double()[:, :, None, None]
    return F.silu(h) if silu else h


def off(one, other):
    return ((one.double() - other).norm() / other.norm()).item()


# Widths that 8, 16 and 32 divide; maps that fill a tile, do not, and take several or many; means far from zero; any layout.
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # the interpreter's, of a sigmoid far from zero
@pytest.mark.parametrize(
    ("shape", "mean"),
    [((2, 24, 6, 4), 0), ((3, 48, 1, 1), 0), ((2, 32, 12, 12), 1000), ((1, 96, 16, 16), -3), ((1, 32, 40, 33), 1)],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("biased", "silu"), [(False, True), (True, False)])
def test_the_kernels_do_what_torch_does(shape, mean, silu, layout, biased):
    x = random(*shape, mean=mean).contiguous(memory_format=layout).requires_grad_()
    bias = random(shape[1], seed=4).requires_grad_() if biased else None
    gain, shift = (random(*shape[:2], seed=seed).requires_grad_() for seed in (1, 2))
    y, *_ = norm_kernels.norm(x, bias, gain, shift, None, 0.0, silu, 1e-5)
    expected = plain(x, bias, gain, shift, silu)
    assert y.is_contiguous(memory_format=torch.channels_last)
    exact = 1e-3 if mean == 1000 else 1e-6  # there float32 has 1e-4 between two numbers
    assert off(y, expected) < exact
    weight = random(*shape, seed=3)
    asked = (x, gain, shift, *((bias,) if biased else ()))
    ours = torch.autograd.grad((y * weight).sum(), asked)
    theirs = torch.autograd.grad((expected * weight).sum(), asked)
    for one, other in zip(ours, theirs, strict=True):
        if shape[2:] == (1, 1) and one is ours[0]:
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
        else:
            assert off(one, other.double()) < 10 * exact


def test_what_all_pictures_are_told_learns_from_all():
    x, (gain, shift) = random(3, 24, 4, 4), (random(24, seed=seed).requires_grad_() for seed in (1, 2))
    told = [part.expand(3, -1) for part in (gain, shift)]
    weight = random(*x.shape, seed=3)
    y, expected = norm_kernels.norm(x, None, *told, None, 0.0, True, 1e-5)[0], plain(x, None, *told, True)
    assert off(y, expected) < 1e-6
    ours, theirs = (torch.autograd.grad((part * weight).sum(), (gain, shift)) for part in (y, expected))
    for one, other in zip(ours, theirs, strict=True):
        assert off(one, other.double()) < 1e-5


def test_bfloat16_stays_so_and_is_as_near_as_its_digits():
    x, (gain, shift) = random(2, 64, 8, 8), (random(2, 64, seed=seed) for seed in (1, 2))
    y, mean, unit = norm_kernels.norm(x.bfloat16(), None, gain, shift, None, 0.0, True, 1e-5)
    assert (y.dtype, mean.dtype, unit.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert off(y, plain(x.bfloat16(), None, gain, shift, True)) < 4e-3


@pytest.mark.parametrize("shape", [(2, 64, 16, 16), (3, 24, 5, 5), (1, 32, 24, 24)])
def test_dropout_drops_its_share_anew_for_each_seed_and_the_gradient_knows_which(shape):
    x, (gain, shift) = random(*shape).requires_grad_(), (random(*shape[:2], seed=seed) for seed in (1, 2))
    seeds = [torch.tensor([number], device=DEVICE) for number in (5, 6)]
    y, again, other = (
        norm_kernels.norm(x, None, gain, shift, seed, 0.25, True, 1e-5)[0] for seed in (seeds[0], *seeds)
    )
    kept = y != 0
    assert torch.equal(y, again) and not torch.equal(y, other)
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.04)
    eights = kept.permute(0, 2, 3, 1).reshape(-1, 8).float()  # as many as are drawn at once
    likeness = torch.corrcoef(eights.T) - torch.eye(8, device=DEVICE)
    assert likeness.abs().max() < 5 / len(eights) ** 0.5
    blocks = [*kept.permute(0, 2, 3, 1).reshape(-1, shape[3], shape[1])]  # a row of a map each
    assert len({tuple(block.flatten().tolist()) for block in blocks}) == len(blocks)
    assert shape[1] < 64 or not torch.equal(kept[:, :32], kept[:, 32:64])
    expected = plain(x, None, gain, shift, True) * kept / 0.75
    assert off(y, expected) < 1e-6
    weight = random(*shape, seed=3)
    (ours,), (theirs,) = (torch.autograd.grad((part * weight).sum(), x) for part in (y, expected))
    assert off(ours, theirs.double()) < 1e-5


def test_a_compiled_norm_does_what_the_plain_one_does():
    """Traced as torch.compile does it; with what a block asks of it, and after training without dropout."""
    norm, dropout = Norm(24).to(DEVICE), Dropout(0.5)
    for weight in norm.parameters():
        weight.data.normal_()
    x, scale, shift = random(2, 24, 4, 4), random(2, 24, seed=1), random(2, 24, seed=2)
    torch._dynamo.reset()
    compiled = torch.compile(norm._in_one_kernel, backend="aot_eager", fullgraph=True)
    dropout.eval()
    expected = norm(x, scale, shift, silu=True, dropout=dropout)
    torch.testing.assert_close(compiled(x, None, scale, shift, True, dropout), expected)
    dropout.train()
    dropped = compiled(x, None, scale, shift, True, dropout) == 0
    assert 0.3 < dropped.float().mean().item() < 0.7


def test_a_compiled_network_says_and_learns_what_the_plain_one_does(monkeypatch):
    """All of its norms, the convolutions' biases among what they take over."""
    monkeypatch.setattr(norms, "in_one_kernel", lambda x: torch.compiler.is_compiling())
    network = UNet(NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, attention=(1,), dropout=0.0), 3)
    for number, weight in enumerate(network.parameters()):  # many begin as zeros
        weight.data = 0.2 * random(*weight.shape, seed=number).cpu()
    network.to(DEVICE, memory_format=torch.channels_last)
    x, level, weights = random(2, 3, 16, 16), random(2, seed=1), list(network.parameters())
    torch._dynamo.reset()
    told, learned = [], []
    for say in (network, torch.compile(network, backend="aot_eager", fullgraph=True)):
        told.append(say(x, level))
        learned.append(torch.autograd.grad((told[-1] * random(*x.shape, seed=2)).sum(), weights))
    exact = 1e-2 if CARD else 1e-4  # a card's convolutions have 10 bits behind the point
    assert off(told[1], told[0].double()) < exact
    assert all(off(one, other.double()) < 3 * exact for one, other in zip(*reversed(learned), strict=True))
