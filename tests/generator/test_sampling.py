"""What is drawn, step by step: grids, trajectories, walks between seeds, and requests that cannot work."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm_core import pictures
from ddpm_core.config import SAMPLERS, SPACING_OF, SPACINGS
from ddpm_core.diffusion import latents, objective, samplers
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator, Preview
from ddpm_core.network.unet import UNet
from tests.generator.toy import SMALL, a_model, last


def test_samples_are_pictures_that_differ(generator):
    preview = last(generator.sample([0, 1, 2], steps=4))
    assert preview.pictures.shape == (3, 16, 16, 3) and preview.pictures.dtype == np.uint8
    assert len({picture.tobytes() for picture in preview.pictures}) == 3
    assert preview.pictures.std() > 10


def test_the_samplers_spacings_and_step_counts_make_different_pictures(generator):
    made = [last(generator.sample([0], steps=6, sampler=sampler)).pictures for sampler in SAMPLERS]
    made += [last(generator.sample([0], steps=6, spacing=spacing)).pictures for spacing in SPACINGS]
    made += [last(generator.sample([0], steps=7)).pictures]
    made += [last(generator.sample([0], steps=6, sampler="ddim", eta=eta)).pictures for eta in (0.5, 1.0)]
    distinct = {picture.tobytes() for picture in made}
    # Each default spacing is one of them; Euler is DDIM with another one; DDIM with eta 1 is DDPM.
    same = 1 + (SPACING_OF["ddim"] == SPACING_OF["ddpm"]) + (SPACING_OF["euler"] == SPACING_OF["ddim"])
    assert len(distinct) == len(made) - same


def test_heun_counts_its_network_calls(generator):
    previews = list(generator.sample(range(20), steps=3, sampler="heun"))
    assert previews[-1].steps == 5 and [preview.step for preview in previews if preview.even] == [1, 2, 3, 4, 5]


def test_a_trajectory_is_there_to_be_kept(generator):
    """States and beliefs of every step: noise at first, the same at the end, and as the sampler itself has them."""
    stops = [preview for preview in generator.sample(range(20), steps=4) if preview.even]
    assert [stop.step for stop in stops] == [1, 2, 3, 4]
    assert all(stop.x.shape == stop.x0.shape == (20, 3, 16, 16) and stop.x0.abs().max() <= 1 for stop in stops)
    assert stops[0].x.std() > stops[-1].x.std() and torch.equal(stops[-1].x, stops[-1].x0)
    levels = generator.schedule.levels(4, generator.model.config.sigma_max, SPACING_OF[SAMPLERS[0]])
    noise = latents.step_noise([17], (3, 16, 16))
    walk = samplers.by_name(SAMPLERS[0])(generator.denoise(), latents.noise([17], (3, 16, 16)), levels, noise=noise)
    for stop, step in zip(stops, walk, strict=True):
        assert torch.equal(stop.x[17], step.x[0]) and torch.equal(stop.x0[17], step.x0[0])


def test_previews_show_the_noisy_state_too_and_it_ends_as_the_picture(generator):
    previews = list(generator.sample([3, 4], steps=4))
    assert [preview.noisy.shape for preview in previews] == [(2, 16, 16, 3)] * 4
    assert np.array_equal(previews[-1].noisy, previews[-1].pictures)
    assert not np.array_equal(previews[0].noisy, previews[0].pictures)
    spread = [preview.noisy.std() for preview in previews]
    assert spread[0] > spread[-1]  # noise goes


@pytest.mark.parametrize("sampler", ["dpm++2m", "dpm++2m-late", "ddpm"])
def test_interpolation_starts_and_ends_at_the_seeds_own_pictures(generator, sampler):
    """Also where noise is added on the way: it is mixed from both seeds as the start is."""
    frames = last(generator.interpolate(3, 4, frames=9, steps=4, sampler=sampler)).pictures
    ends = last(generator.sample([3, 4], steps=4, sampler=sampler)).pictures
    assert frames.shape[0] == 9
    assert np.array_equal(frames[0], ends[0]) and np.array_equal(frames[-1], ends[1])
    jumps = np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert jumps.max() < np.abs(ends[1].astype(int) - ends[0]).mean()  # a walk, not a leap


@pytest.mark.parametrize("sampler", ["dpm++2m", "dpm++2m-late", "ddpm"])
def test_a_walk_may_start_at_any_noise_and_is_a_function_of_it_alone(generator, sampler):
    """Without seeds: samplers that add noise draw it from the start's own bits, so the batch does not matter here either."""
    noise = latents.noise(range(7), generator.shape)
    walk = generator.walker(4, sampler)
    together = last(walk(noise)).x
    assert torch.equal(last(walk(noise[[5, 2]])).x, together[[5, 2]])
    if sampler == "ddpm":
        assert not torch.equal(together, last(generator.sample(range(7), 4, sampler)).x)
        fresh = lambda rows: latents.step_noise(rows, generator.shape)  # noqa: E731
        assert torch.equal(last(walk(noise, fresh)).x, last(generator.sample(range(7), 4, sampler)).x)


