"""Each sampler against the diffusers scheduler of its name: the same made-up network, the same noise, within 1e-4.

Where diffusers has it wrong, or another convention, a test says so by its name; those are:
- DDIM walks to t - 1000 // steps, which is the next trailing step only where steps divides 1000 (test_ddim);
- DDIM with noise takes the root of a float32 difference: nan at few steps on the cosine table (test_ddim_with_noise);
- DDIM keeps an eps that does not fit its clipped x0 unless told otherwise (test_ddim_with_clipping);
- Euler and Heun begin with sigma / alpha times noise, a little less than noise of that level divided by alpha, and Euler
  keeps x / alpha in float32, up to 20,000 on the cosine table (test_euler_and_heun_...);
- DPM-Solver++(3M) counts the curvature half, so it is second order (test_dpmpp_3m_...);
- DEIS divides by alpha, in float32 too, and ends at the table's first row instead of the picture: noise of 0.6 % or 1 %
  stays (test_deis);
- iPNDM extrapolates the last step too, so that its picture is no belief of the network (test_ipndm);
- some trailing step counts are one too many (tests/diffusion/test_schedule.py).
"""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import scheduling_ddpm

from ddpm_core.diffusion import latents, objective, samplers, schedule

# diffusers calls numpy in a way that numpy 2 will end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
TABLES = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
PREDICTIONS = {"v": "v_prediction", "eps": "epsilon"}
DIVIDES = (1, 2, 4, 10, 20, 50, 250)  # step counts that divide 1000
ANY = (1, 2, 3, 7, 14, 15, 20, 64)
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


def ours(sampler, prediction, levels, dtype, clip=False, **options):
    network, to_x0 = toy_network(prediction), objective.by_name(prediction).to_x0

    def denoise(x, alpha, sigma):  # objective.denoiser, but in the precision of the test
        level = schedule.log_sigma(torch.tensor(alpha, dtype=dtype), torch.tensor(sigma, dtype=dtype)).expand(len(x))
        return to_x0(x, network(x, level), alpha, sigma)

    if dtype == torch.float32:
        denoise = objective.denoiser(network, prediction)
    return list(sampler(denoise, latents.noise(SEEDS, SHAPE).to(dtype), levels, clip=clip, **options))[-1].x


def theirs(scheduler, prediction, levels, dtype, noise=None, sigmas=None, **options):
    """Their walk. `sigmas` replaces theirs by those of any staircase; `noise(call)` gives each step's options."""
    network = toy_network(prediction)
    scheduler.set_timesteps(len(levels) - 1)
    if sigmas is not None:
        scheduler.sigmas = sigmas
    scaled = isinstance(scheduler, EulerDiscreteScheduler | HeunDiscreteScheduler)  # their state is x / alpha
    x = latents.noise(SEEDS, SHAPE).to(dtype)
    x = x * math.hypot(1, float(scheduler.sigmas[0])) if scaled else x
    for call, t in enumerate(scheduler.timesteps):
        index = (call + 1) // 2 if isinstance(scheduler, HeunDiscreteScheduler) else call
        level = schedule.log_sigma(*levels[index]).to(dtype).expand(len(x))
        asked = scheduler.scale_model_input(x, t) if scaled else x
        more = noise(call) if noise else {}
        x = scheduler.step(network(asked, level), t, x, **more, **options).prev_sample
    return x


def scheduler(kind, table, prediction, **options):
    settings = {**TABLES[table], "prediction_type": PREDICTIONS[prediction], "timestep_spacing": "trailing"}
    return kind(**settings, **options)


def ratios(levels, dtype):
    """A staircase as diffusers has it: sigma / alpha."""
    return (levels[:, 1] / levels[:, 0]).to(dtype)


def staircase(table, steps, spacing):
    """trailing: all of the table; otherwise from 80, as a network of log-normal levels is sampled."""
    return schedule.by_name(table).levels(steps, None if spacing == "trailing" else 80.0, spacing)


