"""The distances against what they are by definition, and the encoders against their names."""

import importlib.util

import numpy as np
import pytest
import torch

from benchmarks import distance, encoder
from ddpm_core.errors import UsageError

# Looked for, not imported: importing it beside some torch takes the care that distance.py takes.
if importlib.util.find_spec("torchmetrics") is None:
    pytest.skip("distances need torchmetrics: pip install -r requirements-bench.txt", allow_module_level=True)


def rows(count: int, width: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_frechet_is_the_formula():
    """|m - n|^2 + tr(S + T - 2 (S T)^(1/2)), here for commuting covariances, where the root is known."""
    real = rows(400)
    judged = 3 * real + 2
    spread = torch.cov(real.T).trace().item()
    shift = (judged.mean(0) - real.mean(0)).square().sum().item()
    assert distance.frechet(judged, real) == pytest.approx(shift + spread * (9 + 1 - 2 * 3), rel=1e-9)


def test_nothing_is_farther_away_than_worse_and_the_error_bar_is_that_of_fresh_samples():
    real = rows(2000)
    assert distance.frechet(real, real) == pytest.approx(0, abs=1e-9)
    fresh = [distance.frechet(rows(300, seed=seed) + 0.5, real) for seed in range(1, 21)]
    error = distance.frechet_error(rows(300, seed=1) + 0.5, real)
    assert np.std(fresh, ddof=1) / 2 < error < np.std(fresh, ddof=1) * 2


def test_kernel_distance_is_about_zero_for_the_same_distribution_and_repeats():
    real = rows(600)
    same, error = distance.kernel_distance(rows(300, seed=1), real, subsets=10)
    far, _ = distance.kernel_distance(rows(300, seed=1) + 1, real, subsets=10)
    assert abs(same) < 5 * error + 1e-2 and far > 10 * abs(same)
    assert distance.kernel_distance(rows(300, seed=1), real, subsets=10) == (same, error)


def test_too_few_pictures_and_pictures_of_another_kind_are_one_line():
    with pytest.raises(UsageError, match="at least two"):
        distance.frechet(rows(1), rows(10))
    with pytest.raises(UsageError, match="uint8"):
        encoder.features(encoder.Encoder(1, 32, 10), np.zeros((2, 1, 32, 32), np.float32))


@pytest.mark.parametrize("path", sorted(encoder.FOLDER.glob("*.pt")), ids=lambda path: path.stem)
def test_a_committed_encoder_is_small_and_sees_that_noise_is_not_a_picture(path):
    dataset, size, mark = path.stem.rsplit("_", 2)
    found = encoder.load(dataset, int(size))
    assert path.stat().st_size < 1_000_000 and found.about["weights"] <= 300_000
    assert found.name == f"{dataset} encoder {mark}" and found.about["test_accuracy"] > 0.5
    draw = np.random.default_rng(0)
    shape = (64, found.about["channels"], int(size), int(size))
    noise, grey = draw.integers(0, 256, shape, dtype=np.uint8), draw.integers(100, 140, shape, dtype=np.uint8)
    judged = distance.Reference(found, grey).judge(noise, resamples=3)
    assert judged.frechet > 10 and mark in judged.name


def test_an_encoder_with_other_weights_is_refused(tmp_path):
    weights = {name: weight.half() for name, weight in encoder.Encoder(1, 32, 10).state_dict().items()}
    about = {"channels": 1, "size": 32, "classes": 10}
    torch.save({"weights": weights, "about": about}, tmp_path / f"toy_32_{encoder.hash8(weights)}.pt")
    assert encoder.load("toy", 32, tmp_path).about == about
    (tmp_path / f"toy_32_{encoder.hash8(weights)}.pt").rename(tmp_path / "toy_32_01234567.pt")
    with pytest.raises(UsageError, match="hash to"):
        encoder.load("toy", 32, tmp_path)
    with pytest.raises(UsageError, match="no encoder for toy at 64 px: choose toy at 32 px.$"):
        encoder.load("toy", 64, tmp_path)
    with pytest.raises(UsageError, match="python -m benchmarks.encoder fashion_mnist 64.$"):
        encoder.load("fashion_mnist", 64, tmp_path)
