"""How good the pictures are: beside the peers, with each choice of the recipe undone, and grown from a smaller model."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.methods import COMMON_SAMPLER
from benchmarks.tables.results import NOT_YET, TITLES, command, compared_with_its_own, grid, measured_by, measured_on

ERRORS = "± is the standard error of drawing these pictures from one trained model; another training differs by more."
AS_DRAWN = "as the studio draws"
TOO_MUCH = 0.1  # of a run's time, used by other programs
USUAL = {"size": 32, "samples": 2000}  # what both commands do by themselves
COMMON_SINCE = "2026-11-27"  # the tuned peers draw by COMMON_SAMPLER; before, each by a sampler of its own


def quality(results: Path) -> str:
    """Distances after the same minutes of training, one table a data set, and when ours had reached what the peers did."""
    return _in_folder(results / "quality")


def quality_faster(results: Path) -> str:
    """The same on the faster of the two machines with bfloat16."""
    return _in_folder(results / "quality_faster", "benchmarks/results/quality_faster")


def quality_narrow(results: Path) -> str:
    """Narrower peers beside ours, on a third machine."""
    return _in_folder(results / "quality_narrow", "benchmarks/results/quality_narrow")


def quality_float32(results: Path) -> str:
    """The same on a processor without bfloat16."""
    return _in_folder(results / "quality_float32")


def quality_card(results: Path) -> str:
    """The same on a graphics card."""
    return _in_folder(results / "quality_cuda")


def _in_folder(folder: Path, named: str = "") -> str:
    """The tables of one folder; `named` where the command must name it."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*min_*.json"))]
    parts = []
    for dataset, size, minutes in dict.fromkeys((run["dataset"], run["size"], run["minutes"]) for run in found):
        runs = [run for run in found if (run["dataset"], run["size"], run["minutes"]) == (dataset, size, minutes)]
        floor = folder / f"{dataset}_{size}_floor_{runs[0]['samples']}.json"
        options = {
            **{name: runs[0][name] for name in ("dataset", "size", "samples")},
            "minutes": f"{minutes:g}",
            "steps": runs[0]["sampling_steps"],
            "methods": _each(run["method"] for run in runs),
            "seeds": _each(sorted(run["seed"] for run in runs)),
            "results": named,
        }
        by = command("quality", options, {**USUAL, "minutes": "8", "steps": 20, "results": ""})
        parts.append(of_quality(runs, json.loads(floor.read_text()), by))
    return "\n".join(parts) or NOT_YET


def _each(values: Iterable[Any]) -> str:
    """Once each, with commas between them, as the commands take them."""
    return ",".join(str(value) for value in dict.fromkeys(values))


def of_quality(runs: list[dict[str, Any]], floor: dict[str, Any], by: str) -> str:
    """One row a method, the best first: medians over its seeds, all seeds' distances beside. `by`: the command that makes them."""
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
    rows = []
    for key in sorted(by_method, key=best.__getitem__):
        mine, last = by_method[key], [run["marks"][-1] for run in by_method[key]]
        when = "" if key in peers or not peers else reached(mine, min(peers.values()))
        rows.append(
            {
                "method": mine[0]["name"],
                "weights": f"{mine[0]['parameters'] / 1e6:.2f} M",
                "pictures seen": f"{statistics.median(mark['images'] for mark in last):,.0f}",
                f"FD ({first['encoder']})": f"**{best[key]:.0f}**",
                "each seed": ", ".join(f"{mark['frechet']:.0f} ± {mark['frechet_error']:.0f}" for mark in last),
                AS_DRAWN: _as_drawn([run["studio"]["frechet"] for run in mine if "studio" in run]),
                "KD": _plain(statistics.median(mark["kernel"] for mark in last)),
                "reaches the best peer's end after": when,
            }
        )
    floor_row = dict.fromkeys(rows[0], "") | {
        "method": "real pictures (the floor)",
        f"FD ({first['encoder']})": f"{floor['frechet']:.1f}",
        "each seed": f"± {floor['frechet_error']:.1f}",
        "KD": _plain(floor["kernel"]),
    }
    clipped = sum(run["clipped_laps"] for run in runs) / sum(run["laps"] for run in runs)
    left_out = max(run["wall_seconds"] - 60 * run["minutes"] for run in runs)
    lines = [
        f"**{TITLES.get(first['dataset'], first['dataset'])}, {first['size']} px, {first['minutes']:g} minutes each**",
        "",
        *grid([*rows, floor_row]),
        "",
        f"{first['samples']:,} pictures of {first['sampling_steps']} network calls each; medians over the seeds. {ERRORS}"
        f" {100 * clipped:.0f} % of the steps took more than 1.25 times the running median and counted as that, which left out"
        f" {left_out:.0f} s of the run that was disturbed most.{_beside_others(runs)}"
        f"{_by_which(runs)}{compared_with_its_own(first['dataset'], floor=True)} {measured_on(run['machine'] for run in runs)}: `{by}`",
    ]
    return "\n".join(lines) + "\n"


