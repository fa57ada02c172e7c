import math

import pytest
import torch

from ddpm_core.config import LOSS_WEIGHTS
from ddpm_core.config import PREDICTIONS as CONFIG_PREDICTIONS
from ddpm_core.diffusion import objective, schedule
from ddpm_core.errors import UsageError

LEVELS = (-0.4, 1.2)


def levels(*steps: int, table: str = "linear"):
    t = torch.tensor(steps)
    return schedule.by_name(table).alpha(t), schedule.by_name(table).sigma(t)


def pictures_and_noise(count: int):
    generator = torch.Generator().manual_seed(0)
    # W = count: a level (B,) that broadcast along the wrong axis would not fail, only be wrong.
    return torch.rand(count, 3, 4, count, generator=generator) * 2 - 1, torch.randn(
        count, 3, 4, count, generator=generator
    )


@pytest.mark.parametrize("prediction", CONFIG_PREDICTIONS)
def test_the_inverse_undoes_the_target(prediction):
    x0, eps = pictures_and_noise(3)
    alpha, sigma = levels(0, 400, 900)
    x_t = objective.add_noise(x0, eps, alpha, sigma)
    target, to_x0, _ = objective.by_name(prediction)
    back = to_x0(x_t, target(x0, eps, alpha, sigma), alpha, sigma)
    assert back.dtype == torch.float32
    assert (back - x0).abs().max() < 1e-4
    assert (x_t - x0).abs().max() > 0.5  # there was something to undo


@pytest.mark.parametrize("prediction", CONFIG_PREDICTIONS)
def test_one_level_a_picture_equals_each_picture_alone(prediction):
    x0, eps = pictures_and_noise(4)
    alpha, sigma = levels(5, 200, 600, 990)
    target, to_x0, _ = objective.by_name(prediction)
    together = target(x0, eps, alpha, sigma)
    for i in range(4):
        alone = target(x0[i : i + 1], eps[i : i + 1], alpha[i].item(), sigma[i].item())
        assert torch.allclose(together[i : i + 1], alone, atol=1e-6)


def test_what_each_target_is_at_the_ends():
    x0, eps = pictures_and_noise(2)
    assert torch.equal(objective.eps_target(x0, eps, 0.6, 0.8), eps)
    assert torch.equal(objective.v_target(x0, eps, 1.0, 0.0), eps)
    assert torch.equal(objective.v_target(x0, eps, 0.0, 1.0), -x0)


@pytest.mark.parametrize("prediction", CONFIG_PREDICTIONS)
def test_min_snr_is_min_snr_of_the_x0_error(prediction):
    """loss_weight x (error of the output)^2 must be min(SNR, 5) x (error of the picture it stands for)^2."""
    alpha, sigma = levels(0, 100, 250, 500, 900)
    x_t, output = pictures_and_noise(5)
    _, to_x0, _ = objective.by_name(prediction)
    off_by = 0.01
    x0_error = (
        to_x0(x_t.double(), output.double() + off_by, alpha, sigma) - to_x0(x_t.double(), output.double(), alpha, sigma)
    )[:, 0, 0, 0]
    snr = alpha**2 / sigma**2
    assert (snr > 5).any() and (snr < 5).any()
    weight = objective.loss_weight("min-snr", prediction, alpha, sigma, LEVELS)
    assert torch.allclose(weight * off_by**2, snr.clamp(max=5) * x0_error**2, rtol=1e-6)


@pytest.mark.parametrize("prediction", CONFIG_PREDICTIONS)
def test_balanced_weights_are_those_of_the_edm_error_whatever_is_predicted(prediction):
    log_sigma = torch.linspace(-4, 3, 29, dtype=torch.float64)
    alpha, sigma = schedule.at(log_sigma)
    x_t, output = torch.randn(29, 1, 2, 2), torch.randn(29, 1, 2, 2)
    _, to_x0, _ = objective.by_name(prediction)
    off_by = 0.01
    x0_error = (
        to_x0(x_t.double(), output.double() + off_by, alpha, sigma) - to_x0(x_t.double(), output.double(), alpha, sigma)
    )[:, 0, 0, 0]
    z = (log_sigma - 0.3) / 0.9
    edm_error = (alpha**2 / sigma**2 + 1 / objective.SIGMA_DATA**2) * x0_error**2
    wanted = 2**0.5 * math.exp(0.46**2 / 4) * torch.exp(-((z + 0.46) ** 2) / 2) * edm_error
    weight = objective.loss_weight("balanced", prediction, alpha, sigma, (0.3, 0.9))
    assert torch.allclose(weight * off_by**2, wanted, rtol=1e-6)


def test_balanced_weights_are_one_in_the_mean_of_the_levels_that_are_shown():
    normal = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha, sigma = schedule.at(0.5 + 0.8 * normal)
    weight = objective.loss_weight("balanced", "edm", alpha, sigma, (0.5, 0.8))
    assert weight.mean().item() == pytest.approx(1, abs=0.002) and weight.max() < 1.5


