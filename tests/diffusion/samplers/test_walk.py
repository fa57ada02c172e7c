"""What every sampler keeps to: one call a step, the picture at the end, float32, clipping, noise by index."""

import pytest
import torch

from ddpm_core import config
from ddpm_core.diffusion import latents, objective, samplers, schedule
from ddpm_core.errors import UsageError

SHAPE = (3, 6, 6)
PREDICTIONS = ("v", "eps", "edm")
TABLES = ("linear", "cosine")


def walk(name, denoise, x, levels, **options):
    noise = latents.step_noise(range(len(x)), tuple(x.shape[1:]))
    more = {"noise": lambda index: noise(index).to(x.dtype)} if name in samplers.STOCHASTIC else {}
    return samplers.SAMPLERS[name](denoise, x, levels, **more, **options)


def test_the_names_are_those_that_forms_and_command_lines_know():
    assert tuple(samplers.SAMPLERS) == config.SAMPLERS
    assert set(samplers.STOCHASTIC) < set(config.SAMPLERS) and set(config.TWO_CALLS) < set(config.SAMPLERS)
    assert set(config.SPACING_OF) == set(config.SAMPLERS) and set(config.SPACING_OF.values()) <= set(config.SPACINGS)


def test_the_named_settings_can_be_asked_for():
    for name, steps in (("quality", range(20, 21)), ("fast", range(8, 11))):
        how = config.SETTINGS[name]
        assert samplers.calls(how["sampler"], how["steps"]) in steps
    assert config.SETTINGS["quality"] == {"sampler": config.SAMPLERS[0], "steps": config.DEFAULT_STEPS}


@pytest.mark.parametrize("name", samplers.SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 100])
def test_float32_walk_from_sigma_20000_stays_on_the_data(name, prediction, table, steps):
    """Data that is one single picture: whatever the steps, the walk must end there, in float32, with no nan and no drift."""
    picture = torch.linspace(-1, 1, 48).view(1, 3, 4, 4)

    def network(x, log_sigma):
        level = log_sigma.double().view(-1, 1, 1, 1)
        alpha, sigma = torch.sigmoid(-2 * level).sqrt(), torch.sigmoid(2 * level).sqrt()
        if prediction == "edm":  # it is shown x / n
            x = x / objective.edm_input_scale(alpha, sigma)
        eps = (x - alpha * picture) / sigma
        return objective.by_name(prediction).target(picture, eps, alpha.flatten(), sigma.flatten()).float()

    denoise = objective.denoiser(network, prediction)
    steps_made = list(walk(name, denoise, latents.noise([0, 1], (3, 4, 4)), schedule.by_name(table).levels(steps)))
    calls = samplers.calls(name, steps)
    assert [step.index for step in steps_made] == list(range(1, calls + 1))
    assert {step.steps for step in steps_made} == {calls}
    last = steps_made[-1]
    assert last.x.dtype == torch.float32
    assert torch.equal(last.x, last.x0)  # the last step goes to (1, 0) exactly
    assert all(step.x0.abs().max() <= 1 for step in steps_made)
    # One step of eps must divide by alpha = 5e-5 or 6e-3; everything else is exact to float32's rounding. (Heun's correction is
    # half the ratio of both levels times what the belief changed: that rounding, times 800, on its way through.)
    if (name, prediction, table) != ("heun", "eps", "cosine"):
        assert all(step.x.abs().max() < 6 for step in steps_made)
    assert (last.x - picture).abs().max() < (1e-2 if prediction == "eps" and steps == 1 else 1e-4)


@pytest.mark.parametrize("name", samplers.SAMPLERS)
def test_a_thousand_steps_and_the_finest_staircases_are_walked(name):
    """Steps in lambda of 0.002, and on the tables two that differ by 500."""
    picture = torch.full((1, 1, 2, 2), 0.25)
    for levels in (schedule.cosine().levels(1000), schedule.linear().levels(1000, 0.5, "logsnr")):
        *_, last = walk(name, lambda x, alpha, sigma: picture.expand_as(x), torch.ones(2, 1, 2, 2), levels)
        assert torch.equal(last.x, picture.expand(2, 1, 2, 2)) and last.index == samplers.calls(name, 1000)


