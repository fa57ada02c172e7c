"""The steps of a walk are kept as pictures: which ones, what they show, and no more than fits."""

import numpy as np
import pytest
import torch

from ddpm_core import pictures, trajectory
from ddpm_core.diffusion import latents
from ddpm_core.generator import Generator
from ddpm_core.trajectory import Trails, Trajectory


@pytest.fixture(scope="module")
def generator(tmp_path_factory, toy_run):
    return Generator.load(toy_run(tmp_path_factory.mktemp("toys"), "toys"), device="cpu")


def watched(generator, seeds, steps):
    trail = Trajectory()
    noise = trajectory.noise_of(generator, seeds)
    previews = list(trail.watch(generator, noise, steps, generator.sample(seeds, steps=steps)))
    return trail, previews


def test_it_begins_with_the_noise_and_ends_with_the_finished_pictures(generator):
    seeds = list(range(6))  # more than go through the network at once
    trail, previews = watched(generator, seeds, 5)
    assert [frame.step for frame in trail.frames] == [1, 2, 3, 4, 5] and trail.steps == 5
    noise = pictures.to_uint8(latents.noise(seeds, (3, 16, 16)))
    assert np.array_equal(trail.frames[0].noisy, noise)
    assert np.array_equal(trail.frames[-1].belief, previews[-1].pictures)


def test_each_step_shows_what_the_network_was_shown_and_what_it_made_of_that(generator):
    """Asked anew for the same state at the same level, the network believes the same."""
    trail, previews = watched(generator, [3], 4)
    states = [latents.noise([3], (3, 16, 16)), *(preview.x for preview in previews)]
    levels = generator.schedule.levels(4, generator.model.config.sigma_max, "karras").tolist()
    denoise = generator.denoise()
    for frame, state, (alpha, sigma) in zip(trail.frames, states, levels, strict=False):
        assert np.array_equal(frame.noisy, pictures.to_uint8(state))
        with torch.inference_mode():
            belief = denoise(state, alpha, sigma)
        assert np.array_equal(frame.belief, pictures.to_uint8(belief.clamp(-1, 1)))
        assert frame.level == pytest.approx(sigma / alpha)
    assert [frame.level for frame in trail.frames] == sorted((frame.level for frame in trail.frames), reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 24, 25, 60])
def test_first_and_last_are_there_and_never_more_than_fit(generator, steps):
    kept = [frame.step for frame in watched(generator, [0], steps)[0].frames]
    assert len(kept) == min(steps, trajectory.MOST_FRAMES) and kept == sorted(set(kept))
    assert kept[0] == 1 and kept[-1] == steps
    gaps = np.diff(kept)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1  # evenly


def test_too_many_pixels_are_thinned_out(generator, monkeypatch):
    monkeypatch.setattr(trajectory, "MOST_PIXELS", 2 * 3 * 4 * 8 * 8)
    trail, previews = watched(generator, range(4), 3)
    assert {frame.belief.shape for frame in trail.frames} == {(4, 8, 8, 3)}
    assert np.array_equal(trail.frames[-1].belief, previews[-1].pictures[:, ::2, ::2])
    bytes_kept = sum(frame.belief.nbytes + frame.noisy.nbytes for frame in trail.frames)
    assert bytes_kept <= 3 * trajectory.MOST_PIXELS
    assert trail.frames[0].belief.base is None  # and does not hold the whole picture


def test_the_usual_grids_keep_every_pixel():
    for count, side in ((64, 32), (16, 64), (4, 128), (1, 256)):
        assert trajectory._every(np.zeros((count, side, side, 1), np.uint8), trajectory.MOST_FRAMES) == 1
    large = np.zeros((64, 256, 256, 1), np.uint8)
    assert trajectory._every(large, trajectory.MOST_FRAMES) == 8


def test_watching_changes_nothing(generator):
    watched_last = watched(generator, [1, 2, 3], 4)[1][-1]
    assert np.array_equal(watched_last.pictures, list(generator.sample([1, 2, 3], steps=4))[-1].pictures)


def test_a_second_walk_begins_anew(generator):
    trail = Trajectory()
    for seeds in ([0], [1]):
        list(trail.watch(generator, trajectory.noise_of(generator, seeds), 3, generator.sample(seeds, steps=3)))
    assert len(trail.frames) == 3


def test_the_last_few_are_found_by_their_names():
    trails, given = Trails(), [Trajectory() for _ in range(trajectory.KEPT + 1)]
    names = [trails.put(trail) for trail in given]
    assert len(set(names)) == len(names)
    assert trails.get(names[0]) is None and trails.get("x") is None
    assert [trails.get(name) for name in names[1:]] == given[1:]


def test_heun_asks_twice_a_step_and_each_call_is_a_frame(generator):
    trail = Trajectory()
    noise = trajectory.noise_of(generator, [3])
    list(trail.watch(generator, noise, 3, generator.sample([3], steps=3, sampler="heun"), "heun"))
    levels = [frame.level for frame in trail.frames]
    assert len(levels) == trail.steps == 5 and levels[1] == levels[2] and levels[3] == levels[4]