@pytest.mark.parametrize(("prediction", "schedule"), [("eps", "linear"), ("eps", "cosine"), ("v", "linear")])
def test_every_kind_of_model_samples_in_its_own_terms(prediction, schedule):
    model = a_model(channels=1, prediction=prediction, schedule=schedule)
    generator = Generator(model, "toy.pt", torch.device("cpu"), contextlib.nullcontext)
    result = last(generator.sample([1, 2], steps=6)).pictures
    assert result.shape == (2, 16, 16, 1)
    usual = Generator(a_model(channels=1), "toy.pt", torch.device("cpu"), contextlib.nullcontext)
    assert not np.array_equal(result, last(usual.sample([1, 2], steps=6)).pictures)


def test_the_model_draws_what_its_network_says(generator):
    """Arranging the network for drawing changes its last bits, and nothing else."""
    plain = UNet(SMALL, 3).eval()
    plain.load_state_dict(generator.model.weights)
    config = generator.model.config
    x, levels = latents.noise([8], (3, 16, 16)), generator.schedule.levels(5, config.sigma_max, SPACING_OF[SAMPLERS[0]])
    with torch.no_grad():
        denoise, noise = objective.denoiser(plain, config.prediction), latents.step_noise([8], (3, 16, 16))
        *_, end = samplers.by_name(SAMPLERS[0])(denoise, x, levels, noise=noise)
    assert (end.x - last(generator.sample([8], steps=5)).x).abs().max() < 1e-4


@pytest.mark.parametrize(
    "request_",
    [
        {"steps": 0}, {"steps": 1001}, {"steps": 2.0}, {"sampler": "rk45"}, {"seeds": []}, {"seeds": range(1025)},
        {"spacing": "leading"}, {"eta": 0.5}, {"sampler": "ddim", "eta": 1.1}, {"sampler": "ddim", "eta": "0"},
        {"classes": 0}, {"guidance": 2.0}, {"guidance": -1.0}, {"guidance": float("nan")}, {"guidance_interval": (3, 0.2)},
    ],
)  # fmt: skip
def test_a_request_that_cannot_work_is_refused_before_any_work(generator, request_):
    with pytest.raises(UsageError):
        generator.sample(**{"seeds": [0], **request_})


@pytest.mark.parametrize("frames", [1, 0, 1025, True])
def test_too_few_or_too_many_frames_are_refused(generator, frames):
    with pytest.raises(UsageError, match="frames is"):
        generator.interpolate(0, 1, frames=frames)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells a program its threads")
def test_whoever_looks_at_pictures_leaves_no_threads_behind():
    """A thread of the server lives on, and if it has ever computed on several cores, a run beside it is a third slower."""
    x, before = torch.randn(16, 3, 64, 64), torch.get_num_threads()
    with ThreadPoolExecutor(1) as server:
        server.submit(int).result()
        preview = Preview(1, 1, 1.0, True, torch.arange(16), (x[:8], x[8:]), (x[:8] / 2, x[8:] / 2))
        try:
            torch.set_num_threads(3)
            threads = set(os.listdir("/proc/self/task"))
            shown, noisy = server.submit(lambda: (preview.pictures, preview.noisy)).result()
            assert set(os.listdir("/proc/self/task")) <= threads
            server.submit(lambda: preview.x0).result()
            assert not set(os.listdir("/proc/self/task")) <= threads  # so it would have been seen
        finally:
            torch.set_num_threads(before)
    assert np.array_equal(shown, pictures.to_uint8(preview.x0)) and np.array_equal(noisy, pictures.to_uint8(preview.x))