def _beside_others(runs: list[dict[str, Any]]) -> str:
    """Which runs other programs slowed as a whole."""
    named = [
        f"{run['name']}, seed {run['seed']} ({100 * run['others']:.0f} %)"
        for run in runs
        if run.get("others", 0) >= TOO_MUCH
    ]
    return f" Other programs used more than a tenth of the time of {'; '.join(named)}." if named else ""


def _as_drawn(distances: list[float]) -> str:
    """The median over the seeds, and each of them where there are several; "" where none was measured."""
    if not distances:
        return ""
    each = f" ({', '.join(f'{distance:.0f}' for distance in distances)})" if len(distances) > 1 else ""
    return f"{statistics.median(distances):.0f}{each}"


def _by_which(runs: list[dict[str, Any]]) -> str:
    """What the column `AS_DRAWN` is, where it is."""
    names = sorted({run["studio"]["sampler"] for run in runs if "studio" in run})
    if not names:
        return ""
    peers = [run for run in runs if run["method"].startswith(("diffusers_tuned", "lucidrains_tuned"))]
    of_peers = "and the tuned peers'"
    if any(run["machine"]["date"] < COMMON_SINCE for run in peers):
        of_peers = f"(the tuned peers' of before {COMMON_SINCE} by others)"
    return (
        f" FD is of pictures drawn by one sampler, {COMMON_SAMPLER}, ours {of_peers}; the studio draws by {', '.join(names)},"
        " with as many calls. (The peers would gain by that too.)"
    )


def reached(runs: list[dict[str, Any]], distance: float) -> str:
    """The first look at which the median over all the seeds was at `distance` or below, and how many of them were, if not all;
    "" where nobody looked before the end."""
    seen = [{mark["seconds"]: mark["frechet"] for mark in run["marks"]} for run in runs]
    looks = sorted(set.intersection(*map(set, seen)))  # when all seeds were looked at
    if len(looks) < 2:
        return ""
    for seconds in looks:
        there = sum(one[seconds] <= distance for one in seen)
        if statistics.median(one[seconds] for one in seen) <= distance:
            return f"{seconds:.0f} s or less" + (f" ({there} of {len(seen)} seeds)" if there < len(seen) else "")
    return "not in this time"


