"""The loss curve as a picture."""

import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ddpm_core.training.loss_curve import save_loss_curve, smooth


def falling(count: int) -> list[dict]:
    noise = np.random.default_rng(0).normal(0, 0.1, count)
    return [{"step": 10 * i, "loss": float(math.exp(noise[i]) * (0.05 + 1 / (1 + i / 20)))} for i in range(count)]


def inked(path) -> float:
    """Part of the picture that is not background."""
    return float((np.asarray(Image.open(path).convert("L")) < 250).mean())


def test_a_long_curve_is_a_small_picture(tmp_path):
    save_loss_curve(falling(20_000), tmp_path / "new" / "curve.png")
    path = tmp_path / "new" / "curve.png"
    assert path.stat().st_size < 60_000 and [file.name for file in path.parent.iterdir()] == ["curve.png"]
    assert Image.open(path).size == (800, 450)
    save_loss_curve([], tmp_path / "empty.png")
    assert inked(path) > 1.1 * inked(tmp_path / "empty.png")  # there is a curve in it


@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [{"step": 1, "loss": 0.5}],
        [{"step": 1, "loss": None}, {"step": 2}, {"step": 3, "loss": math.nan}],
        [{"step": 1, "loss": 0.0}, {"step": 2, "loss": -1.0}],
        [{"step": i, "loss": 0.25} for i in range(5)],
    ],
    ids=["empty", "one", "none usable", "zero and below", "constant"],
)
def test_odd_logs_still_make_a_picture(tmp_path, metrics):
    save_loss_curve(metrics, tmp_path / "curve.png")
    assert Image.open(tmp_path / "curve.png").size == (800, 450)


def test_smoothing_keeps_a_line_and_calms_noise():
    assert np.allclose(smooth(np.full(50, 0.3)), 0.3)
    line = np.arange(200.0)
    assert np.allclose(smooth(line)[10:-10], line[10:-10])
    noise = np.random.default_rng(0).normal(size=400)
    assert smooth(noise).std() < 0.4 * noise.std()
    assert smooth(np.zeros(0)).shape == (0,)


def test_no_screen_is_asked_for(tmp_path):
    """In a fresh interpreter: other libraries that this one has loaded may well have loaded it."""
    code = (
        "import sys; from pathlib import Path; from ddpm_core.training.loss_curve import save_loss_curve;"
        f" save_loss_curve({falling(10)!r}, Path({str(tmp_path / 'curve.png')!r}));"
        " sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert (tmp_path / "curve.png").exists()
