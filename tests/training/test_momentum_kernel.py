"""Muon's momentum as a kernel of a card beside torch's own operations."""

import pytest
import torch

from ddpm_core.training import muon
from tests.kernels import device_or_skip

DEVICE = device_or_skip()

from ddpm_core.training import momentum_kernel  # noqa: E402  (needs Triton)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize("shorten", [None, 0.25])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_three_steps_are_those_of_torchs_own_operations(layout, shorten):
    """Weights of several shapes, cut into parts and not, gradients in the weights' layout and in the other."""
    shapes = [(96, 16, 3, 3), (32, 16, 3, 3), (32, 16, 3, 3), (40, 72)]

    def steps(kernel):
        weights = [torch.nn.Parameter(random(*shape)) for shape in shapes]
        for weight in weights[:2]:
            weight.data = weight.data.contiguous(memory_format=layout)
        optimizer = muon.Muon(weights, lr=0.1, weight_decay=0.1)
        optimizer.kernel = kernel
        for step in range(3):
            for number, weight in enumerate(weights):
                weight.grad = 3 * random(*weight.shape, seed=10 * step + number)
            optimizer.step(shorten=None if shorten is None else torch.tensor(shorten, device=DEVICE))
        return weights, [optimizer.state[weight]["momentum"] for weight in weights]

    (weights, momenta), (expected, expected_momenta) = steps(momentum_kernel.ahead), steps(None)
    torch.testing.assert_close(momenta, expected_momenta)
    # A card multiplies Muon's matrices with 10 bits behind the point.
    torch.testing.assert_close(weights, expected, **({"atol": 1e-3, "rtol": 0} if DEVICE == "cuda" else {}))
    assert [weight.stride() for weight in weights] == [weight.stride() for weight in expected]


def test_where_kernels_cannot_be_made_or_are_not_wanted_it_goes_without(monkeypatch):
    device = torch.device(DEVICE)
    weights = [torch.nn.Parameter(random(8, 8))]
    monkeypatch.setattr(muon.devices, "compile_pays", lambda device: True)
    muon._kernel.cache_clear()
    assert muon._kernel(device) is momentum_kernel.ahead
    assert muon.Muon(weights, lr=0.1, compiles=False).kernel is None
    assert (muon.Muon(weights, lr=0.1).kernel is None) == (
        DEVICE == "cpu"
    )  # a processor's runs are not for the interpreter

    def broken(*_):
        raise RuntimeError("no compiler of C")

    muon._kernel.cache_clear()
    monkeypatch.setattr(momentum_kernel, "ahead", broken)
    assert muon._kernel(device) is None
    muon._kernel.cache_clear()
