import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from ddpm_core.diffusion import latents, objective, samplers, schedule
from ddpm_core.errors import UsageError

# diffusers calls numpy in a way that numpy 2 will end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
TABLES = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
PREDICTIONS = {"v": "v_prediction", "eps": "epsilon"}
DIVIDES = (1, 2, 4, 10, 20, 50, 250)  # step counts that divide 1000
ANY = (1, 2, 3, 7, 14, 15, 20, 30, 64, 100)
SEEDS, SHAPE = [3, 1, 4], (3, 6, 6)


def toy_belief(x, log_sigma):
    """A made-up x0: nonlinear in x and in the level, mixes the channels, of the size of pictures (a little more than 1)."""
    level = log_sigma.view(-1, 1, 1, 1).to(x)
    return 1.4 * torch.tanh(1.5 * x - 0.7 * x.roll(1, dims=1) + torch.sin(level)) * torch.cos(0.3 * level + x)


def toy_network(prediction):
    """The network whose belief that is, as its v or eps output."""

    def network(x, log_sigma):
        level = log_sigma.view(-1, 1, 1, 1).to(x)
        alpha, sigma = torch.sigmoid(-2 * level).sqrt(), torch.sigmoid(2 * level).sqrt()
        x0 = toy_belief(x, log_sigma)
        eps = (x - alpha * x0) / sigma
        return eps if prediction == "eps" else alpha * eps - sigma * x0

    return network


def ours(sampler, table, prediction, levels, dtype, **options):
    network, to_x0 = toy_network(prediction), objective.by_name(prediction).to_x0

    def denoise(x, alpha, sigma):  # objective.denoiser, but in the precision of the test
        level = schedule.log_sigma(torch.tensor(alpha, dtype=dtype), torch.tensor(sigma, dtype=dtype)).expand(len(x))
        return to_x0(x, network(x, level), alpha, sigma)

    if dtype == torch.float32:
        denoise = objective.denoiser(network, prediction)
    return list(sampler(denoise, latents.noise(SEEDS, SHAPE).to(dtype), levels, **options))[-1].x


def theirs(scheduler, prediction, levels, dtype, step_noise=None, **options):
    network = toy_network(prediction)
    scheduler.set_timesteps(len(levels) - 1)
    x = latents.noise(SEEDS, SHAPE).to(dtype)
    for index, t in enumerate(scheduler.timesteps):
        level = schedule.log_sigma(*levels[index]).to(dtype).expand(len(x))
        noise = {"eta": 1.0, "variance_noise": step_noise(index + 1)} if step_noise else {}
        x = scheduler.step(network(x, level), t, x, **noise, **options).prev_sample
    return x


def precision(table, prediction):
    # eps at the noisy end of the cosine table is divided by alpha = 5e-5: in float32 that rounding alone is 2e-3, in
    # diffusers and here (the studio clips it away). Float64 shows that the method is the same.
    return torch.float64 if (table, prediction) == ("cosine", "eps") else torch.float32


def difference(a, b):
    assert a.shape == b.shape and a.isfinite().all() and 0.5 < a.abs().max() < 10
    return (a - b).abs().max().item()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
