"""How many pictures a second training takes: this project against what people install today, as it comes and tuned.

    python -m benchmarks.throughput
    python -m benchmarks.throughput --only diffusers,standard --rounds 3 --seconds 1 --output some.json
    python -m benchmarks.throughput --size 64 --device cuda

Every row lives in a process of its own, with its own threads and memory settings; the parent wakes one after the other, round
after round, so that whatever slows the machine for a while slows them all. Figures are medians over rounds, ratios are taken
inside a round. Steps beside which other programs were at work are left out where enough others remain. The machine's peak is
measured in the same rounds: its fastest 3x3 convolution, forward, best of several shapes and both layouts.

All rows get the same pictures (OpenMoji, in memory), which spares the peers the reading of files. Writes
benchmarks/results/throughput_SIZE.json, throughput_float32_SIZE.json on a processor without bfloat16, throughput_cuda_SIZE.json on
a card; `python -m benchmarks.tables` makes the tables of them. Some rows alone replace no file of more: they need an `--output`.

On a graphics card the rows are others: the peers' networks are about as large as ours (at 256 px half), tuned means compiled as well, and once more with
CUDA graphs. All rows start at the same time there, as compiling takes a minute of one core each.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from benchmarks import machine
from benchmarks.arguments import COUNT
from benchmarks.records import nothing_lost, results_of, rows_of, write
from benchmarks.rows import Child, Row, compiles
from ddpm_core import devices
from ddpm_core.commandline import number
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError

BASE = "diffusers"  # the row that the others are compared with
PEAK = "peak"  # no row: the process that measures the machine's peak
PAUSE = 0.3  # seconds between rows: the threads of the one before spin for a while before they sleep
PATIENCE = 600.0  # seconds
# Of several of these commands on one machine only one is measured at a time; the others' rows may be ready, and sleep.
ALONE = Path(tempfile.gettempdir()) / "ddpm_studio_throughput.lock"

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
ROWS_ON_A_CARD: dict[str, Row] = {
    "diffusers": ROWS["diffusers"],
    "diffusers_tuned": ROWS["diffusers_tuned"],
    "diffusers_tuned_graphs": Row("diffusers, tuned, CUDA graphs", True, "diffusers_tuned_graphs"),
    "lucidrains": ROWS["lucidrains"],
    "lucidrains_tuned": ROWS["lucidrains_tuned"],
    "lucidrains_tuned_graphs": Row("denoising-diffusion-pytorch, tuned, CUDA graphs", True, "lucidrains_tuned_graphs"),
    "standard": ROWS["standard"],
    "standard_float32": Row("ours, preset `standard`, amp off", False, "ours-standard", {"amp": False}),
    "standard_eager": Row("ours, preset `standard`, compile off", True, "ours-standard", {"compile": False}),
    "their_network": Row(ROWS["their_network"].title, True, "diffusers-network", {"base": "standard"}),
}


def rows_on(device: torch.device) -> dict[str, Row]:
    """The rows that are compared there."""
    return ROWS_ON_A_CARD if device.type == "cuda" else ROWS


def measure(
    keys: list[str],
    images: np.ndarray,
    rounds: int,
    seconds: float,
    device: torch.device,
    patience: float = PATIENCE,
    together: int | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """{"peak_gflops": {...}, "rows": {key: {...}}}: the figures of the rows `keys`, and under "left_out" why others have none.

    `together` rows start at a time; without a number all on a card, and one after the other on a processor.
    """
    rows = rows_on(device)
    everyone = [PEAK, *keys]
    together = together or (len(everyone) if device.type == "cuda" else 1)
    if device.type == "cuda":
        compiling = min(together, sum(compiles(rows[key]) for key in keys))
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(1, devices.cores() // max(1, compiling))))
    children: dict[str, Child] = {}
    left_out: dict[str, str] = {}
    turns: dict[str, list[dict[str, Any]]] = {key: [] for key in everyone}

    def leave_out(key: str, error: StudioError) -> None:
        children.pop(key, None)
        left_out[key] = str(error)
        say(str(error))

    with contextlib.ExitStack() as stack:
        pictures = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "pictures.npy"
        np.save(pictures, images)
        for first in range(0, len(everyone), together):
            group = everyone[first : first + together]
            begun = [Child(key, rows.get(key), pictures, str(device)) for key in group]
            for child in begun:
                stack.callback(child.end)
            for child in begun:
                try:
                    child.wait(patience)
                    children[child.name] = child
                    if child.about:
                        say(f"{child.name} was ready after {child.about['seconds_to_begin']} s")
                except StudioError as error:
                    leave_out(child.name, error)
        stack.enter_context(FileLock(ALONE))
        for round_ in range(rounds):
            for key, child in list(children.items()):
                time.sleep(PAUSE)
                try:
                    turns[key].append(child.turn(seconds, patience))
                except StudioError as error:
                    leave_out(key, error)
            said = (f"{key} {turns[key][-1]['images_per_second']:.1f}" for key in children if key != PEAK)
            say(f"round {round_ + 1} of {rounds}, images/s: " + ", ".join(said))
    peaks = {}
    if PEAK in children:
        peaks = {kind: max(turn[kind] for turn in turns[PEAK]) for kind in turns[PEAK][0]}
    base = turns[BASE] if BASE in children else None
    result = {key: summary(child.about, turns[key], base, peaks) for key, child in children.items() if key != PEAK}
    return {"peak_gflops": {kind: round(value) for kind, value in peaks.items()}, "rows": result, "left_out": left_out}


def summary(
    about: dict[str, Any], turns: list[dict[str, Any]], base: list[dict[str, Any]] | None, peaks: dict[str, float]
) -> dict[str, Any]:
    """A row's figures from its rounds; ratios are taken with the base row's turn of the same round."""
    paces = [turn["images_per_second"] for turn in turns]
    gflops = statistics.median(paces) * about["flops"] / 1e9
    peak = peaks.get("bfloat16" if about["bfloat16"] else "float32")
    ratios = [pace / other["images_per_second"] for pace, other in zip(paces, base or [], strict=False)]
    return {
        **about,
        "images_per_second": round(statistics.median(paces), 2),
        "rounds": [round(pace, 2) for pace in paces],
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)] if ratios else None,
        "gflops": round(gflops, 1),
        "share_of_peak": round(gflops / peak, 3) if peak else None,
        "steps": sum(turn["steps"] for turn in turns),
        "disturbed_steps": sum(turn["disturbed"] for turn in turns),
        "disturbed_steps_kept": sum(turn["disturbed"] for turn in turns if turn["kept"]),
    }


def chosen(only: str | None, rows: dict[str, Row] = ROWS) -> list[str]:
    """The rows of `--only`, in the table's order. Raises `UsageError` for one that does not exist."""
    wanted = only.split(",") if only else list(rows)
    for key in wanted:
        if key not in rows:
            raise UsageError(f"there is no row {key!r}: choose from {', '.join(rows)}.")
    return [key for key in rows if key in wanted]


