import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from ddpm_core.config import SCHEDULES as CONFIG_SCHEDULES
from ddpm_core.config import SPACINGS
from ddpm_core.diffusion import schedule
from ddpm_core.errors import UsageError

# diffusers calls numpy in a way that numpy 2 will end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
DIFFUSERS = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
# Where diffusers counts one step too many: np.arange(1000, 0, -1000 / 61) has 62 entries, and the last one rounds to
# t = -1, a step the network was never trained on. We stop at the number asked for.
DIFFUSERS_STEPS_TOO_MANY = {61, 103, 121, 122}


@pytest.mark.parametrize("name", DIFFUSERS)
def test_tables_are_those_of_diffusers(name):
    theirs = DDIMScheduler(**DIFFUSERS[name]).alphas_cumprod.double()
    ours = schedule.by_name(name).alpha_bar
    assert ours.dtype == torch.float64 and ours.shape == (1000,)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)
    assert torch.allclose(ours, theirs, rtol=3e-5, atol=0)  # also where alpha_bar is tiny; theirs is float32


def test_tables_go_from_picture_to_noise():
    for name in CONFIG_SCHEDULES:
        table = schedule.by_name(name)
        assert table.name == name
        assert (table.alpha_bar.diff() < 0).all()
        assert 0 < table.alpha_bar[-1] < 1e-4 and 0.999 < table.alpha_bar[0] < 1


def test_cosine_caps_beta_and_multiplies_up_again():
    alpha_bar = schedule.cosine().alpha_bar
    betas = 1 - alpha_bar[1:] / alpha_bar[:-1]
    assert betas[-1].item() == pytest.approx(0.999, abs=1e-9)  # uncapped, it is 1 and alpha_bar ends at 0
    assert (betas[:-1] < 0.999).all()
    assert math.sqrt((1 - alpha_bar[-1]) / alpha_bar[-1]) == pytest.approx(2.03e4, rel=1e-2)


def test_alpha_and_sigma_take_integer_steps_of_any_shape():
    table = schedule.linear()
    t = torch.tensor([[0, 1], [500, 999]])
    assert table.alpha(t).shape == (2, 2) and table.alpha(t).dtype == torch.float64
    assert torch.allclose(table.alpha(t) ** 2 + table.sigma(t) ** 2, torch.ones(2, 2, dtype=torch.float64))
    assert table.sigma(torch.tensor(0)).item() == pytest.approx(math.sqrt(1e-4))


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DPMSolverMultistepScheduler])
def test_trailing_steps_are_those_of_diffusers(scheduler):
    theirs = scheduler(timestep_spacing="trailing")
    for steps in [*range(1, 130), 250, 333, 500, 999, 1000]:
        theirs.set_timesteps(steps)
        timesteps = theirs.timesteps.tolist()
        if steps in DIFFUSERS_STEPS_TOO_MANY:
            assert timesteps.pop() == -1, f"diffusers has mended steps={steps}: take it off the list"
        assert schedule.trailing(steps).tolist() == timesteps, steps


def test_levels_walk_from_the_noisiest_step_to_the_picture():
    table = schedule.cosine()
    for steps in range(1, 1001):
        t = schedule.trailing(steps)
        assert len(t) == steps and t[0] == 999 and t[-1] >= 0 and (t.diff() < 0).all(), steps
    levels = table.levels(20)
    assert levels.shape == (21, 2) and levels.dtype == torch.float64
    assert levels[-1].tolist() == [1.0, 0.0]
    t = torch.from_numpy(np.arange(999, 0, -50))
    assert torch.equal(levels[:-1, 0], table.alpha(t)) and torch.equal(levels[:-1, 1], table.sigma(t))


@pytest.mark.parametrize("name", CONFIG_SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 20, 999, 1000])
def test_levels_can_start_at_the_noise_that_training_showed(name, steps):
    table = schedule.by_name(name)
    for sigma_max in (80.0, 1.0, 0.011):
        levels = table.levels(steps, sigma_max)
        assert levels.shape == (steps + 1, 2) and levels.dtype == torch.float64
        assert (levels[0, 1] / levels[0, 0]).item() == pytest.approx(sigma_max)
        assert torch.allclose((levels**2).sum(dim=1), torch.ones(steps + 1, dtype=torch.float64))
        assert (levels[:, 1].diff() < 0).all() and (levels[:, 0].diff() > 0).all()
        assert levels[-2, 1] >= table.sigma(torch.tensor(0)) - 1e-12
    assert torch.equal(table.levels(steps, 1e5), table.levels(steps))  # more noise than the table has: all of the table


