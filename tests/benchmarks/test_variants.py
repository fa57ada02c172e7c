"""The recipe's variants: each is a run that can begin, and the ways to train that the quality table compares."""

import numpy as np
import pytest
import torch

from benchmarks import methods
from benchmarks.variants import VARIANTS, settings_of
from ddpm_core.config import preset
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)


def test_each_variant_changes_something_that_a_run_can_have():
    base = preset("openmoji", 32, "cpu")
    changed = [preset("openmoji", 32, "cpu", **settings_of(key, base)) for key in VARIANTS]
    assert changed[0] == base and base not in changed[1:]
    assert len({str(config) for config in changed}) == len(changed) == len({title for title, _ in VARIANTS.values()})


def test_half_the_rate_is_half_of_each_preset_s():
    for name in ("cpu", "standard", "classic"):
        base = preset("openmoji", 64, name)
        assert settings_of("half-rate", base) == {"lr": base.lr / 2}
        assert settings_of("adamw-quarter-rate", base) == {"optimizer": "adamw", "lr": base.lr / 4}
    assert settings_of("patch-1", base) == VARIANTS["patch-1"][1]


@pytest.mark.parametrize("key", ["ours-cpu", "patch-1", "batch-16"])
def test_a_way_to_train_goes_a_step_and_draws(key):
    method = methods.make(key, IMAGES, "openmoji", 32, 0, CPU)
    assert method.batch_size == (16 if key == "batch-16" else 32) and method.name.startswith("ours, ")
    before = [weight.clone() for weight in method.state.network.parameters()]
    assert method.step(0.0).isfinite()
    assert any(not torch.equal(a, b) for a, b in zip(before, method.state.network.parameters(), strict=True))
    drawn = method.sample(3, 2)
    assert drawn.shape == (3, 3, 32, 32) and drawn.dtype == np.uint8


def test_ours_can_be_drawn_as_the_studio_draws(tmp_path):
    method = methods.make("ours-cpu", IMAGES, "openmoji", 32, 0, CPU)
    method.step(0.0)
    studio = method.sample_in_the_studio(3, 4)
    assert studio.shape == (3, 3, 32, 32) and not np.array_equal(studio, method.sample(3, 4))
    # Once this was another staircase than the studio's, with its sampler's name.
    method.state.save_model(tmp_path / "ddpm_best.pt", None)
    *_, last = Generator.load(tmp_path / "ddpm_best.pt", "cpu").sample(range(1_000_000, 1_000_003), 4)
    assert np.array_equal(studio.transpose(0, 2, 3, 1), last.pictures)


def test_a_way_that_there_is_not_is_one_line():
    with pytest.raises(
        UsageError, match="there is no method 'patch-3': choose from ours-cpu, .*patch-1, .*diffusers_tuned"
    ):
        methods.make("patch-3", IMAGES, "openmoji", 32, 0, CPU)
