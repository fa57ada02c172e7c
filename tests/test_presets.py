"""The preset table: its figures are counted again, the guide's sizes hold, and its rows fit together."""

import pytest

from ddpm_core import presets
from ddpm_core.config import NETWORKS, PRESETS, SIZES, preset
from ddpm_core.training import footprint
from ddpm_core.training.footprint import Arithmetic

GUIDE_MB = {32: 35, 64: 145, 128: 380, 256: 890}  # model files as float32


def test_every_preset_has_every_size():
    assert set(presets.TABLE) == {(name, size) for name in PRESETS for size in SIZES} == set(NETWORKS)


@pytest.mark.parametrize(("name", "size"), presets.TABLE)
def test_the_costs_in_the_table_are_counted_again(name, size):
    row = presets.TABLE[name, size]
    network = NETWORKS[name, size]
    weights, operations, full = footprint.count(network, size, 3, Arithmetic(card=True, half=False))
    mixed = footprint.count(network, size, 3, Arithmetic(card=True, half=True))[2]
    counted = (weights / 1e6, operations / 1e9, mixed / 1e6, full / 1e6)
    assert (row.weights, row.gflop, row.mixed, row.full) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("size", SIZES)
def test_the_standard_models_weigh_what_the_guide_says(size):
    megabytes = 4 * presets.TABLE["standard", size].weights
    if size == 96:  # which the guide leaves out
        assert 4 * presets.TABLE["standard", 64].weights < megabytes < 4 * presets.TABLE["standard", 128].weights
    else:
        assert megabytes == pytest.approx(GUIDE_MB[size], rel=0.15)


@pytest.mark.parametrize("size", SIZES)
def test_small_standard_and_large_are_steps_of_one_ladder(size):
    small, standard, large = (presets.TABLE[name, size] for name in ("small", "standard", "large"))
    assert 0.28 < small.weights / standard.weights < 0.4
    assert 2 <= large.weights / standard.weights <= 2.7
    assert small.lr > standard.lr > large.lr
    assert small.mixed < standard.mixed < large.mixed
    assert all(row.batch_size >= 16 for row in (small, standard, large))  # the guide's effective batch, at least


def test_a_preset_brings_its_recipe():
    config = preset("cifar10", 64, "small")
    assert (config.batch_size, config.lr, config.preset) == (32, 5e-4, "small")
    assert preset(size=32, preset="cpu").decay_steps == 2000 and preset(size=256, preset="cpu").decay_steps == 0
    assert preset(size=32, preset="classic").prediction == "eps"
