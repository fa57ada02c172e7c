"""The memory plan: its pieces add up, more needs more, and the guide's cards hold what the guide says."""

import dataclasses

import numpy as np
import pytest
import torch

from ddpm_core import devices
from ddpm_core.config import SIZES, NetworkConfig, RunConfig, preset
from ddpm_core.data import places
from ddpm_core.network import convolution
from ddpm_core.network.unet import UNet
from ddpm_core.training import memory, rehearsal
from ddpm_core.training.footprint import Arithmetic, Ledger, count
from ddpm_core.training.rehearsal import Rehearsal, measured_peak

CPU = torch.device("cpu")
MIXED, FULL = Arithmetic(card=True, half=True), Arithmetic(card=True, half=False)
PROCESSOR = Arithmetic(card=False, half=False)
GB = memory.GB
TOY = RunConfig("toy", 16, network=NetworkConfig(16, (1, 2), attention=()), batch_size=16, device="cpu")


def test_the_pieces_are_what_a_run_holds():
    config = preset(size=64, preset="standard")
    weights = 4 * count(config.network, 64, 3)[0]
    found = memory.needed(config, 3, 16, MIXED, pictures=1000)
    assert (found.weights, found.gradients, found.averages, found.pictures) == (weights, weights, 2 * weights, 1000)
    assert weights < found.optimizer < 1.1 * weights  # Muon's one moment for nearly all of them
    assert found.total == found.allocated + found.beside and found.of_steps == found.allocated - 1000
    adamw = memory.needed(dataclasses.replace(config, optimizer="adamw"), 3, 16, MIXED)
    assert adamw.optimizer == 2 * weights
    assert memory.needed(dataclasses.replace(config, snapshots=False), 3, 16, MIXED).averages == weights


def test_more_of_anything_needs_more():
    config = preset(size=64, preset="standard")
    sizes = [memory.needed(config, 3, pictures, MIXED).total for pictures in (16, 32, 48, 63)]
    assert sizes == sorted(set(sizes))
    assert memory.needed(config, 3, 32, FULL).total > memory.needed(config, 3, 32, MIXED).total
    larger = preset(size=64, preset="large", batch_size=64)
    assert memory.needed(larger, 3, 16, MIXED).total > memory.needed(config, 3, 16, MIXED).total


def test_the_highest_moment_is_named():
    config = preset(size=64, preset="standard")
    assert memory.needed(config, 3, 32, MIXED).highest == "step"
    assert memory.needed(config, 3, 1, MIXED).highest == "update"  # Muon's matrices, beside one picture
    assert memory.needed(preset(size=32, optimizer="adamw"), 3, 1, MIXED).highest == "grid"


def test_a_recording_leaves_less_for_a_grid():
    config = preset(size=64, preset="standard")
    recorded = memory.needed(config, 3, 64, MIXED)
    called = memory.needed(dataclasses.replace(config, compile=False), 3, 64, MIXED)
    grid = memory.needed(config, 3, 64, MIXED).allocated - memory.needed(config, 3, 64, MIXED, grid=False).allocated
    assert recorded.allocated == called.allocated + grid and grid > 0 and recorded.highest == "grid"
    in_parts = [memory.needed(one, 3, 32, MIXED) for one in (config, dataclasses.replace(config, compile=False))]
    assert in_parts[0] == in_parts[1]


@pytest.mark.parametrize(
    ("card", "size", "pictures"), [(12, 64, 16), (12, 128, 8), (24, 64, 32), (24, 128, 16), (6, 32, 32)]
)
@pytest.mark.parametrize("amp", [True, False])
def test_the_guides_cards_hold_the_guides_batches(card, size, pictures, amp):
    config = preset(size=size, preset="standard", amp=amp)
    found = memory.fit(config, 3, card * GB, Arithmetic(card=True, half=amp))
    assert found.verdict == "fits" and found.micro_batch >= min(pictures, config.batch_size)
    asked = memory.needed(config, 3, pictures, Arithmetic(card=True, half=amp))
    assert memory.verdict(asked.total, card * GB) == "fits"


def test_the_verdict_leaves_room():
    words = [memory.verdict(int(share * 12 * GB), 12 * GB) for share in (0.5, 0.84, 0.86, 0.94, 0.96, 2)]
    assert words == ["fits", "fits", "tight", "tight", "does not fit", "does not fit"]


def test_the_data_set_waits_on_a_card_where_there_is_room(monkeypatch):
    config = preset(size=64, preset="standard")
    small = memory.fit(config, 3, 12 * GB, MIXED, GB)
    assert small.memory.pictures == GB and small.verdict == "fits"
    assert memory.fit(config, 3, 12 * GB, MIXED, 40 * GB).memory.pictures == 0
    forced = dataclasses.replace(config, data_on="device")
    assert memory.fit(forced, 3, 12 * GB, MIXED, 40 * GB).verdict == "does not fit"
    assert memory.fit(dataclasses.replace(config, data_on="disk"), 3, 12 * GB, MIXED, GB).memory.pictures == 0
    # As it will be decided when the run starts.
    monkeypatch.setattr(places, "free_on", lambda device: 12 * GB)
    for bytes_ in (GB, 3 * GB, 4 * GB):
        there = places.choose(bytes_, torch.device("cuda")) == "device"
        assert there == bool(memory.on_card(config, bytes_, 12 * GB))