class TestParityWithDiffusers:
    def scheduler(self, kind, table, prediction, **options):
        settings = {**TABLES[table], "prediction_type": PREDICTIONS[prediction], "timestep_spacing": "trailing"}
        return kind(**settings, **options)

    @pytest.mark.parametrize("steps", DIVIDES)
    def test_ddim(self, table, prediction, steps):
        """Only where steps divides 1000: diffusers walks to t - 1000 // steps, which is not the next trailing step otherwise."""
        dtype, levels = precision(table, prediction), schedule.by_name(table).levels(steps)
        expected = theirs(
            self.scheduler(DDIMScheduler, table, prediction, clip_sample=False), prediction, levels, dtype
        )
        assert difference(ours(samplers.ddim, table, prediction, levels, dtype, clip=False), expected) < 1e-4

    @pytest.mark.parametrize("steps", [10, 20, 50])
    def test_ddim_with_noise(self, table, prediction, steps):
        """eta 1, for steps that divide 1000, and not few on the cosine table.

        There diffusers takes the root of a float32 difference that should be 4e-10: 3e-4 off at steps = 2, nan at 5.
        """
        dtype, levels, noise = (
            precision(table, prediction),
            schedule.by_name(table).levels(steps),
            latents.step_noise(SEEDS, SHAPE),
        )
        scheduler = self.scheduler(DDIMScheduler, table, prediction, clip_sample=False)
        expected = theirs(scheduler, prediction, levels, dtype, step_noise=noise)
        result = ours(samplers.ddim, table, prediction, levels, dtype, clip=False, eta=1.0, noise=noise)
        assert difference(result, expected) < 1e-4
        assert difference(result, ours(samplers.ddim, table, prediction, levels, dtype, clip=False)) > 0.1

    @pytest.mark.parametrize("steps", [4, 20])
    def test_ddim_with_clipping(self, table, prediction, steps):
        """diffusers keeps the unclipped eps unless asked with use_clipped_model_output: x would then not match its own x0."""
        dtype, levels = precision(table, prediction), schedule.by_name(table).levels(steps)
        scheduler = self.scheduler(DDIMScheduler, table, prediction, clip_sample=True)
        expected = theirs(scheduler, prediction, levels, dtype, use_clipped_model_output=True)
        assert difference(ours(samplers.ddim, table, prediction, levels, dtype), expected) < 1e-4
        assert difference(ours(samplers.ddim, table, prediction, levels, dtype, clip=False), expected) > 1e-2

    @pytest.mark.parametrize("steps", ANY)
    def test_dpmpp_2m(self, table, prediction, steps):
        """Any step count but those where diffusers counts one too many (test_schedule.py); last step first order, to sigma 0.

        Its defaults are lower_order_final=True and final_sigmas_type="zero". It has no clipping for pixels, only thresholding.
        It always computes in float32, so for eps on the cosine table it needs its lambda_min_clipped, which starts at
        alpha = 0.006; ours then walks the same staircase.
        """
        dtype, dpm, levels = torch.float32, DPMSolverMultistepScheduler, schedule.by_name(table).levels(steps)
        scheduler = self.scheduler(dpm, table, prediction)
        if (table, prediction) == ("cosine", "eps"):
            scheduler = self.scheduler(dpm, table, prediction, lambda_min_clipped=-5.1)
            scheduler.set_timesteps(steps)
            levels = levels[-len(scheduler.timesteps) - 1 :].clone()
            levels[:-1, 0] = schedule.by_name(table).alpha(scheduler.timesteps)
            levels[:-1, 1] = schedule.by_name(table).sigma(scheduler.timesteps)
        expected = theirs(scheduler, prediction, levels, dtype)
        result = ours(samplers.dpmpp_2m, table, prediction, levels, dtype, clip=False)
        assert difference(result, expected) < 1e-4
        if steps > 2:  # it is not DDIM under another name
            assert difference(ours(samplers.ddim, table, prediction, levels, dtype, clip=False), expected) > 1e-3


class TestOrderOfConvergence:
    """Data N(0, s^2): the exact belief is known, and the exact walk only scales x by the ratio of its standard deviations."""

    S = 0.5

    def denoise(self, x, alpha, sigma):
        return alpha * self.S**2 / (alpha**2 * self.S**2 + sigma**2) * x

    def error(self, sampler, levels):
        x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        end = list(sampler(self.denoise, x, levels, clip=False))[-1].x.item()
        start, stop = (torch.hypot(self.S * alpha, sigma).item() for alpha, sigma in (levels[0], levels[-1]))
        return abs(end - stop / start)

    def levels(self, steps, last):
        angle = torch.linspace(0.98, last, steps + 1, dtype=torch.float64) * math.pi / 2
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    def orders(self, sampler, steps, last):
        errors = [self.error(sampler, self.levels(count, last)) for count in steps]
        assert errors[0] < 0.05
        assert errors[-1] > 1e-9  # far above float64's rounding: the orders are the method's
        return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]

    @pytest.mark.parametrize(("sampler", "order"), [(samplers.ddim, 1), (samplers.dpmpp_2m, 2)])
    def test_on_a_smooth_staircase(self, sampler, order):
        orders = self.orders(sampler, (40, 80, 160, 320), last=0.05)
        assert orders == pytest.approx([order] * 3, abs=0.1)

    @pytest.mark.parametrize(("sampler", "low", "high"), [(samplers.ddim, 0.95, 1.05), (samplers.dpmpp_2m, 1.7, 2.05)])
    def test_down_to_no_noise_at_all(self, sampler, low, high):
        """Sigma 0 is infinitely far in lambda, so the last steps do not shrink: 2M comes near to 2 only slowly, as 2 minus a logarithm."""
        orders = self.orders(sampler, (320, 640, 1280, 2560), last=0.0)
        assert all(low < order < high for order in orders), orders

    def test_on_the_tables_themselves_2m_is_the_better_one(self):
        for table in TABLES:
            levels = schedule.by_name(table).levels(20)
            first, second = self.error(samplers.ddim, levels), self.error(samplers.dpmpp_2m, levels)
            assert second < first / 2 < 0.1, table


