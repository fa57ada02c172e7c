"""How many pictures a second training takes: this project against what people install today, as it comes and tuned.

    python -m benchmarks.throughput
    python -m benchmarks.throughput --only diffusers,standard --rounds 3 --seconds 1

Every row lives in a process of its own, with its own threads and memory settings; the parent wakes one after the other, round
after round, so that whatever slows the machine for a while slows them all. Figures are medians over rounds, ratios are taken
inside a round. Steps beside which other programs were at work are left out where enough others remain. The machine's peak is
measured in the same rounds: its fastest 3x3 convolution, forward, best of several shapes and both layouts.

All rows get the same pictures (OpenMoji, in memory), which spares the peers the reading of files. Writes
benchmarks/results/throughput.json; `python -m benchmarks.tables` makes the table of it.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.rows import Child, Row
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError

RESULTS = Path(__file__).parent / "results" / "throughput.json"
BASE = "diffusers"  # the row that the others are compared with
PEAK = "peak"  # no row: the process that measures the machine's peak
PAUSE = 0.3  # seconds between rows: the threads of the one before spin for a while before they sleep

ROWS: dict[str, Row] = {
    "diffusers": Row("diffusers, its defaults", False, "diffusers"),
    "diffusers_tuned": Row("diffusers, tuned", True, "diffusers_tuned"),
    "lucidrains": Row("denoising-diffusion-pytorch, its defaults", False, "lucidrains"),
    "lucidrains_tuned": Row("denoising-diffusion-pytorch, tuned", True, "lucidrains_tuned"),
    "cpu": Row("ours, preset `cpu`", True, "ours-cpu"),
    "standard": Row("ours, preset `standard`", True, "ours-standard"),
    "full": Row("ours, full resolution", True, "full-resolution"),
    "full_float32": Row("ours, full resolution, amp off", False, "full-resolution", {"amp": False}),
    "their_network": Row("control: diffusers' network, our recipe", True, "diffusers-network"),
    "their_recipe": Row("control: our full-resolution network, diffusers' recipe", False, "ours_their_recipe"),
}


def measure(
    keys: list[str],
    images: np.ndarray,
    rounds: int,
    seconds: float,
    device: str,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """{"peak": {...}, "rows": {key: {...}}}: the figures of the rows `keys`, and under "left_out" the rows that could not run."""
    children: dict[str, Child] = {}
    left_out: dict[str, str] = {}
    for key in (PEAK, *keys):
        try:
            children[key] = Child(key, ROWS.get(key), images, device)
        except StudioError as error:
            left_out[key] = str(error)
            say(str(error))
    turns: dict[str, list[dict[str, Any]]] = {key: [] for key in children}
    try:
        for number in range(rounds):
            for key, child in children.items():
                time.sleep(PAUSE)
                turns[key].append(child.turn(seconds))
            said = (f"{key} {turns[key][-1]['images_per_second']:.1f}" for key in children if key != PEAK)
            say(f"round {number + 1} of {rounds}, images/s: " + ", ".join(said))
    finally:
        for child in children.values():
            child.end()
    peaks = {kind: max(turn[kind] for turn in turns[PEAK]) for kind in ("float32", "bfloat16")}
    rows = {key: summary(children[key].about, turns[key], turns.get(BASE), peaks) for key in children if key != PEAK}
    return {"peak_gflops": {kind: round(value) for kind, value in peaks.items()}, "rows": rows, "left_out": left_out}


def summary(
    about: dict[str, Any], turns: list[dict[str, Any]], base: list[dict[str, Any]] | None, peaks: dict[str, float]
) -> dict[str, Any]:
    """A row's figures from its rounds; ratios are taken with the base row's turn of the same round."""
    paces = [turn["images_per_second"] for turn in turns]
    gflops = statistics.median(paces) * about["flops"] / 1e9
    ratios = [pace / other["images_per_second"] for pace, other in zip(paces, base or [], strict=False)]
    return {
        **about,
        "images_per_second": round(statistics.median(paces), 2),
        "rounds": [round(pace, 2) for pace in paces],
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)] if ratios else None,
        "gflops": round(gflops, 1),
        "share_of_peak": round(gflops / peaks["bfloat16" if about["bfloat16"] else "float32"], 3),
        "steps": sum(turn["steps"] for turn in turns),
        "disturbed_steps": sum(turn["disturbed"] for turn in turns),
        "disturbed_steps_kept": sum(turn["disturbed"] for turn in turns if turn["kept"]),
    }


def chosen(only: str | None) -> list[str]:
    """The rows of `--only`, in the table's order. Raises `UsageError` for one that does not exist."""
    wanted = only.split(",") if only else list(ROWS)
    for key in wanted:
        if key not in ROWS:
            raise UsageError(f"there is no row {key!r}: choose from {', '.join(ROWS)}.")
    return [key for key in ROWS if key in wanted]


def show(result: dict[str, Any]) -> Iterator[str]:
    """The result as lines for a terminal."""
    for key, row in result["rows"].items():
        ratio = f"{row['ratio']:.2f}x" if row["ratio"] else ""
        yield (
            f"{key:18} {row['images_per_second']:8.1f} images/s {ratio:>8} {row['parameters'] / 1e6:6.2f} M"
            f" {row['flops'] / 1e9:6.2f} GFLOP/image {100 * row['share_of_peak']:4.0f} % of peak,"
            f" {row['disturbed_steps']} of {row['steps']} steps disturbed"
        )
    yield f"peak: {result['peak_gflops']['float32']} GFLOP/s float32, {result['peak_gflops']['bfloat16']} bfloat16"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each row trains in a round")
    parser.add_argument("--only", help=f"rows, with commas between them: {', '.join(ROWS)}")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    try:
        keys = chosen(options.only)
        images = np.array(catalogue.load("openmoji", options.size, options.data_dir).images)
        result = measure(
            keys, images, options.rounds, options.seconds, options.device, lambda line: print(line, flush=True)
        )
    except StudioError as error:
        sys.exit(f"throughput: {error}")
    for line in show(result):
        print(line)
    words = sys.argv[1:] if argv is None else argv
    about = machine.describe(" ".join(["python -m benchmarks.throughput", *words]))
    titles = {key: ROWS[key].title for key in result["rows"]}
    settings = {"pictures": f"OpenMoji, {options.size} px", "rounds": options.rounds, "seconds": options.seconds}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**about, **settings, "titles": titles, **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
