"""How good the pictures are: beside the peers, with each choice of the recipe undone, and grown from a smaller model."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.tables.results import NOT_YET, TITLES, commands


def quality(results: Path) -> str:
    """Distances after the same minutes of training, one table a data set, and when ours had reached what the peers did."""
    return _in_folder(results / "quality")


def quality_float32(results: Path) -> str:
    """The same on a processor without bfloat16."""
    return _in_folder(results / "quality_float32")


def quality_card(results: Path) -> str:
    """The same on a graphics card."""
    return _in_folder(results / "quality_cuda")


def _in_folder(folder: Path) -> str:
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*min_*.json"))]
    parts = []
    for dataset, size, minutes in dict.fromkeys((run["dataset"], run["size"], run["minutes"]) for run in found):
        runs = [run for run in found if (run["dataset"], run["size"], run["minutes"]) == (dataset, size, minutes)]
        floor = folder / f"{dataset}_{size}_floor_{runs[0]['samples']}.json"
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
        f" {machine.in_words(first['machine'])}: {commands(runs)}",
    ]
    return "\n".join(lines) + "\n"


def reached(runs: list[dict[str, Any]], distance: float) -> str:
    """The first look at which the median over the seeds was at `distance` or below; "" where nobody looked before the end."""
    looks = sorted({mark["seconds"] for run in runs for mark in run["marks"]})
    if len(looks) < 2:
        return ""
    for seconds in looks:
        seen = [mark["frechet"] for run in runs for mark in run["marks"] if mark["seconds"] == seconds]
        if statistics.median(seen) <= distance:
            return f"{seconds:.0f} s or less"
    return "not in this time"


def ablation(results: Path) -> str:
    """What each choice of the recipe buys, one table a data set."""
    found = [json.loads(path.read_text()) for path in sorted((results / "ablation").glob("*.json"))]
    kinds = dict.fromkeys(map(_compared, found))
    parts = [of_ablation([run for run in found if _compared(run) == kind]) for kind in kinds]
    return "\n".join(parts) or NOT_YET


def _compared(run: dict[str, Any]) -> tuple:
    """What runs of one table have in common."""
    return run["dataset"], run["size"], run.get("preset", "cpu"), run["images"] // 1000


def of_ablation(runs: list[dict[str, Any]]) -> str:
    """One row a variant, the best first: the mean over its seeds, beside the default's."""
    first = runs[0]
    by_variant = {
        key: [run for run in runs if run["variant"] == key] for key in dict.fromkeys(run["variant"] for run in runs)
    }
    means = {key: statistics.mean(run["frechet"] for run in mine) for key, mine in by_variant.items()}
    lines = [
        f"**{TITLES.get(first['dataset'], first['dataset'])}, {first['size']} px, `{first.get('preset', 'cpu')}`,"
        f" after {first['images']:,} pictures**",
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
        f" {machine.in_words(first['machine'])}: {commands(runs)}",
    ]
    return "\n".join(lines) + "\n"


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
        f" {commands(runs)}",
    ]
    return "\n".join(lines) + "\n"
