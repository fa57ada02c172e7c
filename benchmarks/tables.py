"""Writes the tables of README.md and benchmarks/README.md from results/*.json, so that no figure is ever copied by hand.

python -m benchmarks.tables            # rewrites what stands between <!-- table: NAME --> and <!-- /table -->
python -m benchmarks.tables --check    # changes nothing; exit code 1 when a table is stale
"""

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from ddpm_core.config import SETTINGS, SIZES, SPACING_OF
from ddpm_core.presets import PRESETS, TABLE

HOUSE = Path(__file__).parents[1]
RESULTS = HOUSE / "benchmarks" / "results"
PAGES = (HOUSE / "README.md", HOUSE / "benchmarks" / "README.md")
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
NOT_YET = "Not measured yet.\n"
TUNED = "diffusers_tuned"
TITLES = {"fashion_mnist": "Fashion-MNIST", "openmoji": "OpenMoji", "cifar10": "CIFAR-10"}


def throughput(results: Path) -> str:
    """Pictures a second in training, beside the peers."""
    path = results / "throughput.json"
    if not path.exists():
        return NOT_YET
    result: dict[str, Any] = json.loads(path.read_text())
    lines = [
        "| training | weights | GFLOP an image | images/s | against diffusers | range | against it tuned | GFLOP/s | of peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, row in result["rows"].items():
        ratio = f"**{row['ratio']:.2f}x**" if row["ratio"] else ""
        low_high = "{:.2f} to {:.2f}".format(*row["ratio_range"]) if row["ratio_range"] else ""
        kind = "bfloat16" if row["bfloat16"] else "float32"
        lines.append(
            f"| {result['titles'][key]} (batch {row['batch_size']}) | {row['parameters'] / 1e6:.2f} M | {row['flops'] / 1e9:.2f}"
            f" | {row['images_per_second']:.1f} | {ratio} | {low_high} | {_against(result['rows'], key, TUNED)} | {row['gflops']:.0f}"
            f" | {100 * row['share_of_peak']:.0f} % of {kind} |"
        )
    peak = result["peak_gflops"]
    steps, disturbed, kept = (
        sum(row[name] for row in result["rows"].values())
        for name in ("steps", "disturbed_steps", "disturbed_steps_kept")
    )
    lines += [
        "",
        f"{result['pictures']}; medians over {result['rounds']} interleaved rounds of {result['seconds']:g} s, ratios taken inside a"
        f" round. The machine's fastest convolution reaches {peak['float32']} GFLOP/s in float32 and {peak['bfloat16']} in bfloat16."
        f" {_of_steps(steps, disturbed, kept)} {machine.in_words(result)}, commit {result['commit']}: `{result['command']}`",
    ]
    lines += [f"Left out: {why}" for why in result["left_out"].values()]
    return "\n".join(lines) + "\n"


def _against(rows: dict[str, Any], key: str, base: str) -> str:
    """The median over rounds of a row's pace beside that of `base` in the same round; "" where that was not measured."""
    if base not in rows:
        return ""
    pairs = zip(rows[key]["rounds"], rows[base]["rounds"], strict=True)
    return f"**{statistics.median(pace / other for pace, other in pairs):.2f}x**"


def _of_steps(steps: int, disturbed: int, kept: int) -> str:
    if not disturbed:
        return f"Nothing else was at work beside any of the {steps:,} steps."
    counted = f"{kept:,} of them counted all the same, because too few others remained" if kept else "they do not count"
    return f"Other programs were at work beside {disturbed:,} of {steps:,} steps; {counted}."


def quality(results: Path) -> str:
    """Distances after the same minutes of training, one table a data set, and when ours had reached what the peers did."""
    found = [json.loads(path.read_text()) for path in sorted((results / "quality").glob("*min_*.json"))]
    parts = []
    for dataset, size, minutes in dict.fromkeys((run["dataset"], run["size"], run["minutes"]) for run in found):
        runs = [run for run in found if (run["dataset"], run["size"], run["minutes"]) == (dataset, size, minutes)]
        floor = results / "quality" / f"{dataset}_{size}_floor_{runs[0]['samples']}.json"
        parts.append(of_quality(runs, json.loads(floor.read_text())))
    return "\n".join(parts) or NOT_YET


def of_quality(runs: list[dict[str, Any]], floor: dict[str, Any]) -> str:
    """One row a method, the best first: medians over its seeds, all seeds' distances beside."""
    first = runs[0]
    by_method = {
        key: [run for run in runs if run["method"] == key] for key in dict.fromkeys(run["method"] for run in runs)
    }
    best = {key: statistics.median(run["marks"][-1]["frechet"] for run in mine) for key, mine in by_method.items()}
    peers = {
        key: distance
        for key, distance in best.items()
        if key.startswith(("diffusers", "lucidrains")) and key != "diffusers-network"
    }
    lines = [
        f"**{TITLES.get(first['dataset'], first['dataset'])}, {first['size']} px, {first['minutes']:g} minutes each**",
        "",
        f"| method | weights | pictures seen | FD ({first['encoder']}) | each seed | KD | reaches the best peer's end after |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in sorted(by_method, key=best.__getitem__):
        mine, last = by_method[key], [run["marks"][-1] for run in by_method[key]]
        each = ", ".join(f"{mark['frechet']:.0f} ± {mark['frechet_error']:.0f}" for mark in last)
        when = "" if key in peers or not peers else reached(mine, min(peers.values()))
        lines.append(
            f"| {mine[0]['name']} | {mine[0]['parameters'] / 1e6:.2f} M | {statistics.median(mark['images'] for mark in last):,.0f}"
            f" | **{best[key]:.0f}** | {each} | {statistics.median(mark['kernel'] for mark in last):.3g} | {when} |"
        )
    clipped = sum(run["clipped_laps"] for run in runs) / sum(run["laps"] for run in runs)
    lines += [
        f"| real pictures (the floor) | | | {floor['frechet']:.1f} | ± {floor['frechet_error']:.1f} | {floor['kernel']:.3g} | |",
        "",
        f"{first['samples']:,} pictures of {first['sampling_steps']} network calls each, ± is one standard error;"
        f" medians over the seeds. {100 * clipped:.0f} % of the steps were disturbed and counted as 1.25 times the median step."
        f" {machine.in_words(first['machine'])}: {_commands(runs)}",
    ]
    return "\n".join(lines) + "\n"


def reached(runs: list[dict[str, Any]], distance: float) -> str:
    """The first look at which the median over the seeds was at `distance` or below."""
    looks = sorted({mark["seconds"] for run in runs for mark in run["marks"]})
    for seconds in looks:
        seen = [mark["frechet"] for run in runs for mark in run["marks"] if mark["seconds"] == seconds]
        if statistics.median(seen) <= distance:
            return f"{seconds:.0f} s or less"
    return "not in this time"


def _commands(runs: list[dict[str, Any]]) -> str:
    """Each command that measured some of them."""
    return ", ".join(dict.fromkeys(f"`{run['machine']['command']}`" for run in runs))


def growing(results: Path) -> str:
    """What starting from a smaller model saves."""
    found = [json.loads(path.read_text()) for path in sorted((results / "growing").glob("*.json"))]
    return of_growing(found) if found else NOT_YET


def of_growing(runs: list[dict[str, Any]]) -> str:
    """One row a run: when the grown network was as good as the one from scratch."""
    lines = [
        "| data | from | to | seed | held-out loss from scratch | as good when grown, after | of scratch's time | with the small model's time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        when, ratio, whole = "not in this time", "", ""
        if run["reached"]:
            when, ratio = f"{run['seconds']:.0f} s", f"**{100 * run['ratio']:.0f} %**"
            whole = f"{100 * (1 + run['ratio']):.0f} %"
        lines.append(
            f"| {TITLES.get(run['dataset'], run['dataset'])} | {run['from_size']} px | {run['size']} px | {run['seed']}"
            f" | {run['scratch_loss']:.4f} after {run['minutes']:g} min | {when} | {ratio} | {whole} |"
        )
    lines += [
        "",
        f"Preset `{runs[0]['preset']}`; the small model was trained for as long as scratch. {machine.in_words(runs[0]['machine'])}:"
        f" {_commands(runs)}",
    ]
    return "\n".join(lines) + "\n"


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
        rows = sorted(rows, key=lambda row: (row["who"] != "ours", row["cells"].get("20", {}).get("frechet", math.inf)))
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
            who = "ours" if row["who"] == "ours" else row["who"]
            lines.append(f"| {who}, {row['sampler']} | {row['spacing']} | {shown} |")
        errors = [cell["frechet_error"] for row in rows for cell in row["cells"].values()]
        lines += ["", *_settings(rows, max(calls))]
        lines += [
            f"{first['samples']:,} pictures a cell from the same seeds; one standard error is {min(errors):.1f} to {max(errors):.1f}."
            f" Heun makes one call less where the number is even. {machine.in_words(first['machine'])}: {_commands(rows)}"
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


def ablation(results: Path) -> str:
    """What each choice of the recipe buys, one table a data set."""
    found = [json.loads(path.read_text()) for path in sorted((results / "ablation").glob("*.json"))]
    parts = []
    for dataset, size, images in dict.fromkeys((run["dataset"], run["size"], run["images"] // 1000) for run in found):
        runs = [run for run in found if (run["dataset"], run["size"], run["images"] // 1000) == (dataset, size, images)]
        parts.append(of_ablation(runs))
    return "\n".join(parts) or NOT_YET


def of_ablation(runs: list[dict[str, Any]]) -> str:
    """One row a variant, the best first: the mean over its seeds, beside the default's."""
    first = runs[0]
    by_variant = {
        key: [run for run in runs if run["variant"] == key] for key in dict.fromkeys(run["variant"] for run in runs)
    }
    means = {key: statistics.mean(run["frechet"] for run in mine) for key, mine in by_variant.items()}
    lines = [
        f"**{TITLES.get(first['dataset'], first['dataset'])}, {first['size']} px, after {first['images']:,} pictures**",
        "",
        f"| changed | weights | FD ({first['encoder']}) | each seed | beside the default | KD |",
        "|---|---|---|---|---|---|",
    ]
    for key in sorted(by_variant, key=means.__getitem__):
        mine = by_variant[key]
        each = ", ".join(f"{run['frechet']:.0f} ± {run['frechet_error']:.0f}" for run in mine)
        beside = f"{means[key] / means['base']:.2f}x" if "base" in means else ""
        lines.append(
            f"| {mine[0]['title']} | {mine[0]['parameters'] / 1e6:.2f} M | **{means[key]:.0f}** | {each} | {beside}"
            f" | {statistics.mean(run['kernel'] for run in mine):.3g} |"
        )
    lines += [
        "",
        f"{first['samples']:,} pictures of {first['sampling_steps']} network calls each, ± is one standard error."
        f" {machine.in_words(first['machine'])}: {_commands(runs)}",
    ]
    return "\n".join(lines) + "\n"


def profile(results: Path) -> str:
    """Where a step's time goes, before and after."""
    parts = []
    for title, file in (("Before", "profile_before.json"), ("Now", "profile.json")):
        path = results / file
        if path.exists():
            parts.append(of_profile(title, json.loads(path.read_text())))
    return "\n".join(parts) or NOT_YET


def of_profile(title: str, found: dict[str, Any]) -> str:
    """One column a network: milliseconds of a step and their share, by kind of work."""
    rows = found["rows"]
    kinds = list(next(iter(rows.values()))["milliseconds"])
    lines = [
        f"| {title} | "
        + " | ".join(f"{found['titles'][key]} (batch {row['batch_size']})" for key, row in rows.items())
        + " |",
        "|---|" + "---|" * len(rows),
    ]
    for kind in kinds:
        cells = []
        for row in rows.values():
            spent = row["milliseconds"]
            cells.append(f"{spent[kind]:.0f} ms, {100 * spent[kind] / sum(spent.values()):.0f} %")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    paces = [row["gflops_an_image"] * row["batch_size"] / row["wall"] * 1000 for row in rows.values()]
    lines += [
        "| a step without the profiler | " + " | ".join(f"{row['wall']:.0f} ms" for row in rows.values()) + " |",
        f"| GFLOP/s, of {found['peak_gflops']} | "
        + " | ".join(f"{pace:.0f}, {100 * pace / found['peak_gflops']:.0f} %" for pace in paces)
        + " |",
        "",
        f"{machine.in_words(found)}, commit {found['commit']}: `{found['command']}`",
    ]
    return "\n".join(lines) + "\n"


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


def memory(results: Path) -> str:
    """The plan's memory and pace beside what was measured."""
    path = results / "memory.json"
    if not path.exists():
        return NOT_YET
    found: dict[str, Any] = json.loads(path.read_text())
    lines = [
        "| network | at once | arithmetic | memory, measured | planned | off by | images/s, measured | forecast | off by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"].values():
        cells = [f"`{row['preset']}`, {row['size']} px", f"{row['micro_batch']} of {row['batch_size']}"]
        cells += ["mixed" if row.get("half") else "float32"]
        cells += (
            [f"{row['measured'] / 1e6:.0f} MB", f"{row['planned'] / 1e6:.0f} MB"] if "measured" in row else ["", ""]
        )
        cells += [_off(row["planned"], row["measured"])] if "measured" in row else [""]
        if "forecast" in row:
            cells += [f"{row['images_per_second']:g}", f"{row['forecast']:g}"]
            cells += [_off(row["forecast"], row["images_per_second"])]
        else:
            cells += ["", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"{machine.in_words(found)}, commit {found['commit']}: `{found['command']}`"]
    return "\n".join(lines) + "\n"


def data_path(results: Path) -> str:
    """A step with real batches beside a step with one batch held fixed."""
    path = results / "data_path.json"
    if not path.exists():
        return NOT_YET
    found: dict[str, Any] = json.loads(path.read_text())
    lines = ["| pictures | ms a step | of the fixed batch's time | in half of the rounds |", "|---|---|---|---|"]
    for name, row in found["rows"].items():
        ratio = "" if name == "fixed" else f"**{100 * row['times_fixed']:.1f} %**"
        half = "" if name == "fixed" else "{:.1f} to {:.1f} %".format(*(100 * end for end in row["half"]))
        lines.append(f"| {name}: {row['where']} | {row['milliseconds']:.1f} | {ratio} | {half} |")
    lines += [
        "",
        f"`{found['preset']}`, {found['size']} px, {found['pictures']:,} pictures, batches of {found['batch_size']}; medians over"
        f" {found['rounds_counted']} rounds, {found['rounds_disturbed']} of {found['rounds']} with other programs at work."
        f" {machine.in_words(found)}: `{found['command']}`",
    ]
    return "\n".join(lines) + "\n"


def explorers(results: Path) -> str:
    """How soon the Generation tab answers."""
    path = results / "explorers.json"
    if not path.exists():
        return NOT_YET
    found: dict[str, Any] = json.loads(path.read_text())
    words = {"coarse": "the pad under a moving pointer, from its coarse map", "exact": "the pad's exact picture at rest, with the page's wait of 120 ms"}  # fmt: skip
    lines = ["| milliseconds | median | longest | times |", "|---|---|---|---|"]
    for key, row in found["pad"].items():
        lines.append(f"| {words[key]} | **{row['median']:.0f}** | {row['longest']:.0f} | {row['times']} |")
    for mode, row in found["cancel"].items():
        rest = row["rested"]
        lines.append(
            f"| Cancel in `{mode}`: until nothing is drawn any more | **{1000 * rest['median']:.0f}** | {1000 * rest['longest']:.0f}"
            f" | {rest['times']} |"
        )
    lines += [
        "",
        f"In a real Chromium, with a `cpu` model of 32 px. The page itself says Cancelled after"
        f" {1000 * max(row['told']['longest'] for row in found['cancel'].values()):.0f} ms at the latest."
        f" {machine.in_words(found)}, commit {found['commit']}: `{found['command']}`",
    ]
    return "\n".join(lines) + "\n"


def _off(told: float, measured: float) -> str:
    return f"{100 * (told / measured - 1):+.0f} %"


TABLES: dict[str, Callable[[Path], str]] = {
    "throughput": throughput,
    "quality": quality,
    "ablation": ablation,
    "profile": profile,
    "growing": growing,
    "presets": presets,
    "memory": memory,
    "data_path": data_path,
    "explorers": explorers,
    "samplers": samplers,
}


def table(name: str, results: Path = RESULTS) -> str:
    """The Markdown of table `name`, or a line that says that it was not measured yet."""
    return TABLES[name](results)


def renewed(text: str, results: Path = RESULTS) -> str:
    """`text` with every marked table as the results say now. Raises `KeyError` for a table that nobody writes."""
    return MARKED.sub(lambda found: found[1] + table(found[2], results) + found[3], text)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when a table is stale")
    options = parser.parse_args(argv)
    stale = False
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = renewed(text)
        if new == text:
            continue
        if options.check:
            stale = True
            print(f"{page.relative_to(HOUSE)} has a stale table: run python -m benchmarks.tables")
        else:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(HOUSE)}: rewritten")
    if stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