@pytest.mark.parametrize("name", samplers.SAMPLERS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("spacing", config.SPACINGS)
def test_a_float32_state_is_as_good_as_float64(name, table, spacing):
    def wavy(x, alpha, sigma):
        return torch.tanh(1.5 * x - 0.7 * x.roll(1, dims=1) + 3 * alpha)

    for steps in (2, 7, 20):
        levels = schedule.by_name(table).levels(steps, 80.0, spacing)
        x = latents.noise([0, 1], SHAPE)
        single, double = (list(walk(name, wavy, start, levels))[-1].x for start in (x, x.double()))
        assert single.dtype == torch.float32 and double.dtype == torch.float64
        assert (single - double).abs().max() < 1e-4, steps


def test_clipping_holds_every_belief_but_never_the_state():
    wild = lambda x, alpha, sigma: 3 * x  # noqa: E731
    x = latents.noise([0, 1], SHAPE)
    for name in samplers.SAMPLERS:
        clipped = list(walk(name, wild, x, schedule.cosine().levels(8)))
        free = list(walk(name, wild, x, schedule.cosine().levels(8), clip=False))
        assert all(step.x0.abs().max() == 1 for step in clipped)
        assert clipped[0].x.abs().max() > 1 and free[-1].x.abs().max() > 1
        assert clipped[-1].x.abs().max() <= 1


def test_the_start_is_left_alone_and_nothing_runs_before_it_is_asked():
    calls = []

    def denoise(x, alpha, sigma):
        calls.append(alpha)
        return x * 0

    x = latents.noise([0], SHAPE)
    kept = x.clone()
    for name in samplers.SAMPLERS:
        calls.clear()
        steps = walk(name, denoise, x, schedule.linear().levels(10))
        assert not calls
        next(steps)
        assert len(calls) == 1  # one network call a step, so a caller can stop between any two
        list(steps)
        assert len(calls) == samplers.calls(name, 10) and torch.equal(x, kept)


def test_heun_asks_twice_a_step_and_shows_both():
    asked = []

    def denoise(x, alpha, sigma):
        asked.append(sigma)
        return x * 0.5

    levels = schedule.linear().levels(3)
    steps = list(samplers.heun(denoise, latents.noise([0], SHAPE), levels))
    sigmas = levels[:, 1].tolist()
    assert asked == [sigmas[0], sigmas[1], sigmas[1], sigmas[2], sigmas[2]]
    assert [(step.index, step.steps) for step in steps] == [(call, 5) for call in range(1, 6)]
    assert not torch.equal(steps[0].x, steps[1].x)  # Euler's guess, and the state at the same level corrected


def test_noise_is_drawn_by_step_index():
    for name, options in (("ddim", {"eta": 1.0}), ("ddpm", {}), ("dpm++2m-sde", {})):
        asked = []

        def noise(index, asked=asked):
            asked.append(index)
            return torch.zeros(1, *SHAPE)

        list(
            samplers.SAMPLERS[name](
                lambda x, a, s: x * 0, latents.noise([0], SHAPE), schedule.linear().levels(5), noise=noise, **options
            )
        )
        assert asked == [1, 2, 3, 4], name  # the last step lands on the picture and adds none


@pytest.mark.parametrize("side", [8, 32, 64])
def test_late_noise_comes_once_a_picture_of_16_pixels_shows_its_shapes(side):
    asked = []

    def noise(index):
        asked.append(index)
        return torch.zeros(1, 1, side, side)

    levels = schedule.cosine().levels(20, 177.0, "karras")
    list(samplers.dpmpp_2m_late(lambda x, a, s: x * 0, latents.noise([0], (1, side, side)), levels, noise=noise))
    ratio = (levels[:, 1] / levels[:, 0]).tolist()
    # Averaging side / 16 x side / 16 pixels divides the noise by side / 16.
    assert asked == [index for index in range(1, 20) if ratio[index - 1] / (side / 16) <= 1]
    assert 3 <= len(asked) < 15


def test_ddim_adds_as_much_noise_as_eta_says():
    """Eq. 16. Whatever eta is, there is as much noise as the level says; the larger it is, the less of it is the old noise."""
    levels, seeds = schedule.cosine().levels(6)[1:3], range(200)
    (alpha, sigma), (next_alpha, next_sigma) = levels.tolist()
    x, noise = sigma * latents.noise(seeds, SHAPE), latents.step_noise(seeds, SHAPE)
    nothing = lambda x, alpha, sigma: x * 0  # noqa: E731
    for eta in (0.0, 0.3, 0.6, 1.0):
        (step,) = samplers.ddim(nothing, x, levels, noise=noise, eta=eta)
        fresh = eta * next_sigma / sigma * (1 - (alpha / next_alpha) ** 2) ** 0.5
        assert step.x.std().item() == pytest.approx(next_sigma, rel=0.02)
        assert (step.x * noise(1)).mean().item() == pytest.approx(fresh, abs=0.02)
        assert (step.x * x / sigma).mean().item() == pytest.approx((next_sigma**2 - fresh**2) ** 0.5, abs=0.02)


def test_mistakes_are_named():
    with pytest.raises(UsageError, match=r"dpm\+\+2m, dpm\+\+3m"):
        samplers.by_name("rk45")
    x, levels = latents.noise([0], SHAPE), schedule.linear().levels(5)
    for sampler, options in ((samplers.ddim, {"eta": 0.5}), (samplers.ddpm, {}), (samplers.dpmpp_2m_late, {})):
        with pytest.raises(ValueError, match="noise"):
            next(sampler(lambda x, a, s: x, x, levels, **options))
