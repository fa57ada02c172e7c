"""The presets, size by size."""

from pathlib import Path

from benchmarks.tables.results import grid
from ddpm_core.config import SIZES
from ddpm_core.presets import PRESETS, TABLE


def presets(results: Path) -> str:
    """The preset table (ddpm_core/presets.py), size by size."""
    rows = [
        {
            "px": f"{size}",
            "preset": f"`{name}`",
            "weights": f"{row.weights:g} M",
            "model file": f"{4 * row.weights:.0f} MB",
            "GFLOP a picture": f"{row.gflop:g}",
            "MB a picture, mixed precision": f"{row.mixed:g}",
            "float32": f"{row.full:g}",
            "batch": f"{row.batch_size}",
        }
        for size in SIZES
        for name in PRESETS
        for row in [TABLE[name, size]]
    ]
    return "\n".join(grid(rows)) + "\n"
