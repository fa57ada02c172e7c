"""Large arrays of small squares: in order, antialiased, only a few in memory at a time."""

import numpy as np
import pytest
from PIL import Image

from ddpm_core.data import arrays

PHOTOS = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(300)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_every_picture_is_what_pillow_makes_of_it_alone(size):
    method = Image.Resampling.LANCZOS if size < 32 else Image.Resampling.BICUBIC
    drawn = list(arrays.draw(PHOTOS, LABELS, size, 3, None))
    assert [label for _, label in drawn] == LABELS.tolist()
    for photo, (picture, _) in zip(PHOTOS, drawn, strict=True):
        expected = np.asarray(Image.fromarray(photo).resize((size, size), method)).transpose(2, 0, 1)
        assert picture.shape == (3, size, size) and np.array_equal(picture, expected)


def test_reduction_keeps_the_mean_and_is_antialiased():
    stripes = np.zeros((1, 512, 512), np.uint8)
    stripes[:, :, ::2] = 255
    assert abs(arrays.squares(stripes, 32, 1).astype(float) - 127.5).max() < 4


def test_picks_come_in_their_order_and_beyond_the_end_is_the_last():
    drawn = list(arrays.draw(PHOTOS, LABELS, 32, 3, [7, 0, 999]))
    assert [label for _, label in drawn] == [7, 0, 299]
    assert np.array_equal(drawn[0][0], PHOTOS[7].transpose(2, 0, 1))


def test_rows_are_read_only_when_their_turn_comes():
    class Rows:
        read = 0

        def __getitem__(self, indices):
            self.read += len(indices)
            return PHOTOS[indices % 300]

    rows = Rows()
    drawing = arrays.draw(rows, np.zeros(1_000_000, int), 32, 3, None)
    for _ in range(10):
        next(drawing)
    drawing.close()
    assert rows.read <= 2 * 8 * arrays._TOGETHER
