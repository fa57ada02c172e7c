"""A walk through pictures as something to send: an MP4 that every browser and phone plays, and a strip. Knows no torch.

(The GIF is in pictures.py: Pillow writes it. A GIF has 256 colours a frame and is larger; an MP4 has all, and moves smoothly.)
"""

import io
import math
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from ddpm_core import pictures
from ddpm_core.errors import UsageError

if TYPE_CHECKING:
    from av import VideoStream

SMALLEST = 256  # pixels on the shorter side at least: players blur what they enlarge
LARGEST = 4096  # pixels on the longer side at most: what phones decode
WIDEST = 1600  # pixels, of a strip
_ENCODER = "libx264"
_BT709, _LIMITED = (
    1,
    1,
)  # the numbers of ITU-T H.273 for the matrix, primaries and transfer of HDTV, and for levels 16..235


def to_mp4_bytes(frames: np.ndarray, fps: float = 12, scale: int | None = None) -> bytes:
    """uint8 (N, H, W, 1 or 3), N >= 1, `fps` 1 to 60 a second -> an MP4 (H.264, yuv420p, no sound), played once.

    Each pixel becomes scale x scale, sharp; None = as many as it takes to be 256 pixels. The same frames give the same
    bytes. Raises `UsageError` if PyAV is missing or cannot write H.264, and for frames or numbers that make no film.
    """
    try:
        import av  # here, since only this function needs it
    except ImportError:
        raise UsageError("an MP4 needs PyAV, which is missing: pip install av, or take the GIF.") from None
    frames = np.asarray(frames)
    if frames.ndim != 4 or not frames.size or frames.shape[-1] not in (1, 3) or frames.dtype != np.uint8:
        raise UsageError(
            f"a film needs uint8 pictures (N, H, W, 1 or 3), not {frames.dtype} {frames.shape}: make some first."
        )
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 1 <= fps <= 60:
        raise UsageError(f"fps is {fps!r}: choose 1 to 60 pictures a second.")
    height, width = frames.shape[1:3]
    if scale is None:
        scale = max(1, math.ceil(SMALLEST / min(height, width)))
    if isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale * max(height, width) <= LARGEST:
        raise UsageError(
            f"scale is {scale!r}: choose 1 to {LARGEST // max(height, width)} for {width} x {height} pixels."
        )

    file, pace = io.BytesIO(), Fraction(fps).limit_denominator(1000)
    with av.open(file, "w", format="mp4") as film:
        try:
            stream = cast("VideoStream", film.add_stream(_ENCODER, rate=pace))
        except ValueError:
            raise UsageError(
                "this PyAV cannot write H.264: pip install av brings one that can, or take the GIF."
            ) from None
        shape = _prepared(frames[0], scale).shape
        stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], "yuv420p"
        stream.options = {"crf": "16", "preset": "fast"}  # hardly any loss: flat squares are cheap
        context = stream.codec_context
        context.thread_count = 1  # the same bytes on any number of cores, and training keeps its own
        # Said aloud, or a player guesses the colours by the picture's size.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        for number, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(_prepared(frame, scale), format="rgb24")
            image = image.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
            image.pts, image.time_base = number, 1 / pace
            film.mux(stream.encode(image))
        film.mux(stream.encode(None))
    return file.getvalue()


def strip(walk: np.ndarray, widest: int = WIDEST, gap: int = 2) -> Image.Image:
    """uint8 (N, H, W, C), N >= 1 -> the pictures in one row, or in several of about equal length if one would be wider than
    `widest` pixels. Read like a text: left to right, then down."""
    count, width = len(walk), walk.shape[2]
    rows = math.ceil(count / max(1, (widest - gap) // (width + gap)))
    return pictures.grid(walk, columns=math.ceil(count / rows), gap=gap)


def _prepared(frame: np.ndarray, scale: int) -> np.ndarray:
    """uint8 (H, W, C) -> RGB, enlarged, with even sides: colours have half the resolution in yuv420p. The last row or column is
    there twice where that takes one more."""
    rgb = np.broadcast_to(frame, (*frame.shape[:2], 3)).repeat(scale, 0).repeat(scale, 1)
    return np.ascontiguousarray(np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), "edge"))