def precision(table, prediction):
    # eps at the noisy end of the cosine table is divided by alpha = 5e-5: in float32 that rounding alone is 2e-3, in
    # diffusers and here (the studio clips it away). Float64 shows that the method is the same.
    return torch.float64 if (table, prediction) == ("cosine", "eps") else torch.float32


def difference(a, b):
    assert a.shape == b.shape and a.isfinite().all() and 0.5 < a.abs().max() < 10
    return (a - b).abs().max().item()


both = [pytest.mark.parametrize("table", TABLES), pytest.mark.parametrize("prediction", PREDICTIONS)]


def on_both(test):
    for mark in both:
        test = mark(test)
    return test


@on_both
@pytest.mark.parametrize("steps", DIVIDES)
def test_ddim(table, prediction, steps):
    """Only where steps divides 1000: diffusers walks to t - 1000 // steps, which is not the next trailing step otherwise."""
    dtype, levels = precision(table, prediction), schedule.by_name(table).levels(steps)
    expected = theirs(scheduler(DDIMScheduler, table, prediction, clip_sample=False), prediction, levels, dtype)
    assert difference(ours(samplers.ddim, prediction, levels, dtype), expected) < 1e-4


@on_both
@pytest.mark.parametrize(("steps", "eta"), [(10, 1.0), (20, 1.0), (50, 1.0), (20, 0.3), (50, 0.7)])
def test_ddim_with_noise(table, prediction, steps, eta):
    """For steps that divide 1000, and not few on the cosine table.

    There diffusers takes the root of a float32 difference that should be 4e-10: 3e-4 off at steps = 2, nan at 5.
    """
    dtype, levels = precision(table, prediction), schedule.by_name(table).levels(steps)
    noise = latents.step_noise(SEEDS, SHAPE)
    expected = theirs(
        scheduler(DDIMScheduler, table, prediction, clip_sample=False), prediction, levels, dtype,
        noise=lambda call: {"eta": eta, "variance_noise": noise(call + 1)},
    )  # fmt: skip
    result = ours(samplers.ddim, prediction, levels, dtype, eta=eta, noise=noise)
    assert difference(result, expected) < 1e-4
    assert difference(result, ours(samplers.ddim, prediction, levels, dtype)) > 0.1


@on_both
@pytest.mark.parametrize("steps", [4, 20])
def test_ddim_with_clipping(table, prediction, steps):
    """diffusers keeps the unclipped eps unless asked with use_clipped_model_output: x would then not match its own x0."""
    dtype, levels = precision(table, prediction), schedule.by_name(table).levels(steps)
    clipping = scheduler(DDIMScheduler, table, prediction, clip_sample=True)
    expected = theirs(clipping, prediction, levels, dtype, use_clipped_model_output=True)
    assert difference(ours(samplers.ddim, prediction, levels, dtype, clip=True), expected) < 1e-4
    assert difference(ours(samplers.ddim, prediction, levels, dtype), expected) > 1e-2


@on_both
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 128])
@pytest.mark.parametrize("clip", [True, False])
def test_ddpm(table, prediction, steps, clip, monkeypatch):
    """With the smaller variance, its default. It takes its noise from one function, which here gives ours.

    Its table is float32, whose rounding many steps add up to 1.4e-4; with the table in float64 they agree.
    """
    peer = scheduler(DDPMScheduler, table, prediction, clip_sample=clip)
    levels = schedule.by_name(table).levels(steps)
    dtype = torch.float64 if steps > 100 else precision(table, prediction)
    if dtype == torch.float64:
        peer.alphas_cumprod = schedule.by_name(table).alpha_bar
    noise, drawn = latents.step_noise(SEEDS, SHAPE), []

    def same_noise(*shape, **_):
        drawn.append(len(drawn) + 1)
        return noise(drawn[-1]).to(dtype)

    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", same_noise)
    expected = theirs(peer, prediction, levels, dtype)
    result = ours(samplers.ddpm, prediction, levels, dtype, clip=clip, noise=noise)
    assert difference(result, expected) < 1e-4 and len(drawn) >= steps - 1
    assert difference(result, ours(samplers.ddim, prediction, levels, dtype, clip=clip, eta=1.0, noise=noise)) == 0


