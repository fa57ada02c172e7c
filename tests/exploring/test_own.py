"""What is drawn from a person's own pictures: where it begins, and what it shows on the way."""

import numpy as np
import pytest

from ddpm_core.config import SAMPLERS
from ddpm_core.diffusion import editing
from ddpm_core.errors import UsageError
from ddpm_core.exploring import own
from ddpm_core.generator import Generator


@pytest.fixture(scope="module")
def generator(tmp_path_factory, toy_run):
    return Generator.load(toy_run(tmp_path_factory.mktemp("own"), "toys"), "cpu")


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_a_recipes_noise_level_means_the_very_step_that_it_came_from(generator, sampler, steps):
    way = own.Way(generator, [0], sampler, steps)
    rows = range(0, steps + 1, max(1, steps // 50))
    for row in {*rows, steps}:
        strength = editing.strength_of(row, way.levels, 16)
        assert editing.start_row(strength, way.levels, 16) == row
        assert editing.start_row(way.strength(way.level(strength)), way.levels, 16) == row
    assert len(set(way._rounded())) == steps + 1


def test_a_walk_between_pictures_of_another_size_or_colour_is_one_line(generator):
    """A recipe may name any picture that lies beside its run's gallery: a mask, or one of before the run began anew."""
    for ends in ([picture()[:8, :8]] * 2, [picture(), picture()[..., :1]]):
        with pytest.raises(UsageError, match="the model's size and colour"):
            next(own.between(generator, ends, 3, [0, 1]))


def test_a_level_that_is_no_step_is_one_line(generator):
    with pytest.raises(UsageError, match="where none of 5 steps of ddim lies") as caught:
        own.Way(generator, [0], "ddim", 5).strength(1.0)
    assert "\n" not in str(caught.value)


def test_a_walk_goes_up_unseen_and_comes_down_seen(generator):
    stops = list(own.between(generator, [picture(1), picture(2)], 4, [0, 0.5, 1]))
    phases = [stop.phase for stop in stops]
    assert phases == sorted(phases) and set(phases) == {"invert", "walk"}
    assert [stop.done for stop in stops] == sorted(stop.done for stop in stops) and stops[-1].done == 1
    for stop in stops:
        assert (stop.pictures is None) if stop.phase == "invert" else stop.pictures.shape == (3, 16, 16, 3)


def test_the_last_stop_has_the_finished_pictures(generator):
    mask = np.zeros((16, 16), bool)
    mask[:8] = True
    way = own.Way(generator, [3, 4, 5], "ddim", 3)
    for walk in (way.redraw(picture(), 0.7), way.fill(picture(), mask)):
        *_, last = walk
        assert last.done == 1 and last.pictures.shape == (3, 16, 16, 3)
    assert (last.pictures[:, 8:] == picture()[8:]).all()
