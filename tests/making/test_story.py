"""Which steps of a walk are shown, and how."""

import numpy as np
import pytest

from ddpm_core.making import story


@pytest.mark.parametrize("calls", [1, 2, 11, 12, 13, 20, 39, 1000])
def test_stops_begin_at_the_first_call_and_end_at_the_last(calls):
    stops = story.stops(calls)
    assert stops[0] == 1 and stops[-1] == calls and len(stops) == min(calls, 12) == len(set(stops))
    assert max(np.diff(stops), default=0) - min(np.diff(stops), default=0) <= 1  # evenly


def test_two_rows_above_each_other():
    grey = [np.full((4, 4, 1), value, np.uint8) for value in (10, 20, 30, 40)]
    image = np.asarray(story.draw([(grey[0], grey[1]), (grey[2], grey[3])], scale=1))
    assert image.shape == (14, 14)
    assert (image[3, 3], image[9, 3], image[3, 9], image[9, 9]) == (10, 20, 30, 40)


def test_a_walk_alone_has_the_columns_that_it_has_among_others(tmp_path, toy_run):
    from ddpm_core.diffusion import latents
    from ddpm_core.generator import Generator

    generator = Generator.load(toy_run(tmp_path, "toys"), "cpu")
    wanted, how, kept = story.stops(5), {"steps": 3, "sampler": "heun"}, []
    list(story.watch(generator.sample([4, 5, 6], **how), latents.noise([4], generator.shape), kept, wanted))
    *_, last = story.walk(generator, 4, wanted, **how)
    assert last.pictures.shape == (10, 16, 16, 3) and np.array_equal(last.pictures, story.pictures_of(kept))