@on_both
@pytest.mark.parametrize("spacing", ["karras", "logsnr"])
@pytest.mark.parametrize(("name", "kind"), [("euler", EulerDiscreteScheduler), ("heun", HeunDiscreteScheduler)])
def test_euler_and_heun_on_any_staircase(table, prediction, name, kind, spacing):
    """From 80 down: their state is x / alpha, for Euler always in float32, which cannot hold all of the cosine table."""
    dtype = torch.float64
    for steps in ANY:
        levels = staircase(table, steps, spacing)
        sigmas = ratios(levels, dtype)
        if name == "heun":
            sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
        expected = theirs(scheduler(kind, table, prediction), prediction, levels, dtype, sigmas=sigmas)
        assert difference(ours(samplers.SAMPLERS[name], prediction, levels, dtype), expected) < 1e-4, steps


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("name", "kind"), [("euler", EulerDiscreteScheduler), ("heun", HeunDiscreteScheduler)])
def test_euler_and_heun_on_their_own_trailing_staircase(prediction, name, kind):
    """Begun at x / alpha: their init_noise_sigma is sigma / alpha instead of its hypotenuse with 1."""
    for steps in (7, 15, 20, 64):
        levels = schedule.linear().levels(steps)
        expected = theirs(scheduler(kind, "linear", prediction), prediction, levels, torch.float32)
        result = ours(samplers.SAMPLERS[name], prediction, levels, torch.float32)
        assert difference(result, expected) < 1e-4, steps


class WholeCurvature(DPMSolverMultistepScheduler):
    """diffusers' 3M with the second half of the parabola's curvature.

    Over a step from lambda_0 of length h, its polynomial m0 + D1 u + c u^2 (u from 0 to 1) has c = D2 = its second divided
    difference. The exact mean of c u^2 weighs it with 1 - 2 (h - E) / h^2, E = 1 - exp(-h); diffusers weighs D2 with
    half of that, as if it were the second derivative, 2 c.
    """

    def multistep_dpm_solver_third_order_update(self, model_output_list, *args, sample, noise=None, **kwargs):
        x = super().multistep_dpm_solver_third_order_update(model_output_list, *args, sample=sample, noise=noise)
        m0, m1, m2 = model_output_list[-1], model_output_list[-2], model_output_list[-3]
        s2, s1, s0, s = self.sigmas[self.step_index - 2 : self.step_index + 2].double().tolist()
        h, h0, h1 = math.log(s0 / s), math.log(s1 / s0), math.log(s2 / s1)
        curvature = ((m0 - m1) / h0 - (m1 - m2) / h1) / (h0 + h1) * h**2
        return x + (0.5 - (h + math.expm1(-h)) / h**2) * curvature / math.hypot(1, s)


def dpm(kind, table, prediction, steps, **options):
    """The scheduler and the staircase it can walk: it always computes in float32, so for eps on the cosine table it needs its
    lambda_min_clipped, which starts at alpha = 0.006; ours then walks the same staircase."""
    levels = schedule.by_name(table).levels(steps)
    if (table, prediction) != ("cosine", "eps"):
        return scheduler(kind, table, prediction, **options), levels
    clipped = scheduler(kind, table, prediction, lambda_min_clipped=-5.1, **options)
    clipped.set_timesteps(steps)
    levels = levels[-len(clipped.timesteps) - 1 :].clone()
    levels[:-1, 0] = schedule.by_name(table).alpha(clipped.timesteps)
    levels[:-1, 1] = schedule.by_name(table).sigma(clipped.timesteps)
    return clipped, levels