def test_weights_are_finite_over_the_whole_table_and_simple_is_one():
    for table in ("cosine", "linear"):
        alpha, sigma = levels(*range(1000), table=table)
        for weight in LOSS_WEIGHTS:
            for prediction in CONFIG_PREDICTIONS:
                values = objective.loss_weight(weight, prediction, alpha, sigma, LEVELS)
                assert values.shape == (1000,) and (values > 0).all() and values.isfinite().all()
                assert weight == "balanced" or (values <= 1).all()
        assert (objective.loss_weight("simple", "v", alpha, sigma, LEVELS) == 1).all()


def test_denoiser_tells_the_network_the_level_and_answers_in_float32():
    told = []

    def network(x, log_sigma):
        told.append(log_sigma)
        return x.bfloat16()  # as under autocast

    x = torch.randn(3, 1, 4, 4)
    x0 = objective.denoiser(network, "v")(x, 0.6, 0.8)
    assert x0.dtype == torch.float32
    assert torch.allclose(x0, 0.6 * x - 0.8 * x.bfloat16().float())
    assert told[0].shape == (3,) and told[0].dtype == torch.float32
    assert torch.allclose(told[0], schedule.log_sigma(0.6, 0.8).expand(3))


@pytest.mark.parametrize("table", ["cosine", "linear"])
def test_edm_shows_and_wants_numbers_of_variance_one(table):
    """On Gaussian data of standard deviation 0.5; v's targets shrink to 0.5 where there is much noise."""
    generator = torch.Generator().manual_seed(1)
    x0 = 0.5 * torch.randn(6, 1, 200, 200, generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    alpha, sigma = levels(0, 200, 400, 600, 800, 999, table=table)
    shown = []
    x_t = objective.add_noise(x0, eps, alpha, sigma)
    objective.ask(lambda x, level: shown.append(x) or x, "edm", x_t, alpha, sigma)
    ones = pytest.approx([1.0] * 6, rel=0.02)
    assert shown[0].std(dim=(1, 2, 3)).tolist() == ones
    assert objective.edm_target(x0, eps, alpha, sigma).std(dim=(1, 2, 3)).tolist() == ones
    assert objective.v_target(x0, eps, alpha, sigma).std(dim=(1, 2, 3)).min() < 0.6


def test_edm_is_table_1_of_its_paper():
    """In the paper's own terms: D = c_skip y + c_out F with the network shown c_in y, for y = x_t / alpha, s = sigma / alpha."""
    x_t, output = pictures_and_noise(4)
    alpha, sigma = levels(5, 200, 600, 990)
    s, y = (sigma / alpha).view(-1, 1, 1, 1), x_t / alpha.view(-1, 1, 1, 1)
    c_skip, c_out = 0.25 / (s**2 + 0.25), s * 0.5 / (s**2 + 0.25).sqrt()
    assert torch.allclose(
        objective.edm_to_x0(x_t, output, alpha, sigma).double(), c_skip * y + c_out * output, atol=1e-5
    )
    c_in = objective.edm_input_scale(alpha, sigma).view(-1, 1, 1, 1) * x_t
    assert torch.allclose(c_in, y / (s**2 + 0.25).sqrt(), atol=1e-5)


@pytest.mark.parametrize("prediction", CONFIG_PREDICTIONS)
def test_sampling_shows_the_network_what_training_showed_it(prediction):
    x_t, _ = pictures_and_noise(3)
    shown = []
    network = lambda x, level: shown.append((x, level)) or x  # noqa: E731
    objective.ask(
        network, prediction, x_t, torch.full((3,), 0.6), torch.full((3,), 0.8)
    )  # as in training: (B,), float32
    objective.denoiser(network, prediction)(x_t, 0.6, 0.8)
    (x, level), (other_x, other_level) = shown
    assert torch.allclose(x, other_x, rtol=1e-6) and torch.allclose(level, other_level, rtol=1e-6)
    assert level.dtype == other_level.dtype == torch.float32
    assert torch.equal(other_x, x_t) == (prediction != "edm")


def test_unknown_names_are_refused():
    alpha, sigma = levels(3)
    with pytest.raises(UsageError, match="v, eps, edm"):
        objective.by_name("x0")
    with pytest.raises(UsageError, match="balanced, min-snr or simple"):
        objective.loss_weight("p2", "v", alpha, sigma, LEVELS)
    with pytest.raises(UsageError):
        objective.loss_weight("simple", "x0", alpha, sigma, LEVELS)


def test_classes_reach_the_network_and_only_where_they_are_given():
    x_t, _ = pictures_and_noise(3)
    told = []
    network = lambda x, level, **more: told.append(more) or x  # noqa: E731
    classes = torch.tensor([2, 0, -1])
    objective.ask(network, "v", x_t, torch.full((3,), 0.6), torch.full((3,), 0.8), classes=classes)
    objective.denoiser(network, "v", classes)(x_t, 0.6, 0.8)
    objective.denoiser(network, "v")(x_t, 0.6, 0.8)
    assert told[0]["classes"] is classes and told[1]["classes"] is classes and told[2] == {}
