"""A film is decoded again and shows what went in; a strip has all pictures in their order."""

import io
import subprocess
import sys

import numpy as np
import pytest

from ddpm_core import film
from ddpm_core.errors import UsageError

av = pytest.importorskip("av")


def some(count=7, height=32, width=32, channels=3, seed=0):
    """Smooth, colourful and different: coarse squares, so that halved colour resolution blurs little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    return coarse[:, ::8, ::8].repeat(8, 1).repeat(8, 2)[:, :height, :width]


def decoded(mp4: bytes):
    """(frames uint8 (N, H, W, 3), what the file says about itself)"""
    with av.open(io.BytesIO(mp4)) as file:
        stream = file.streams.video[0]
        frames = list(file.decode(video=0))
        about = {
            "codec": stream.codec_context.name,
            "pix_fmt": stream.codec_context.pix_fmt,
            "fps": float(stream.average_rate),
            "seconds": float(stream.duration * stream.time_base),
            "colours": (frames[0].colorspace, frames[0].color_range),
            "streams": len(file.streams),
            "times": [float(frame.time) for frame in frames],
        }
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), about


class TestMp4:
    def test_every_frame_is_there_in_its_order_and_its_colours(self):
        pictures = some()
        seen, about = decoded(film.to_mp4_bytes(pictures, fps=10))
        assert seen.shape == (7, 256, 256, 3)
        middles = seen.reshape(7, 32, 8, 32, 8, 3)[:, :, 3:5, :, 3:5].astype(int)
        apart = np.abs(middles - pictures[:, :, None, :, None])
        assert apart.mean() < 4
        nearest = [
            np.abs(frame.astype(int) - seen[i].astype(int)).mean()
            for i, frame in enumerate(np.repeat(np.repeat(pictures, 8, 1), 8, 2))
        ]
        assert max(nearest) < 8 < np.abs(seen[0].astype(int) - seen[1]).mean()
        assert about == {
            "codec": "h264",
            "pix_fmt": "yuv420p",
            "fps": 10,
            "seconds": pytest.approx(0.7),
            "colours": (1, 1),  # BT.709, limited range
            "streams": 1,
            "times": pytest.approx([i / 10 for i in range(7)]),
        }

    @pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3, (200, 50, 120)])
    def test_plain_colours_are_kept(self, colour):
        seen, _ = decoded(film.to_mp4_bytes(np.full((2, 32, 32, 3), colour, np.uint8)))
        assert np.abs(seen.astype(int) - colour).max() <= 4

    def test_grey_becomes_grey(self):
        ramp = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[None, None, :, None], (2, 32, 32, 1))
        seen, _ = decoded(film.to_mp4_bytes(ramp))
        assert np.abs(np.diff(seen.astype(int), axis=-1)).max() <= 3
        assert np.abs(seen[0, 128, 4::8, 0].astype(int) - ramp[0, 0, :, 0]).max() <= 4

    @pytest.mark.parametrize(
        "height, width, scale, size",
        [
            (32, 32, None, (256, 256)),
            (64, 64, None, (256, 256)),
            (96, 96, None, (288, 288)),
            (256, 256, None, (256, 256)),
            (300, 400, None, (300, 400)),
            (32, 48, None, (256, 384)),
            (33, 35, 1, (34, 36)),
            (33, 35, None, (264, 280)),
            (32, 32, 3, (96, 96)),
            (1, 1, None, (256, 256)),
        ],
    )
    def test_sides_are_even_and_large_enough(self, height, width, scale, size):
        seen, _ = decoded(film.to_mp4_bytes(np.full((1, height, width, 3), 90, np.uint8), scale=scale))
        assert seen.shape == (1, *size, 3)

    def test_pixels_stay_squares(self):
        board = np.zeros((1, 32, 32, 1), np.uint8)
        board[:, ::2, ::2] = board[:, 1::2, 1::2] = 255
        seen, _ = decoded(film.to_mp4_bytes(board))
        large = board[0].repeat(8, 0).repeat(8, 1)
        assert np.abs(seen[0].astype(int) - large).mean() < 2  # a blurred one would be grey at every edge

    def test_a_single_picture_and_odd_paces_are_films_too(self):
        seen, about = decoded(film.to_mp4_bytes(some(1), fps=1))
        assert len(seen) == 1 and about["seconds"] == pytest.approx(1)
        seen, about = decoded(film.to_mp4_bytes(some(40), fps=12.5))
        assert len(seen) == 40 and about["fps"] == 12.5 and about["seconds"] == pytest.approx(3.2)

    def test_the_same_frames_give_the_same_bytes_and_not_a_word(self, capfd):
        assert film.to_mp4_bytes(some()) == film.to_mp4_bytes(some())
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        "frames, how, wrong",
        [
            (some(0), {}, r"a film needs .* not uint8 \(0, 32, 32, 3\)"),
            (some(2)[0], {}, "a film needs"),
            (some(2).astype(np.float32), {}, "not float32"),
            (some(2, channels=2), {}, "a film needs"),
            (some(2), {"fps": 0}, "fps is 0: choose 1 to 60"),
            (some(2), {"fps": 61}, "fps is 61"),
            (some(2), {"fps": float("nan")}, "fps is nan"),
            (some(2), {"scale": 0}, "scale is 0: choose 1 to 128 for 32 x 32"),
            (some(2), {"scale": 129}, "scale is 129"),
            (some(2), {"scale": 1.5}, "scale is 1.5"),
        ],
    )
    def test_what_makes_no_film_is_told_in_one_line(self, frames, how, wrong):
        with pytest.raises(UsageError, match=wrong) as caught:
            film.to_mp4_bytes(frames, **how)
        assert "\n" not in str(caught.value)

    def test_without_pyav_the_line_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(UsageError, match="needs PyAV, which is missing: pip install av, or take the GIF"):
            film.to_mp4_bytes(some())

    def test_without_its_encoder_too(self, monkeypatch):
        monkeypatch.setattr(film, "_ENCODER", "no_such_encoder")
        with pytest.raises(UsageError, match="cannot write H.264: pip install av"):
            film.to_mp4_bytes(some())


class TestStrip:
    def test_a_short_walk_is_one_row(self):
        pictures = some(5)
        image = np.asarray(film.strip(pictures, gap=2))
        assert image.shape == (36, 2 + 5 * 34, 3)
        for i, picture in enumerate(pictures):
            assert np.array_equal(image[2:34, 2 + 34 * i : 34 + 34 * i], picture)

    @pytest.mark.parametrize("count, rows, columns", [(11, 1, 11), (12, 2, 6), (23, 3, 8), (25, 3, 9)])
    def test_a_long_walk_is_several_rows_of_about_equal_length(self, count, rows, columns):
        image = film.strip(some(count), widest=2 + 11 * 34)
        assert image.size == (2 + columns * 34, 2 + rows * 34)

    def test_no_strip_is_wider_than_asked_but_one_picture_always_fits(self):
        for count in (1, 7, 100, 1024):
            assert film.strip(some(count)).width <= film.WIDEST
        assert film.strip(some(3), widest=10).size == (36, 2 + 3 * 34)

    def test_grey_stays_grey(self):
        assert film.strip(some(3, channels=1)).mode == "L"


def test_films_need_no_torch_and_no_av_until_they_are_made():
    code = "import sys, ddpm_core.film; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