@on_both
@pytest.mark.parametrize("steps", [*ANY, 100])
def test_dpmpp_2m(table, prediction, steps):
    """Any step count but those where diffusers counts one too many (test_schedule.py); last step first order, to sigma 0.

    Its defaults are lower_order_final=True and final_sigmas_type="zero". It has no clipping for pixels, only thresholding.
    """
    peer, levels = dpm(DPMSolverMultistepScheduler, table, prediction, steps)
    expected = theirs(peer, prediction, levels, torch.float32)
    assert difference(ours(samplers.dpmpp_2m, prediction, levels, torch.float32), expected) < 1e-4
    if steps > 2:  # it is not DDIM under another name
        assert difference(ours(samplers.ddim, prediction, levels, torch.float32), expected) > 1e-3


@on_both
@pytest.mark.parametrize("steps", ANY)
def test_dpmpp_2m_sde(table, prediction, steps):
    peer, levels = dpm(DPMSolverMultistepScheduler, table, prediction, steps, algorithm_type="sde-dpmsolver++")
    noise = latents.step_noise(SEEDS, SHAPE)
    expected = theirs(peer, prediction, levels, torch.float32, noise=lambda call: {"variance_noise": noise(call + 1)})
    assert difference(ours(samplers.dpmpp_2m_sde, prediction, levels, torch.float32, noise=noise), expected) < 1e-4


class Late(DPMSolverMultistepScheduler):
    """diffusers' 2M that becomes its SDE form from where sigma / alpha is at most the width of a picture over 16."""

    def step(self, output, t, sample, **options):
        if self.step_index is None:
            self._init_step_index(t)
        late = self.sigmas[self.step_index] <= sample.shape[-1] / 16
        self.register_to_config(algorithm_type="sde-dpmsolver++" if late else "dpmsolver++")
        return super().step(output, t, sample, **options)


@on_both
@pytest.mark.parametrize("steps", ANY)
def test_dpmpp_2m_late_is_2m_and_then_its_sde_form(table, prediction, steps):
    peer, levels = dpm(Late, table, prediction, steps)
    noise = latents.step_noise(SEEDS, SHAPE)
    expected = theirs(peer, prediction, levels, torch.float32, noise=lambda call: {"variance_noise": noise(call + 1)})
    result = ours(samplers.dpmpp_2m_late, prediction, levels, torch.float32, noise=noise)
    assert difference(result, expected) < 1e-4
    if steps >= 20:  # and it is neither of both alone
        assert difference(ours(samplers.dpmpp_2m, prediction, levels, torch.float32), expected) > 1e-3
        assert difference(ours(samplers.dpmpp_2m_sde, prediction, levels, torch.float32, noise=noise), expected) > 1e-3


@on_both
@pytest.mark.parametrize("steps", ANY)
def test_dpmpp_3m_with_the_curvature_that_diffusers_counts_half(table, prediction, steps):
    peer, levels = dpm(WholeCurvature, table, prediction, steps, solver_order=3)
    expected = theirs(peer, prediction, levels, torch.float32)
    assert difference(ours(samplers.dpmpp_3m, prediction, levels, torch.float32), expected) < 1e-4


def test_dpmpp_3m_of_diffusers_is_second_order_because_it_counts_the_curvature_half():
    """Data N(0, 0.25): the exact walk scales x by the ratio of its standard deviations. Ours: test_order.py."""

    def error(kind, steps):
        log_sigmas = torch.linspace(math.log(1e4), math.log(2), steps + 1, dtype=torch.float64)
        levels = torch.stack(schedule.at(log_sigmas), dim=1)
        peer = kind(prediction_type="sample", solver_order=3, lower_order_final=False, final_sigmas_type="sigma_min")
        peer.set_timesteps(steps)
        peer.sigmas = ratios(levels, torch.float64)
        x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        with pytest.MonkeyPatch.context() as patch:  # it insists on float32, whose rounding would hide the order
            patch.setattr(torch, "float32", torch.float64)
            for (alpha, sigma), t in zip(levels[:-1].tolist(), peer.timesteps, strict=True):
                x0 = alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * x
                x = peer.step(x0, t, x).prev_sample
        start, end = (math.hypot(0.5 * alpha, sigma) for alpha, sigma in (levels[0].tolist(), levels[-1].tolist()))
        return abs(x.item() - end / start)

    for kind, order in ((DPMSolverMultistepScheduler, 2), (WholeCurvature, 3)):
        errors = [error(kind, steps) for steps in (80, 160, 320)]
        assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([order] * 2, abs=0.2), kind


