"""What each sampler reaches with how many network calls, and how fast it is."""

import json
import math
from pathlib import Path
from typing import Any

from benchmarks.tables.results import NOT_YET, TITLES, blanks, compared_with_its_own, grid, measured_by, measured_on
from ddpm_core.config import SETTINGS, SPACING_OF

BEST = 5  # rows of the short table


def samplers(results: Path, short: bool = False) -> str:
    """Distances by sampler and network calls, and pictures a second, one table a checkpoint."""
    found = [json.loads(path.read_text()) for path in sorted((results / "samplers").glob("*.json"))]
    parts = []
    for key in dict.fromkeys(row["key"] for row in found):
        mine = [row for row in found if row["key"] == key]
        by_count: dict[int, list[dict[str, Any]]] = {}
        for row in mine:
            if "cells" in row:
                by_count.setdefault(row["samples"], []).append(row)
        parts += [of_samplers(rows, None, short) for rows in by_count.values()]
        timed = next((row for row in mine if "rows" in row), None)
        if timed and not short:
            parts.append(of_samplers([], timed))
    return "\n".join(parts) or NOT_YET


def samplers_short(results: Path) -> str:
    """The few that draw best, whoever's they are, without the speed and the commands."""
    return samplers(results, short=True)


def of_samplers(rows: list[dict[str, Any]], timed: dict[str, Any] | None, short: bool = False) -> str:
    """One row a sampler, ours first, the best at 20 calls first; then what the two settings are worth, and the speed."""
    lines = []
    rows = [row for row in rows if row["cells"]]  # one that was only begun has none
    if rows:
        first = rows[0]
        rows = sorted(rows, key=lambda row: row["cells"].get("20", {}).get("frechet", math.inf))
        shown = sorted(rows[:BEST] if short else rows, key=lambda row: row["who"] == "diffusers")
        calls = sorted({int(calls) for row in shown for calls in row["cells"]})
        lines += [
            f"**{TITLES.get(first['dataset'], first['dataset'])}, {first['size']} px, `{first['preset']}` after"
            f" {first['trained_images']:,} pictures: FD ({first['encoder']}) by network calls**",
            "",
            *grid([_of_sampler(row, calls) for row in shown]),
        ]
        cells = [(row, cell) for row in shown for cell in row["cells"].values()]
        errors = [cell["frechet_error"] for _, cell in cells]
        with_heun = any(row["sampler"] == "heun" for row in shown)
        heun = " Heun makes one call less where the number is even." if with_heun else ""
        machines = (measured_on if short else measured_by)(cell.get("machine", row["machine"]) for row, cell in cells)
        lines += [
            "",
            *_settings(rows),
            f"{first['samples']:,} pictures a cell from the same seeds; one standard error is {min(errors):.1f} to {max(errors):.1f}."
            f"{heun}{blanks(lines)}{compared_with_its_own(first['dataset'])} {machines}{'.' if short else ''}",
        ]
    if timed:
        paces = [
            {
                f"{timed['steps']} steps": row["sampler"],
                "pictures": f"{row['pictures']}",
                "ours, images/s": f"{row['ours']:.1f}",
                "diffusers' pipeline": f"{row['diffusers']:.1f}",
                "ratio": f"**{row['ratio']:.2f}x**",
                "range": "{:.2f} to {:.2f}".format(*row["ratio_range"]),
            }
            for row in timed["rows"]
        ]
        lines += [
            *([""] if lines else []),
            *grid(paces),
            "",
            f"The same network, medians over {timed['rounds']} interleaved rounds. {measured_by([timed['machine']])}",
        ]
    return "\n".join(lines) + "\n"


def _of_sampler(row: dict[str, Any], calls: list[int]) -> dict[str, str]:
    """Its distances, call count by call count; "" where one was not measured."""
    who = {"autoguided": "ours, autoguided"}.get(row["who"], row["who"])
    found = {f"{count:,}": row["cells"].get(str(count)) for count in calls}
    cells = {count: f"{cell['frechet']:.1f}" if cell else "" for count, cell in found.items()}
    return {"sampler": f"{who}, {row['sampler']}", "staircase": row["spacing"], **cells}


def _settings(rows: list[dict[str, Any]]) -> list[str]:
    """What the named settings reach beside the longest ancestral walk."""
    most = max(int(calls) for row in rows for calls in row["cells"])
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
                f"`{name}` ({how['sampler']}, {how['steps']} calls) is {cell['frechet']:.1f} ± {cell['frechet_error']:.1f},"
                f" {change:+.0f} % against {most:,} ancestral steps."
            )
    return [" ".join(said), ""] if said else []