def show(result: dict[str, Any]) -> Iterator[str]:
    """The result as lines for a terminal."""
    for key, row in result["rows"].items():
        ratio = f"{row['ratio']:.2f}x" if row["ratio"] else ""
        share = f" {100 * row['share_of_peak']:4.0f} % of peak," if row["share_of_peak"] else ""
        yield (
            f"{key:23} {row['images_per_second']:8.1f} images/s {ratio:>8} {row['parameters'] / 1e6:6.2f} M"
            f" {row['flops'] / 1e9:6.2f} GFLOP/image{share} {row['disturbed_steps']} of {row['steps']} steps disturbed"
        )
    if peak := result["peak_gflops"]:
        yield "peak: " + ", ".join(f"{gflops} GFLOP/s in {kind}" for kind, gflops in peak.items())


def results_file(device: torch.device, size: int) -> Path:
    """Where the figures go: a file for each size."""
    path = results_of("throughput", device)
    return path.with_stem(f"{path.stem}_{size}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=COUNT, default=5)
    parser.add_argument("--seconds", type=number(0.1, 3600), default=3.0, help="how long each row trains in a round")
    parser.add_argument(
        "--only", help=f"rows, with commas between them: {', '.join(ROWS)}; on a card {', '.join(ROWS_ON_A_CARD)}"
    )
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds after which a row that is not ready is left out")  # fmt: skip
    parser.add_argument("--together", type=COUNT, help="how many rows start at a time: fewer than all where a card has too little memory")  # fmt: skip
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output", type=Path, help="instead of a file in results/")
    options = parser.parse_args(argv)
    try:
        device = machine.device_of(options.device)
        rows = rows_on(device)
        keys = chosen(options.only, rows)
        if not options.output:
            nothing_lost(results_file(device, options.size), keys, rows_of)
        images = np.array(catalogue.load("openmoji", options.size, options.data_dir).images)
        result = measure(
            keys, images, options.rounds, options.seconds, device, options.patience, options.together,
            lambda line: print(line, flush=True),
        )  # fmt: skip
    except StudioError as error:
        sys.exit(f"throughput: {error}")
    for line in show(result):
        print(line)
    if not result["rows"]:
        sys.exit("throughput: none of the rows could be measured.")
    words = sys.argv[1:] if argv is None else argv
    about = machine.describe(" ".join(["python -m benchmarks.throughput", *words]), device)
    titles = {key: rows[key].title for key in result["rows"]}
    settings = {
        "pictures": f"OpenMoji, {options.size} px", "size": options.size,
        "rounds": options.rounds, "seconds": options.seconds,
    }  # fmt: skip
    path = options.output or results_file(device, options.size)
    if not options.output:
        try:
            nothing_lost(path, result["rows"], rows_of)
        except UsageError:
            print(f"What {path.name} has of the rows that failed now stays: these figures are beside it.")
            path = path.with_stem(f"{path.stem}_incomplete")
    write(path, {**about, **settings, "titles": titles, **result})


if __name__ == "__main__":
    main()