def test_levels_from_the_table_s_end_are_nearly_the_trailing_ones():
    table = schedule.cosine()
    trimmed = table.levels(20, 0.999 * math.exp(table.log_range[1]))
    assert torch.allclose(trimmed, table.levels(20), atol=3e-3)


@pytest.mark.parametrize("name", CONFIG_SCHEDULES)
@pytest.mark.parametrize(("spacing", "option"), [("karras", "use_karras_sigmas"), ("logsnr", "use_lu_lambdas")])
def test_the_other_spacings_are_those_of_diffusers(name, spacing, option):
    """Down to a last sigma of 0.03, which they put into configurations, not into these formulas."""
    table = schedule.by_name(name)
    top = math.exp(table.log_range[1])
    for steps in (1, 2, 3, 10, 20, 100):
        scheduler = DPMSolverMultistepScheduler(**DIFFUSERS[name], **{option: True})
        ends = np.array([top, 0.03])
        if spacing == "karras":
            theirs = scheduler._convert_to_karras(in_sigmas=ends, num_inference_steps=steps)
        else:
            theirs = np.exp(scheduler._convert_to_lu(in_lambdas=np.log(ends), num_inference_steps=steps))
        levels = table.levels(steps, spacing=spacing)
        ours = levels[:-1, 1] / levels[:-1, 0]
        assert ours.numpy() == pytest.approx(theirs, rel=1e-6), steps
        assert levels[-1].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", CONFIG_SCHEDULES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 20, 999, 1000])
def test_every_spacing_walks_from_the_noise_of_training_down_to_what_no_eye_sees(name, spacing, steps):
    table = schedule.by_name(name)
    for sigma_max in (None, 1e5, 177.0, 1.0, 0.011):
        levels = table.levels(steps, sigma_max, spacing)
        assert levels.shape == (steps + 1, 2) and levels.dtype == torch.float64 and levels[-1].tolist() == [1.0, 0.0]
        assert (levels[:, 1].diff() < 0).all() and (levels[:, 0].diff() > 0).all()
        top = min(sigma_max or math.inf, math.exp(table.log_range[1]))
        assert (levels[0, 1] / levels[0, 0]).item() == pytest.approx(top)
        if spacing != "trailing" and steps > 1:
            least = 0.03 if top > 0.03 else math.exp(table.log_range[0])
            assert (levels[-2, 1] / levels[-2, 0]).item() == pytest.approx(least)


def test_karras_spends_its_steps_where_there_is_little_noise():
    below = {spacing: (schedule.cosine().levels(20, 177.0, spacing)[:, 1] < 0.3).sum() for spacing in SPACINGS}
    assert below["karras"] > below["trailing"] and below["logsnr"] > below["trailing"]


def test_an_unknown_spacing_is_refused():
    with pytest.raises(UsageError, match="trailing, karras, logsnr"):
        schedule.linear().levels(20, spacing="leading")


def test_at_is_the_inverse_of_log_sigma():
    level = torch.linspace(-6, 10, 33, dtype=torch.float64)
    alpha, sigma = schedule.at(level)
    assert torch.allclose(schedule.log_sigma(alpha, sigma), level)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(level))


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, "20", True, None, math.nan])
def test_a_step_count_that_cannot_work_is_refused(steps):
    with pytest.raises(UsageError, match="whole number from 1 to 1000"):
        schedule.linear().levels(steps)


def test_an_unknown_table_is_refused():
    with pytest.raises(UsageError, match="cosine, linear"):
        schedule.by_name("square")


def test_log_sigma_is_the_same_for_tensors_and_numbers():
    assert schedule.log_sigma(0.6, 0.8).item() == pytest.approx(math.log(0.8 / 0.6))
    levels = schedule.cosine().levels(5)[:-1]
    together = schedule.log_sigma(levels[:, 0], levels[:, 1])
    one_by_one = [schedule.log_sigma(alpha, sigma).item() for alpha, sigma in levels.tolist()]
    assert together.tolist() == pytest.approx(one_by_one, abs=1e-6)
    assert together[0].item() == pytest.approx(9.918, abs=1e-3)