def _plain(number: float) -> str:
    """Three digits or more, and never as a power of ten."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def ablation(results: Path) -> str:
    """What each choice of the recipe buys, one table a data set."""
    found = [json.loads(path.read_text()) for path in sorted((results / "ablation").glob("*.json"))]
    kinds = dict.fromkeys(map(_compared, found))
    parts = []
    for kind in kinds:
        runs = [run for run in found if _compared(run) == kind]
        options = {
            **{name: runs[0][name] for name in ("dataset", "size", "images", "samples", "sampling_steps")},
            "preset": runs[0].get("preset", "cpu"),
            "network": runs[0].get("network", ""),
            "only": _each(run["variant"] for run in runs),
            "seeds": _each(sorted(run["seed"] for run in runs)),
        }
        usual = {**USUAL, "images": 40_000, "sampling_steps": 20, "preset": "cpu", "network": ""}
        parts.append(of_ablation(runs, command("ablation", options, usual)))
    return "\n".join(parts) or NOT_YET


def _compared(run: dict[str, Any]) -> tuple:
    """What runs of one table have in common."""
    what = run["dataset"], run["size"], run.get("preset", "cpu"), run.get("network", "")
    return *what, run["images"] // 1000, run["samples"], run["sampling_steps"]


def of_ablation(runs: list[dict[str, Any]], by: str) -> str:
    """One row a variant, the best first: the mean over its seeds, beside the default's. `by`: the command that makes them."""
    first = runs[0]
    network = f" with the network {first['network']}" if first.get("network") else ""
    by_variant = {
        key: [run for run in runs if run["variant"] == key] for key in dict.fromkeys(run["variant"] for run in runs)
    }
    means = {key: _mean(mine) for key, mine in by_variant.items()}
    rows = []
    for key in sorted(by_variant, key=means.__getitem__):
        mine = by_variant[key]
        both = {run["seed"] for run in mine} & {run["seed"] for run in by_variant.get("base", [])}
        beside = (
            [_mean([run for run in some if run["seed"] in both]) for some in (mine, by_variant["base"])] if both else []
        )
        rows.append(
            {
                "changed": mine[0]["title"],
                "weights": f"{mine[0]['parameters'] / 1e6:.2f} M",
                f"FD ({first['encoder']})": f"**{means[key]:.0f}**",
                "each seed": ", ".join(f"{run['frechet']:.0f} ± {run['frechet_error']:.0f}" for run in mine),
                "beside the default": f"{beside[0] / beside[1]:.2f}x" if both else "",
                "KD": _plain(statistics.mean(run["kernel"] for run in mine)),
            }
        )
    lines = [
        f"**{TITLES.get(first['dataset'], first['dataset'])}, {first['size']} px, `{first.get('preset', 'cpu')}`{network},"
        f" after {first['images']:,} pictures**",
        "",
        *grid(rows),
        "",
        f"{first['samples']:,} pictures of {first['sampling_steps']} network calls each; means over the seeds, and beside the default over those that both have."
        f" {ERRORS}{compared_with_its_own(first['dataset'])} {measured_on(run['machine'] for run in runs)}: `{by}`",
    ]
    return "\n".join(lines) + "\n"


def _mean(runs: Iterable[dict[str, Any]]) -> float:
    return statistics.mean(run["frechet"] for run in runs)


def growing(results: Path) -> str:
    """What starting from a smaller model saves."""
    folders = sorted(path for path in results.glob("growing*") if path.is_dir())
    every = [[json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))] for folder in folders]
    return "\n".join(of_growing(found) for found in every if found) or NOT_YET


def of_growing(runs: list[dict[str, Any]]) -> str:
    """One row a run: when the grown network was as good as the one from scratch."""
    rows = []
    for run in runs:
        when, ratio, whole = "not in this time", "", ""
        if run["reached"]:
            when, ratio = f"{run['seconds']:.0f} s", f"**{100 * run['ratio']:.0f} %**"
            whole = f"{100 * (1 + run['ratio']):.0f} %"
        rows.append(
            {
                "data": TITLES.get(run["dataset"], run["dataset"]),
                "preset": f"`{run['preset']}`",
                "from": f"{run['from_size']} px",
                "to": f"{run['size']} px",
                "seed": str(run["seed"]),
                "held-out loss from scratch": f"{run['scratch_loss']:.4f} after {run['minutes']:g} min",
                "as good when grown, after": when,
                "of scratch's time": ratio,
                "with the small model's time": whole,
            }
        )
    lines = [
        *grid(rows),
        "",
        f"The small model was trained for as long as scratch. {measured_by(run['machine'] for run in runs)}",
    ]
    return "\n".join(lines) + "\n"
