"""The loss of a run as a small PNG, for people who look at files and not at a page."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddpm_core import atomic

POINTS = 600  # no more than the picture has columns to show them


def save_loss_curve(metrics: list[dict[str, Any]], path: Path) -> None:
    """Draws the loss over the steps, each log line light and their smoothed course dark, and writes it whole or not at all.

    `metrics` are rows with `step` and `loss`; rows without a finite loss are left out. Raises OSError if the disk refuses.
    """
    # Figure and not pyplot: pyplot keeps global state and may look for a screen. Here and not above: a second to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [(row["step"], row["loss"]) for row in metrics if isinstance(row.get("loss"), int | float)]
    steps, losses = np.array([row for row in rows if np.isfinite(row[1])], dtype=float).reshape(-1, 2).T

    figure = Figure(figsize=(8, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    if len(losses):
        thin = np.linspace(0, len(losses) - 1, min(POINTS, len(losses))).astype(int)
        axes.plot(steps[thin], losses[thin], color="#9db4d8", linewidth=0.8, label="logged")
        axes.plot(steps[thin], smooth(losses)[thin], color="#1f4e9c", linewidth=2.0, label="smoothed")
        axes.legend(frameon=False)
        # From a first loss near 1 all later progress is the lowest fifth of a linear axis.
        if losses.min() > 0 and losses.max() > 5 * losses.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)

    path.parent.mkdir(parents=True, exist_ok=True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    with atomic.writing(path) as file:
        picture.quantize(32).save(file, format="PNG", optimize=True)  # a third of the size, no difference to see


def smooth(losses: np.ndarray) -> np.ndarray:
    """A running mean whose window is a twentieth of all that is there, shorter at the ends. Same shape, (N,)."""
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    at = np.arange(len(losses))
    half = np.minimum(at, max(1, len(losses) // 40))  # narrow at the start, where the loss falls steeply
    low, high = at - half, np.minimum(len(losses), at + half + 1)
    return (sums[high] - sums[low]) / (high - low)