# ---- the smallest change


def test_nothing_must_change_where_it_fits():
    assert memory.smallest_change(preset(size=64, preset="standard"), 3, 12 * GB, MIXED) is None


def test_first_fewer_pictures_at_once():
    config = preset(size=128, preset="standard", batch_size=256, micro_batch=256)
    change = memory.smallest_change(config, 3, 12 * GB, MIXED)
    assert change is not None and list(change.settings) == ["micro_batch"]
    fits = dataclasses.replace(config, **change.settings)
    assert memory.fit(fits, 3, 12 * GB, MIXED).verdict == "fits"
    assert memory.fit(dataclasses.replace(fits, micro_batch=2 * fits.micro_batch), 3, 12 * GB, MIXED).verdict != "fits"
    assert change.words == f"--micro-batch {fits.micro_batch}"


def test_then_a_smaller_preset():
    change = memory.smallest_change(preset(size=256, preset="large"), 3, 12 * GB, MIXED)
    assert change == memory.Change({"preset": "standard"}, "--preset standard")
    change = memory.smallest_change(preset(size=256, preset="large"), 3, 4 * GB, MIXED)
    assert change == memory.Change({"preset": "small"}, "--preset small")


def test_then_a_smaller_size():
    needs = {size: memory.needed(preset(size=size), 3, 1, MIXED).total for size in (128, 256)}
    between = int(sum(needs.values()) / 2 / memory.FITS)
    assert needs[128] < 0.95 * needs[256]
    change = memory.smallest_change(preset(size=256), 3, between, MIXED)
    assert change == memory.Change({"size": 128}, "--size 128")
    assert memory.smallest_change(preset(size=256), 3, GB // 4, MIXED) is None


# ---- on this machine


def test_as_many_pictures_at_once_as_fit(monkeypatch):
    config = preset(size=64, preset="standard", device="cpu")
    found = []
    for gigabytes in (16, 3, 2, 1):
        monkeypatch.setattr(memory, "free", lambda device, gigabytes=gigabytes: gigabytes * GB)
        found.append(memory.micro_batch(config, 3, CPU))
    assert found[0] == config.batch_size and found == sorted(found, reverse=True) and found[-1] == 1
    assert all(config.batch_size % pictures == 0 for pictures in found)
    assert len(set(found)) >= 3


def test_the_settings_micro_batch_counts_more(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda device: 0)
    assert memory.micro_batch(dataclasses.replace(TOY, micro_batch=5), 3, CPU) == 5
    assert memory.micro_batch(dataclasses.replace(TOY, micro_batch=99), 3, CPU) == 16
    assert memory.micro_batch(dataclasses.replace(TOY, batch_size=1), 3, CPU) == 1


def test_a_batch_that_is_no_power_of_two_is_halved_too(monkeypatch):
    assert list(memory._choices(dataclasses.replace(TOY, batch_size=12))) == [12, 6, 3, 2, 1]


@pytest.mark.parametrize(
    ("gigabytes", "size", "name"), [(24, 256, "standard"), (6, 256, "small"), (6, 64, "standard"), (1, 256, "small")]
)
def test_the_largest_preset_that_a_card_can_work_with(monkeypatch, gigabytes, size, name):
    monkeypatch.setattr(memory, "free", lambda device: gigabytes * GB)
    monkeypatch.setattr(memory, "arithmetic", lambda device, amp: MIXED)
    assert memory.best_preset({"size": size}, torch.device("cuda")) == name


def test_a_processor_gets_its_own_preset():
    assert {memory.best_preset({"size": size}, CPU) for size in SIZES} == {"cpu"}


def test_what_is_free_on_a_card_counts_what_torch_holds_unused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 * GB, 8 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GB)
    assert memory.free(torch.device("cuda")) == 7 * GB + memory.ON_A_CARD.bytes


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    for name, text in {"max": "4000000", "current": "3000000", "stat": "anon 1\ninactive_file 500000\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(memory.room, "CGROUP", tmp_path)
    assert memory.free(CPU) == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free(CPU) > 1_500_000


def test_how_this_processor_computes():
    assert memory.arithmetic(CPU, amp=False) == Arithmetic(card=False, half=False)
    assert memory.arithmetic(CPU, amp=True) == Arithmetic(card=False, half=devices.bfloat16_pays(CPU))


def test_only_nvidias_cards_record_steps():
    config = preset(size=64, preset="standard")
    apple = memory.arithmetic(torch.device("mps"), amp=False)
    assert apple.card and not memory.recorded(config, apple) and memory.recorded(config, FULL)


@pytest.mark.parametrize("matrix_units", [False, True])
def test_what_winograds_way_takes_is_counted_where_it_is_taken(monkeypatch, matrix_units):
    monkeypatch.setattr(devices, "has_matrix_units", lambda: matrix_units)
    standard, cpu = preset(size=32, preset="standard"), preset(size=32)

    def more(config, micro_batch, half):
        kind = dataclasses.replace(PROCESSOR, half=half)
        found = memory.needed(config, 3, micro_batch, kind).allocated
        with monkeypatch.context() as without:
            without.setattr(convolution, "LEAST_CHANNELS", {})
            return found - memory.needed(config, 3, micro_batch, kind).allocated

    maps = (128, 4, 4)
    assert more(standard, 128, half=False) >= convolution.workspace(torch.float32, 288, maps) > 0
    assert more(cpu, 128, half=False) == convolution.workspace(torch.float32, 128, maps) > 0
    in_half = 0 if matrix_units else convolution.workspace(torch.bfloat16, 288, maps)
    assert more(standard, 128, half=True) == in_half
    assert more(standard, 64, half=True) == 0  # too few tiles,
    assert more(cpu, 128, half=True) == 0  # too few channels
    assert more(TOY, 16, half=False) == 0


@pytest.mark.parametrize(
    ("network", "size", "pictures"),
    [
        (NetworkConfig(16, (1, 2), attention=()), 16, 32),
        (NetworkConfig(16, (2, 1), patch=1, attention=()), 16, 8),
        (NetworkConfig(16, (1, 2), patch=2, attention=()), 24, 16),
        (NetworkConfig(16, (1,), patch=2, attention=()), 12, 64),
        (NetworkConfig(16, (1, 2), attention=()), 16, 7),
    ],
)
def test_plan_and_network_agree_where_winograds_way_is_taken(monkeypatch, network, size, pictures):
    monkeypatch.setattr(convolution, "LEAST_CHANNELS", {torch.float32: 16})
    calls, real = [], convolution.winograd
    monkeypatch.setattr(convolution, "winograd", lambda *given: calls.append(1) or real(*given))
    UNet(network, 3)(torch.randn(pictures, 3, size, size), torch.zeros(pictures))
    config = RunConfig("toy", size, network=network, device="cpu")
    assert bool(calls) == bool(memory.of_winograd(config, pictures, torch.float32))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("side", [4, 16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_winograds_way_takes_no_more_than_is_counted(monkeypatch, kind, parts, side, layout):
    """Forward, and backward, each beside what comes out of it (a weight's gradient is small, and comes when the rest has gone)."""
    count, channels = 6 * (16 // side) ** 2, 32  # as many tiles
    monkeypatch.setattr(convolution, "AT_ONCE", 36 * 16 * channels * kind.itemsize * 6 // parts)
    x = torch.randn(count, channels, side, side, dtype=kind).contiguous(memory_format=layout).requires_grad_()
    weight, bias = torch.randn(channels, channels, 3, 3, requires_grad=True), torch.randn(channels, requires_grad=True)
    with Ledger([x, weight, bias]) as forward:
        y = convolution.winograd(x, weight, bias)
    gradient = torch.ones_like(y)
    with Ledger([x, weight, bias, y, gradient]) as backward:
        y.backward(gradient)
    taken = [np.cumsum([size for _, size in ledger.entries]).max() - y.nbytes for ledger in (forward, backward)]
    counted = convolution.workspace(kind, channels, (count, side, side))
    assert counted / 2 < max(taken) < counted


# ---- against real steps


@pytest.mark.parametrize("snapshots", [True, False])
def test_a_rehearsal_holds_what_the_plan_counts(snapshots):
    config = dataclasses.replace(TOY, snapshots=snapshots)
    real = Rehearsal(config, 3, CPU)
    real.learn(2)
    networks = [real.network, *real.averages]
    held = sum(4 * weight.numel() for network in networks for weight in network.parameters())
    gradients = sum(4 * weight.grad.numel() for weight in real.network.parameters() if weight.grad is not None)
    before = [weight.clone() for weight in real.averages[0].parameters()]
    real.update()
    moments = sum(
        4 * value.numel()
        for part in real.optimizer.parts
        for of_weight in part.state.values()
        for value in of_weight.values()
        if isinstance(value, torch.Tensor) and value.ndim
    )
    found = memory.needed(config, 3, 16, PROCESSOR)
    assert (found.weights + found.averages, found.gradients) == (held, gradients)
    assert found.optimizer == pytest.approx(moments, rel=0.02)  # of biases of one number AdamW keeps two all the same
    assert any(not torch.equal(*pair) for pair in zip(before, real.averages[0].parameters(), strict=True))


def test_three_steps_are_measured_in_parts_where_the_batch_is_larger(monkeypatch):
    passes = []
    monkeypatch.setattr(Rehearsal, "learn", lambda self, pictures: passes.append(pictures))
    monkeypatch.setattr(Rehearsal, "update", lambda self: passes.append(0))
    monkeypatch.setattr(rehearsal, "_largest_so_far", lambda: 10**12)
    assert 0 < measured_peak(TOY, 3, 4, CPU, steps=2) < 10**12
    assert passes == [4, 4, 0, 4, 4, 0]
    measured_peak(TOY, 3, 16, CPU, steps=1)
    assert passes[6:] == [16, 0]
