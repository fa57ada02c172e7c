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
