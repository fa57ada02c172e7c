"""The presets, size by size."""

from pathlib import Path

from ddpm_core.config import SIZES
from ddpm_core.presets import PRESETS, TABLE


def presets(results: Path) -> str:
    """The preset table (ddpm_core/presets.py), size by size."""
    lines = [
        "| px | preset | weights | model file | GFLOP a picture | MB a picture, mixed precision | float32 | batch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        for name in PRESETS:
            row = TABLE[name, size]
            lines.append(
                f"| {size} | `{name}` | {row.weights:g} M | {4 * row.weights:.0f} MB | {row.gflop:g} | {row.mixed:g} | {row.full:g}"
                f" | {row.batch_size} |"
            )
    return "\n".join(lines) + "\n"
