"""The blocks' convolutions: Winograd's way comes to what torch's own comes to, and is taken only where it should be."""

import pytest
import torch
from torch.nn import functional as F

from ddpm_core import devices
from ddpm_core.network import convolution
from ddpm_core.network.convolution import Convolution, winograd

LAST = torch.channels_last


def both_ways(batch, channels, channels_out, height, width, layout=torch.contiguous_format, kind=torch.float32):
    """(result and gradients of `winograd` for maps of `kind`, the same of torch's in float64)"""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, height, width, generator=draws).to(kind, memory_format=layout)
    weight = torch.randn(channels_out, channels, 3, 3, generator=draws).to(memory_format=layout)
    bias = torch.randn(channels_out, generator=draws)
    gradient = torch.randn(batch, channels_out, height, width, generator=draws)

    def run(convolve, of_maps, of_weights):
        given = [x.to(of_maps, copy=True), weight.to(of_weights, copy=True), bias.to(of_weights, copy=True)]
        y = convolve(*(tensor.requires_grad_() for tensor in given))
        y.backward(gradient.to(of_maps))
        return [y.detach(), *(tensor.grad for tensor in given)]

    exact = run(lambda *given: F.conv2d(*given, padding=1), torch.float64, torch.float64)
    return run(winograd, kind, torch.float32), exact


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
@pytest.mark.parametrize(
    ("batch", "channels", "channels_out", "height", "width"),
    [(1, 1, 1, 4, 4), (3, 7, 5, 8, 12), (2, 96, 96, 16, 16), (5, 96, 192, 8, 8), (128, 24, 8, 4, 4), (1, 3, 6, 64, 4)],
)
def test_result_and_gradients_are_those_of_a_plain_convolution(batch, channels, channels_out, height, width, layout):
    ours, exact = both_ways(batch, channels, channels_out, height, width, layout)
    for name, one, other in zip(("y", "x", "weight", "bias"), ours, exact, strict=True):
        assert (one - other).abs().max() < 2e-5 * other.abs().max(), name


@pytest.mark.parametrize(
    ("batch", "channels", "channels_out", "height", "width"),
    [(3, 7, 5, 8, 12), (2, 96, 96, 16, 16), (5, 96, 192, 8, 8), (128, 24, 8, 4, 4)],
)
@pytest.mark.parametrize("at_once", [1, 10**9])
def test_in_bfloat16_it_rounds_by_two_in_a_hundred(monkeypatch, batch, channels, channels_out, height, width, at_once):
    """However many parts the gradients of the weights are sums of."""
    monkeypatch.setattr(convolution, "AT_ONCE", at_once)
    ours, exact = both_ways(batch, channels, channels_out, height, width, LAST, torch.bfloat16)
    kinds = [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    assert [tensor.dtype for tensor in ours] == kinds
    for name, one, other in zip(("y", "x", "weight", "bias"), ours, exact, strict=True):
        assert (one - other).norm() < 0.025 * other.norm(), name


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("at_once", [1, 4 * 36 * 4 * 8 * 2, 10**9])
def test_so_many_at_once_change_nothing_but_rounding(monkeypatch, at_once, kind):
    monkeypatch.setattr(convolution, "AT_ONCE", at_once)  # one picture, two (of five; or four), all
    ours, exact = both_ways(5, 8, 8, 8, 8, kind=kind)
    for one, other in zip(ours, exact, strict=True):
        assert (one - other).norm() < (0.035 if kind == torch.bfloat16 else 1e-5) * other.norm()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_same_numbers_come_to_the_same_bits(kind):
    (one, _), (other, _) = both_ways(40, 96, 96, 8, 8, kind=kind), both_ways(40, 96, 96, 8, 8, kind=kind)
    assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
def test_the_result_follows_the_layout_of_what_goes_in(layout):
    x = torch.randn(2, 8, 8, 8).to(memory_format=layout).requires_grad_()
    y = winograd(x, torch.randn(6, 8, 3, 3), torch.zeros(6))
    (of_x,) = torch.autograd.grad(y, x, torch.randn(2, 6, 8, 8))
    assert y.is_contiguous(memory_format=layout) and of_x.is_contiguous(memory_format=layout)


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


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
def test_where_it_pays_it_is_taken_to_learn_and_not_to_draw(taken, layout):
    x, own = torch.randn(MAPS), layer(layout=layout)
    plain = F.conv2d(x, own.weight, own.bias, padding=1)
    with torch.no_grad():
        assert torch.equal(own(x), plain)
    with torch.inference_mode():
        assert torch.equal(own(x), plain)
    assert own.double()(x.double()).dtype == torch.float64
    own.float()
    assert taken == []
    learned = own(x)
    assert len(taken) == 1 and torch.allclose(learned, plain, atol=1e-4) and not torch.equal(learned, plain)


@pytest.mark.parametrize("matrix_units", [False, True])
def test_mixed_precision_takes_it_where_no_matrix_units_are(taken, monkeypatch, matrix_units):
    monkeypatch.setattr(devices, "has_matrix_units", lambda: matrix_units)
    few = 88  # channels, as processors without bfloat16 are slow here
    monkeypatch.setitem(convolution.LEAST_CHANNELS, torch.bfloat16, few)
    x, own = torch.randn(MAPS), layer()
    with torch.autocast("cpu", torch.bfloat16):
        layer(few - 8, few)(x[:, : few - 8])  # too narrow
        own.double()(x.double())
        own.float()
        with torch.no_grad():
            own(x)
    with torch.autocast("cpu", torch.float16):
        own(x)
    assert taken == []
    with torch.autocast("cpu", torch.bfloat16):
        learned = own(x)
    assert learned.dtype == torch.bfloat16 and len(taken) == (0 if matrix_units else 1)
    learned.square().sum().backward()
    assert own.weight.grad.dtype == own.bias.grad.dtype == torch.float32


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
