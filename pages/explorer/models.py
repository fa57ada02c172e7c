"""Models side by side: one noise for all of them, whatever their sizes, and what their pictures are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError
from pages import charts
from pages.texts import t

if TYPE_CHECKING:
    import numpy as np

INKS = ("accent", "wait", "good", "bad")
PEEKED = 200  # pictures of the data set that its spectrum is taken of


def spectra(named: Sequence[tuple[str, "np.ndarray"]], run: str, root: Path, data_dir: Path) -> dict[str, Any]:
    """The figure of each model's pictures (name, uint8 (N, H, W, C)) and, where it can be had, of the data `run` learned from."""
    from ddpm_core.evaluation import spectrum
    from ddpm_core.runs import Run

    curves = []
    try:
        config = Run(root, run).config()
        data = catalogue.peek(
            config.dataset, config.size, PEEKED, data_dir,
            crop=config.crop, background=config.background, colour=config.colour,
        )  # fmt: skip
        curves.append(
            charts.Curve(t("models.data"), "faint-strong", *_plain(spectrum.radial_power(data)), reference=True)
        )
    except StudioError:
        pass  # the pictures are somewhere else now: the models are compared with each other
    for ink, (name, made) in zip(INKS, named, strict=False):
        curves.append(charts.Curve(name, ink, *_plain(spectrum.radial_power(made))))
    return charts.spectrum_figure(curves)


def _plain(curve: "tuple[np.ndarray, np.ndarray]") -> tuple[list[float], list[float]]:
    return curve[0].tolist(), curve[1].tolist()
