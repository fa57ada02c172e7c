"""What a pass on shapes alone says, beside what torch really computes and keeps."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ddpm_core import devices
from ddpm_core.config import NETWORKS, NetworkConfig, RunConfig
from ddpm_core.network.unet import UNet
from ddpm_core.training import footprint
from ddpm_core.training.footprint import Arithmetic
from ddpm_core.training.muon import Muon

SMALL = NetworkConfig(width=32, multipliers=(1, 2), blocks=1, patch=2, attention=(1,), dropout=0.1)
PROCESSOR, CARD = Arithmetic(card=False, half=False), Arithmetic(card=True, half=False)


def really_kept(network: NetworkConfig, side: int, pictures: int, autocast) -> int:
    """Bytes that torch keeps for the backward pass of so many pictures, beside the weights and what has their shapes."""
    model = UNet(network, 3)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x, log_sigma = torch.randn(pictures, 3, side, side), torch.zeros(pictures)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        model(x, log_sigma)
    return sum(kept.values())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("network", [SMALL, NETWORKS["cpu", 32]], ids=["attention, dropout", "cpu"])
def test_what_is_kept_is_what_torch_keeps_on_a_processor(network, half):
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=half)
    each = really_kept(network, 32, 4, autocast) - really_kept(network, 32, 3, autocast)
    counted = footprint.count(network, 32, 3, Arithmetic(card=False, half=half))[2]
    assert counted == pytest.approx(each, rel=0.1)


def test_operations_and_weights_are_torchs_own_count():
    model = UNet(SMALL, 3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(2, 3, 32, 32), torch.zeros(2))
    parameters, flops, _ = footprint.count(SMALL, 32, 3)
    assert parameters == sum(weight.numel() for weight in model.parameters())
    assert 2 * flops == pytest.approx(counter.get_total_flops(), rel=0.001)


def test_all_that_stays_after_a_pass_are_the_gradients():
    found = footprint.footprint(SMALL, 32, 3, PROCESSOR)
    for one in (found.learning, found.drawing):
        assert one.each[-1] == 0
    assert found.learning.fixed[-1] == found.learning.gradients[-1] == 4 * footprint.count(SMALL, 32, 3)[0]
    assert found.drawing.fixed[-1] == 0


def test_memory_grows_with_the_pictures_and_with_gradients_that_are_there():
    one = footprint.footprint(SMALL, 32, 3, CARD)
    peaks = [one.learning.peak(pictures) for pictures in (1, 2, 4, 8, 16)]
    assert peaks == sorted(set(peaks))
    parameters, _, kept = footprint.count(SMALL, 32, 3)
    assert one.learning.peak(16) - one.learning.peak(15) >= kept
    assert one.learning.peak(16, 4 * parameters) >= one.learning.peak(16)
    assert one.drawing.peak(16) < one.learning.peak(16) / 2


def test_mixed_precision_halves_what_is_kept():
    kept = {
        (card, half): footprint.count(SMALL, 32, 3, Arithmetic(card, half))[2]
        for card in (False, True)
        for half in (False, True)
    }
    assert all(0.45 < kept[card, True] / kept[card, False] < 0.6 for card in (False, True))


def test_muons_part_and_what_its_step_takes():
    matrices, peak = footprint.muon(SMALL, 32, 3)
    from ddpm_core.training import optimizer

    built = optimizer.build(UNet(SMALL, 3), RunConfig(network=SMALL))
    muon = next(part for part in built.parts if isinstance(part, Muon))
    assert matrices == sum(weight.numel() for group in muon.param_groups for weight in group["params"])
    assert 4 * matrices < peak < 8 * 4 * matrices


def test_the_trace_leaves_torch_as_it_was():
    state = torch.get_rng_state()
    footprint.footprint.cache_clear()
    footprint.footprint(SMALL, 32, 1, CARD)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.ones(2).device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    with devices.autocast(torch.device("cpu"), amp=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