@pytest.mark.parametrize("name", samplers.SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 1000])
def test_float32_walk_from_sigma_20000_stays_on_the_data(name, prediction, table, steps):
    """Data that is one single picture: whatever the steps, the walk must end there, in float32, with no nan and no drift."""
    picture = torch.linspace(-1, 1, 48).view(1, 3, 4, 4)

    def network(x, log_sigma):
        level = log_sigma.double().view(-1, 1, 1, 1)
        alpha, sigma = torch.sigmoid(-2 * level).sqrt(), torch.sigmoid(2 * level).sqrt()
        eps = (x - alpha * picture) / sigma
        return (eps if prediction == "eps" else alpha * eps - sigma * picture).float()

    walk = list(
        samplers.SAMPLERS[name](
            objective.denoiser(network, prediction),
            latents.noise([0, 1], (3, 4, 4)),
            schedule.by_name(table).levels(steps),
        )
    )
    assert [step.index for step in walk] == list(range(1, steps + 1)) and {step.steps for step in walk} == {steps}
    assert walk[-1].x.dtype == torch.float32
    assert torch.equal(walk[-1].x, walk[-1].x0)  # the last step goes to (1, 0) exactly
    assert all(step.x0.abs().max() <= 1 and step.x.abs().max() < 6 for step in walk)
    # One step of eps must divide by alpha = 5e-5 or 6e-3; everything else is exact to float32's rounding.
    assert (walk[-1].x - picture).abs().max() < (1e-2 if prediction == "eps" and steps == 1 else 1e-4)


def test_clipping_holds_every_belief_but_never_the_state():
    wild = lambda x, alpha, sigma: 3 * x  # noqa: E731
    x = latents.noise([0, 1], SHAPE)
    for sampler in samplers.SAMPLERS.values():
        clipped = list(sampler(wild, x, schedule.cosine().levels(8)))
        free = list(sampler(wild, x, schedule.cosine().levels(8), clip=False))
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
    for sampler in samplers.SAMPLERS.values():
        calls.clear()
        walk = sampler(denoise, x, schedule.linear().levels(10))
        assert not calls
        next(walk)
        assert len(calls) == 1  # one network call a step, so a caller can stop between any two
        list(walk)
        assert len(calls) == 10 and torch.equal(x, kept)


def test_noise_is_drawn_by_step_index():
    asked = []

    def noise(index):
        asked.append(index)
        return torch.zeros(1, *SHAPE)

    list(
        samplers.ddim(
            lambda x, a, s: x * 0, latents.noise([0], SHAPE), schedule.linear().levels(5), eta=1.0, noise=noise
        )
    )
    assert asked == [1, 2, 3, 4]  # the last step lands on the picture and adds none


def test_mistakes_are_named():
    with pytest.raises(UsageError, match=r"dpm\+\+2m, ddim"):
        samplers.by_name("euler")
    with pytest.raises(ValueError, match="noise"):
        next(samplers.ddim(lambda x, a, s: x, latents.noise([0], SHAPE), schedule.linear().levels(5), eta=0.5))
