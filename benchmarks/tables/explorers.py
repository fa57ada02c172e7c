"""How soon the page answers."""

from pathlib import Path

from benchmarks.tables.results import NOT_YET, grid, measured, measured_by


def explorers(results: Path) -> str:
    """How soon the Generation tab answers."""
    if not (found := measured(results / "explorers.json")):
        return NOT_YET
    words = {"coarse": "the pad under a moving pointer, from its coarse map", "exact": "the pad's exact picture at rest, with the page's wait of 120 ms"}  # fmt: skip
    rows = [_waited(words[key], row, unit=1e-3) for key, row in found["pad"].items()]
    for mode, row in found["cancel"].items():
        rows.append(_waited(f"Cancel in `{mode}`: until nothing is drawn any more", row["rested"], unit=1))
    lines = [
        *grid(rows),
        "",
        f"In a real Chromium, with a `{found.get('preset', 'cpu')}` model of {found.get('size', 32)} px. The page itself says Cancelled after"
        f" {1000 * max(row['told']['longest'] for row in found['cancel'].values()):.0f} ms at the latest."
        f" {measured_by([found])}",
    ]
    return "\n".join(lines) + "\n"


def _waited(what: str, row: dict[str, float], unit: float) -> dict[str, str]:
    """How long that took, in milliseconds; `row` counts in `unit` seconds."""
    return {
        "milliseconds": what,
        "median": f"**{1000 * unit * row['median']:.0f}**",
        "longest": f"{1000 * unit * row['longest']:.0f}",
        "times": f"{row['times']}",
    }
