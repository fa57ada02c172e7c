"""One training step: where its time goes, what the plan said of its memory and pace, what real pictures and the open page add."""

from pathlib import Path
from typing import Any

from benchmarks.tables.results import NOT_YET, blanks, grid, measured, measured_by

PROFILES = {"Before": "profile_before.json", "Now": "profile.json", "Now, without bfloat16": "profile_float32.json"}


def profile(results: Path) -> str:
    """Where a step's time goes, before and after, on a processor without bfloat16, and on cards by size."""
    parts = [of_profile(title, found) for title, file in PROFILES.items() if (found := measured(results / file))]
    of_cards = {int(path.stem.rpartition("_")[2]): measured(path) for path in results.glob("profile_cuda_[0-9]*.json")}
    parts += [of_profile(f"On a card, {size} px", found) for size, found in sorted(of_cards.items()) if found]
    return "\n".join(parts) or NOT_YET


def of_profile(title: str, found: dict[str, Any]) -> str:
    """One column a network: milliseconds of a step and their share, by kind of work."""
    rows = {f"{found['titles'][key]} (batch {row['batch_size']})": row for key, row in found["rows"].items()}
    kinds = list(next(iter(rows.values()))["milliseconds"])
    lines = [{title: kind} | {name: _share(row["milliseconds"], kind) for name, row in rows.items()} for kind in kinds]
    paces = {name: row["gflops_an_image"] * row["batch_size"] / row["wall"] * 1000 for name, row in rows.items()}
    lines += [
        {title: "a step without the profiler"} | {name: f"{_short(row['wall'])} ms" for name, row in rows.items()},
        {title: f"GFLOP/s, of {found['peak_gflops']:,}"}
        | {name: f"{pace:,.0f}, {100 * pace / found['peak_gflops']:.0f} %" for name, pace in paces.items()},
    ]
    return "\n".join([*grid(lines), "", measured_by([found])]) + "\n"


def _share(spent: dict[str, float], kind: str) -> str:
    return f"{_short(spent[kind])} ms, {100 * spent[kind] / sum(spent.values()):.0f} %"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"


def memory(results: Path) -> str:
    """The plan's memory and pace beside what was measured, on a processor and on a card."""
    found = [measured(results / file) for file in ("memory.json", "memory_float32.json", "memory_cuda.json")]
    return "\n".join(of_memory(one) for one in found if one) or NOT_YET


def of_memory(found: dict[str, Any]) -> str:
    """A line for each network that was tried."""
    lines = grid([_planned(row) for row in found["rows"].values()])
    lines += ["", f"{blanks(lines)} {measured_by([found])}".strip()]
    return "\n".join(lines) + "\n"


def _planned(row: dict[str, Any]) -> dict[str, str]:
    """One network: what the plan said of it beside what was seen; "" where only the other of the two was measured."""
    weighed, timed = "measured" in row, "forecast" in row
    return {
        "network": f"`{row['preset']}`, {row['size']} px",
        "at once": f"{row['micro_batch']} of {row['batch_size']}",
        "arithmetic": "mixed" if row["half"] else "float32",
        "memory, measured": f"{row['measured'] / 1e6:.0f} MB" if weighed else "",
        "planned": f"{row['planned'] / 1e6:.0f} MB" if weighed else "",
        "memory off by": _off(row["planned"], row["measured"]) if weighed else "",
        "images/s, measured": f"{row['images_per_second']:g}" if timed else "",
        "forecast": f"{row['forecast']:g}" if timed else "",
        "pace off by": _off(row["forecast"], row["images_per_second"]) if timed else "",
    }


def _off(told: float, measured: float) -> str:
    return f"{100 * (told / measured - 1):+.0f} %"


def data_path(results: Path) -> str:
    """A step with real batches beside a step with one batch held fixed, one table a machine, preset and size."""
    every = (measured(path) for path in sorted(results.glob("data_path_*.json")))
    return "\n".join(of_data_path(found) for found in every if found) or NOT_YET


def open_page(results: Path) -> str:
    """What an open page takes from a run beside it, before it rested and now."""
    before, now = (measured(results / file) for file in ("open_page_before.json", "open_page.json"))
    return of_open_page({"before": before, "now": now}) if before and now else NOT_YET


def of_open_page(found: dict[str, dict[str, Any]]) -> str:
    """One row with the page closed and one a tab, two columns a version of the page."""
    rows = []
    for tab in found["now"]["rows"]:
        row = {"the page": tab if tab == "closed" else f"open on {tab}"}
        for version, one in found.items():
            seen = one["rows"][tab]
            beside, browser = "", ""  # of the closed page itself
            if tab != "closed":
                share, low, high = (100 * ratio for ratio in (seen["times_closed"], *seen["between"]))
                beside, browser = f", {share:.0f} % ({low:.0f} to {high:.0f})", f"{seen['browser']:.2f} cores"
            row[f"{version}: steps a second"] = f"{seen['steps_a_second']:.1f}{beside}"
            row[f"{version}: the browser takes"] = browser
        rows.append(row)
    lines = [
        *grid(rows),
        "",
        f"Medians over {found['before']['rounds']} and {found['now']['rounds']} rounds; %: of the same round's pace with the page closed, in"
        f" brackets the lowest and the highest. {measured_by(found.values())}",
    ]
    return "\n".join(lines) + "\n"


def of_data_path(found: dict[str, Any]) -> str:
    """One row a place where pictures wait."""
    rows = []
    for name, row in found["rows"].items():
        ratio, half = "", ""  # of the fixed batch itself
        if name != "fixed":
            ratio = f"**{100 * row['times_fixed']:.1f} %**"
            half = "{:.1f} to {:.1f} %".format(*(100 * end for end in row["half"]))
        rows.append(
            {
                "pictures": f"{name}: {row['where']}",
                "ms a step": f"{row['milliseconds']:.1f}",
                "of the fixed batch's time": ratio,
                "in half of the rounds": half,
            }
        )
    lines = [
        *grid(rows),
        "",
        f"`{found['preset']}`, {found['size']} px, {found['pictures']:,} pictures, batches of {found['batch_size']}; medians over"
        f" {found['rounds_counted']} rounds, {found['rounds_disturbed']} of {found['rounds']} with other programs at work."
        f" {measured_by([found])}",
    ]
    return "\n".join(lines) + "\n"
