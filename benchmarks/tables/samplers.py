"""What each sampler reaches with how many network calls, and how fast it is."""

import json
import math
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.tables.results import NOT_YET, TITLES, commands
from ddpm_core.config import SETTINGS, SPACING_OF


def samplers(results: Path) -> str:
    """Distances by sampler and network calls, and pictures a second, one table a checkpoint."""
    found = [json.loads(path.read_text()) for path in sorted((results / "samplers").glob("*.json"))]
    parts = []
    for key in dict.fromkeys(row["key"] for row in found):
        mine = [row for row in found if row["key"] == key]
        parts.append(of_samplers([row for row in mine if "cells" in row], next((r for r in mine if "rows" in r), None)))
    return "\n".join(parts) or NOT_YET


def of_samplers(rows: list[dict[str, Any]], timed: dict[str, Any] | None) -> str:
    """One row a sampler, ours first, the best at 20 calls first; then what the two settings are worth, and the speed."""
    lines = []
    rows = [row for row in rows if row["cells"]]  # one that was only begun has none
    if rows:
        first = rows[0]
        calls = sorted({int(calls) for row in rows for calls in row["cells"]})
        rows = sorted(
            rows, key=lambda row: (row["who"] == "diffusers", row["cells"].get("20", {}).get("frechet", math.inf))
        )
        lines += [
            f"**{TITLES.get(first['dataset'], first['dataset'])}, {first['size']} px, `{first['preset']}` after"
            f" {first['trained_images']:,} pictures: FD ({first['encoder']}) by network calls**",
            "",
            "| sampler | staircase | " + " | ".join(f"{count:,}" for count in calls) + " |",
            "|---|---|" + "---|" * len(calls),
        ]
        for row in rows:
            cells = [row["cells"].get(str(count)) for count in calls]
            shown = " | ".join(f"{cell['frechet']:.1f}" if cell else "" for cell in cells)
            who = {"autoguided": "ours, autoguided"}.get(row["who"], row["who"])
            lines.append(f"| {who}, {row['sampler']} | {row['spacing']} | {shown} |")
        errors = [cell["frechet_error"] for row in rows for cell in row["cells"].values()]
        lines += ["", *_settings(rows, max(calls))]
        lines += [
            f"{first['samples']:,} pictures a cell from the same seeds; one standard error is {min(errors):.1f} to {max(errors):.1f}."
            f" Heun makes one call less where the number is even. {machine.in_words(first['machine'])}: {commands(rows)}"
        ]
    if timed:
        lines += [
            *([""] if lines else []),
            f"| {timed['steps']} steps | pictures | ours, images/s | diffusers' pipeline | ratio | range |",
            "|---|---|---|---|---|---|",
        ]
        for row in timed["rows"]:
            low, high = row["ratio_range"]
            lines.append(
                f"| {row['sampler']} | {row['pictures']} | {row['ours']:.1f} | {row['diffusers']:.1f} | **{row['ratio']:.2f}x**"
                f" | {low:.2f} to {high:.2f} |"
            )
        lines += [
            "",
            f"The same network, medians over {timed['rounds']} interleaved rounds. {machine.in_words(timed['machine'])}:"
            f" `{timed['machine']['command']}`",
        ]
    return "\n".join(lines) + "\n"


def _settings(rows: list[dict[str, Any]], most: int) -> list[str]:
    """What the named settings reach beside the longest ancestral walk."""
    ours = {(row["sampler"], row["spacing"]): row["cells"] for row in rows if row["who"] == "ours"}
    ancestral = ours.get(("ddpm", SPACING_OF["ddpm"]), {}).get(str(most))
    if ancestral is None:
        return []
    said = []
    for name, how in SETTINGS.items():
        cell = ours.get((how["sampler"], SPACING_OF[how["sampler"]]), {}).get(str(how["steps"]))
        if cell:
            change = 100 * (cell["frechet"] / ancestral["frechet"] - 1)
            said.append(
                f"`{name}` ({how['sampler']}, {how['steps']} calls) is {cell['frechet']:.1f}, {change:+.0f} % against"
                f" {most:,} ancestral steps."
            )
    return [" ".join(said), ""] if said else []
