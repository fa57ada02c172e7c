"""The noise levels of a batch."""

import math

import pytest
import torch

from ddpm_core import seeds
from ddpm_core.config import NOISE_LEVELS
from ddpm_core.data.batches import Batches
from ddpm_core.diffusion import objective, schedule
from ddpm_core.training.loss import DiffusionLoss

CPU = torch.device("cpu")


@pytest.fixture
def draws(tiny, eight_pictures):
    """draws(count, batches, **settings) -> alpha, sigma (batches, count)."""

    def make(count, batches=1, **settings):
        config = tiny(**settings)
        loss = DiffusionLoss(config, Batches(eight_pictures.transpose(0, 3, 1, 2).copy(), 4, 0, CPU), CPU)
        pairs = [loss.noise_levels(count, seeds.generator(CPU, 0, "noise", step)) for step in range(batches)]
        return torch.stack([alpha for alpha, _ in pairs]), torch.stack([sigma for _, sigma in pairs])

    return make


@pytest.mark.parametrize("levels", NOISE_LEVELS)
def test_levels_are_inside_the_table(draws, levels):
    for table in ("cosine", "linear"):
        alpha, sigma = draws(
            64, 200, noise_levels=levels, loss_weight="simple", schedule=table, noise_mean=0.0, noise_std=5.0
        )
        assert alpha.dtype == sigma.dtype == torch.float32
        assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha))
        lowest, highest = schedule.by_name(table).log_range
        level = schedule.log_sigma(alpha, sigma)
        assert level.min() > lowest - 1e-3 and level.max() < highest + 1e-3


@pytest.mark.parametrize(
    ("settings", "mean", "std"), [({"size": 32}, -0.4, 1.2), ({"noise_mean": 0.3, "noise_std": 0.7}, 0.3, 0.7)]
)
def test_log_normal_levels_have_their_mean_and_deviation(draws, settings, mean, std):
    level = schedule.log_sigma(*draws(32, 500, noise_levels="log-normal", **settings))
    assert level.mean().item() == pytest.approx(mean, abs=0.01)
    assert level.std().item() == pytest.approx(std, rel=0.01)
    skewness = ((level - mean) / std).pow(3).mean().item()
    kurtosis = ((level - mean) / std).pow(4).mean().item()
    assert abs(skewness) < 0.1 and kurtosis == pytest.approx(3, abs=0.2)
    assert level.mean(dim=1).std() < 0.05 * std  # stratified: independent draws would give 0.18


def test_log_normal_levels_end_where_sampling_begins(draws, tiny):
    settings = {"noise_levels": "log-normal", "noise_std": 0.1}
    alpha, sigma = draws(4096, 200, **settings)
    most = tiny(**settings).sigma_max
    assert 0.8 * most < (sigma / alpha).max() <= most * 1.001
    table = schedule.cosine().levels(20, most)
    assert (table[0, 1] / table[0, 0]).item() == pytest.approx(most)


def test_uniform_levels_are_one_a_slice_and_independent_ones_are_not(draws):
    spread = {}
    for levels in ("uniform", "independent"):
        alpha, sigma = draws(32, 300, noise_levels=levels, loss_weight="simple")
        angle = torch.atan2(sigma, alpha)  # nearly even over the cosine table
        assert angle.mean().item() == pytest.approx(math.pi / 4, abs=0.02)
        spread[levels] = angle.mean(dim=1).std()
    assert spread["uniform"] < 0.1 * spread["independent"]


# ---- the mirror


def test_half_of_the_pictures_are_mirrored_and_nothing_else_changes(tiny, eight_pictures):
    batches = Batches(eight_pictures.transpose(0, 3, 1, 2).copy(), 64, 0, CPU)
    plain = DiffusionLoss(tiny(batch_size=64), batches, CPU)
    flipping = DiffusionLoss(tiny(batch_size=64, flip=True), batches, CPU)
    mirrored = []
    for step in range(30):
        one, other = plain.draw(step), flipping.draw(step)
        same = (one.x0 == other.x0).flatten(1).all(dim=1)
        assert torch.equal(other.x0, torch.where(same[:, None, None, None], one.x0, one.x0.flip(3)))
        assert torch.equal(one.eps, other.eps) and torch.equal(one.alpha, other.alpha) and other.labels is None
        mirrored.append(~same)
    # Squares, crosses and stripes are their own mirror images.
    own = torch.tensor([(picture == picture[:, ::-1]).all() for picture in eight_pictures])
    share = torch.stack(mirrored).float().mean().item() / (1 - own.float().mean().item())
    assert share == pytest.approx(0.5, abs=0.07)  # three standard errors of 480 pictures
    assert not torch.equal(mirrored[0], mirrored[1])
    assert torch.equal(flipping.draw(3).x0, DiffusionLoss(tiny(batch_size=64, flip=True), batches, CPU).draw(3).x0)


def test_levels_count_by_where_they_are_among_those_that_are_shown(tiny, eight_pictures):
    """The default's weights, with the mean and the deviation that the settings have."""
    config = tiny(noise_mean=1.0, noise_std=0.7)
    assert config.loss_weight == "balanced"
    loss = DiffusionLoss(config, Batches(eight_pictures.transpose(0, 3, 1, 2).copy(), 4, 0, CPU), CPU)
    drawn = loss.draw(0)

    def nothing(x, log_sigma):
        return torch.zeros_like(x)

    z = (schedule.log_sigma(drawn.alpha, drawn.sigma) - 1.0) / 0.7
    target = objective.by_name("edm").target(drawn.x0, drawn.eps, drawn.alpha, drawn.sigma).square().mean(dim=(1, 2, 3))
    wanted = (torch.exp(-((z + 0.46) ** 2) / 2) * 2**0.5 * math.exp(0.46**2 / 4) * target).mean()
    torch.testing.assert_close(loss.of(nothing, drawn), wanted)
