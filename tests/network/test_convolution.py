"""The blocks' convolutions: Winograd's way comes to what torch's own comes to, and is taken only where it should be."""

import pytest
import torch
from torch.nn import functional as F

from ddpm_core.network import convolution
from ddpm_core.network.convolution import Convolution, winograd

LAST = torch.channels_last


def both_ways(batch, channels, channels_out, height, width, layout=torch.contiguous_format):
    """(result and gradients of `winograd`, the same of torch's in float64)"""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, height, width, generator=draws).to(memory_format=layout)
    weight = torch.randn(channels_out, channels, 3, 3, generator=draws).to(memory_format=layout)
    bias = torch.randn(channels_out, generator=draws)
    gradient = torch.randn(batch, channels_out, height, width, generator=draws)

    def run(convolve, kind):
        given = [tensor.to(kind, copy=True).requires_grad_() for tensor in (x, weight, bias)]
        y = convolve(*given)
        y.backward(gradient.to(kind))
        return [y.detach(), *(tensor.grad for tensor in given)]

    exact = run(lambda *given: F.conv2d(*given, padding=1), torch.float64)
    return run(winograd, torch.float32), exact


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize(
    ("batch", "channels", "channels_out", "height", "width"),
    [(1, 1, 1, 4, 4), (3, 7, 5, 8, 12), (2, 96, 96, 16, 16), (5, 96, 192, 8, 8), (128, 24, 8, 4, 4), (1, 3, 6, 64, 4)],
)
def test_result_and_gradients_are_those_of_a_plain_convolution(batch, channels, channels_out, height, width, layout):
    ours, exact = both_ways(batch, channels, channels_out, height, width, layout)
    for name, one, other in zip(("y", "x", "weight", "bias"), ours, exact, strict=True):
        assert (one - other).abs().max() < 2e-5 * other.abs().max(), name


@pytest.mark.parametrize("at_once", [1, 36 * 4 * 8 * 2, 10**9])
def test_so_many_at_once_change_nothing_but_rounding(monkeypatch, at_once):
    monkeypatch.setattr(convolution, "AT_ONCE", at_once)  # one picture, two (of five), all
    ours, exact = both_ways(5, 8, 8, 8, 8)
    for one, other in zip(ours, exact, strict=True):
        assert (one - other).abs().max() < 2e-5 * other.abs().max()


def test_the_same_numbers_come_to_the_same_bits():
    (one, _), (other, _) = both_ways(40, 96, 96, 8, 8), both_ways(40, 96, 96, 8, 8)
    assert all(map(torch.equal, one, other))


def test_the_result_follows_the_layout_that_it_wants():
    x = torch.randn(2, 8, 8, 8)
    assert winograd(x, torch.randn(8, 8, 3, 3), torch.zeros(8)).is_contiguous(memory_format=LAST)


def layer(channels=96, channels_out=96, layout=LAST):
    torch.manual_seed(0)
    return Convolution(channels, channels_out).to(memory_format=layout)


@pytest.fixture
def taken(monkeypatch):
    """How often Winograd's way is taken."""
    calls = []
    monkeypatch.setattr(convolution, "winograd", lambda *given: calls.append(given) or winograd(*given))
    return calls


MAPS = (32, 96, 8, 8)


@pytest.mark.parametrize(
    ("shape", "how"),
    [
        (MAPS, {"layout": torch.contiguous_format}),
        ((31, 96, 8, 8), {}),  # 124 tiles
        ((32, 88, 8, 8), {"channels": 88}),
        (MAPS, {"channels_out": 88}),
        ((64, 96, 6, 8), {}),
        ((64, 96, 8, 6), {}),
    ],
)
def test_where_it_does_not_pay_it_is_torchs_own(taken, shape, how):
    x, own = torch.randn(shape), layer(**how)
    assert torch.equal(own(x), F.conv2d(x, own.weight, own.bias, padding=1)) and taken == []


def test_where_it_pays_it_is_taken_to_learn_and_not_to_draw(taken):
    x, own = torch.randn(MAPS), layer()
    plain = F.conv2d(x, own.weight, own.bias, padding=1)
    with torch.no_grad():
        assert torch.equal(own(x), plain)
    with torch.inference_mode():
        assert torch.equal(own(x), plain)
    with torch.autocast("cpu", torch.bfloat16):
        assert own(x).dtype == torch.bfloat16
    assert own.double()(x.double()).dtype == torch.float64
    own.float()
    assert taken == []
    learned = own(x)
    assert len(taken) == 1 and torch.allclose(learned, plain, atol=1e-4) and not torch.equal(learned, plain)


def test_few_channels_on_one_side_are_made_up_for_by_many_on_the_other(taken):
    x = torch.randn(32, 72, 8, 8)
    layer(72, 143)(x)
    assert taken == []
    layer(72, 144)(x)  # 96 in the harmonic mean
    assert len(taken) == 1


def test_a_frozen_layer_hands_the_gradient_through(taken):
    x, own = torch.randn(MAPS, requires_grad=True), layer().requires_grad_(False)
    own(x).square().sum().backward()
    ours, x.grad = x.grad, None
    F.conv2d(x, own.weight, own.bias, padding=1).square().sum().backward()
    assert len(taken) == 1 and torch.allclose(ours, x.grad, rtol=1e-3, atol=1e-3)