@on_both
def test_unipc_on_its_own_trailing_staircase(table, prediction):
    """Any step count, with its defaults (bh2, lower_order_final=True)."""
    dtype = precision(table, prediction)
    for steps in (*ANY, 100):
        levels = schedule.by_name(table).levels(steps)
        peer = scheduler(UniPCMultistepScheduler, table, prediction, solver_order=3)
        sigmas = ratios(levels, dtype) if dtype == torch.float64 else None
        expected = theirs(peer, prediction, levels, dtype, sigmas=sigmas)
        assert difference(ours(samplers.unipc, prediction, levels, dtype), expected) < 1e-4, steps


@on_both
@pytest.mark.parametrize("spacing", ["karras", "logsnr"])
def test_unipc_on_any_staircase(table, prediction, spacing):
    for steps in ANY:
        levels = staircase(table, steps, spacing)
        peer = scheduler(UniPCMultistepScheduler, table, prediction, solver_order=3)
        expected = theirs(peer, prediction, levels, torch.float64, sigmas=ratios(levels, torch.float64))
        assert difference(ours(samplers.unipc, prediction, levels, torch.float64), expected) < 1e-4, steps


@on_both
@pytest.mark.parametrize("spacing", ["trailing", "karras", "logsnr"])
def test_deis(table, prediction, spacing):
    """To the table's first row, where theirs ends; ours then goes on to the picture, first order, and is its belief exactly.

    Third order (their default is second) down to the end: their lower_order_final is about walks of less than 15 steps. In
    float64: theirs divides by alpha, and is 0.03 off in float32 on the cosine table.
    """
    dtype, whole = torch.float64, schedule.by_name(table)
    for steps in ANY:
        levels = staircase(table, steps, spacing)
        levels[-1] = torch.stack([whole.alpha(torch.tensor(0)), whole.sigma(torch.tensor(0))])
        if spacing != "trailing":  # there the last level but one is that row already
            levels = torch.cat([levels[:1], staircase(table, steps + 1, spacing)[1:-1]])
        peer = scheduler(DEISMultistepScheduler, table, prediction, solver_order=3, lower_order_final=False)
        expected = theirs(peer, prediction, levels, dtype, sigmas=ratios(levels, dtype))
        assert difference(ours(samplers.deis, prediction, levels, dtype), expected) < 1e-4, steps


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("spacing", ["trailing", "karras", "logsnr"])
def test_ipndm(table, spacing):
    """Its scheduler has one staircase of its own and hears v; here it is given ours, in float64, and the last step is left out:
    it extrapolates that one as well, where ours ends with exactly the belief."""
    for steps in ANY:
        levels = staircase(table, steps + 1, spacing)[:-1]
        peer, network = IPNDMScheduler(), toy_network("v")
        peer.set_timesteps(steps)
        peer.alphas, peer.betas = levels.unbind(dim=1)
        x = latents.noise(SEEDS, SHAPE).double()
        for (alpha, sigma), t in zip(levels[:-1], peer.timesteps, strict=True):
            x = peer.step(network(x, schedule.log_sigma(alpha, sigma).expand(len(x))), t, x).prev_sample
        assert difference(ours(samplers.ipndm, "v", levels, torch.float64), x) < 1e-4, steps
