"""Who draws better after the same minutes: each way to train gets the same time, then its pictures are compared with real ones.

    python -m benchmarks.quality --dataset fashion_mnist --minutes 8 --methods ours-cpu,diffusers_tuned --seeds 0,1,2

A (method, seed) that is finished is one JSON and one small grid in benchmarks/results/quality/ (quality_float32/ on a processor
without bfloat16, quality_cuda/ on a card). One that is there already is kept, and a line says so: a command that was broken off
goes on. `--anew` measures all again. Those of another machine cannot stand in one table with this one's: they need a folder of
their own. A method that fails is left out, with a line. Rounds are interleaved: all methods with the first seed, then all with the
second.

The clock runs during training steps only, not while pictures are made for a distance. A step that took more than 1.25 times
the running median counts as that much and is told as clipped: a program that wakes up beside costs a run a quarter of a step
at most. (What is shorter than that counts in full, as it mostly is in a peer's step of three seconds.) Load that lasts moves the
median itself; `others` in the JSON is the share of the time that other programs used: where it is a tenth, the table says so, and the
run is to be measured again.

On a card the peers keep to what ours needs for its bits (ddpm_core/__init__.py), and the clock runs while ours compiles, in its first lap; the peers compile before, with the copy whose pace tells their
schedules how many steps there will be. (A warm-up keeps to that; a cosine follows the clock since 2026-12-01.)

Pictures are made from the averaged weights in `--steps` network calls, ours and the tuned peers' by one sampler, the peers' at their
defaults by their own. Ours are drawn once more at the end as the studio draws them. Distances are those of
benchmarks/distance.py, with the floor: what real pictures get.
"""

import argparse
import collections
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import distance, encoder, machine
from benchmarks.arguments import SEEDS, several
from benchmarks.methods import Method, Ours, Theirs, check, make
from benchmarks.records import RESULTS, can_stand_beside, kept, kind_of, read, write
from benchmarks.tables.quality import of_quality
from ddpm_core import devices, pictures
from ddpm_core.commandline import number, whole
from ddpm_core.config import SAMPLERS
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError
from ddpm_core.network.unet import UNet

CLIP = 1.25
LARGEST_GRID = 60_000  # bytes
GLIMPSE = 60  # seconds: what is drawn until then is kept as a grid too
_TRIAL_STEPS = 8  # of a copy that is thrown away: a schedule that must know its last step is told what they promise


# ---- the clock


class Clock:
    """Seconds of training, lap by lap; a lap far above the running median counts as 1.25 times the median."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.wall = 0.0
        self.laps = 0
        self.clipped = 0
        self._recent: collections.deque[float] = collections.deque(maxlen=101)

    def add(self, seconds: float) -> None:
        self._recent.append(seconds)
        self.laps += 1
        self.wall += seconds
        # The first laps pay for choosing kernels (or compiling), and that is theirs to pay.
        limit = CLIP * statistics.median(self._recent) if self.laps > 5 else math.inf
        self.clipped += seconds > limit
        self.seconds += min(seconds, limit)


def train(
    method: Method,
    minutes: float,
    marks: list[float],
    at_mark: Callable[[float, int, float], None],
    device: torch.device,
) -> tuple[Clock, int, float]:
    """Trains for `minutes` by the clock; `at_mark(seconds, steps, loss)` at each mark, the clock stopped.

    Returns the clock, the steps made and the mean of the last losses.
    """
    # On a graphics card waiting for each step would slow it down: there a lap is twenty steps.
    lap, budget = (20 if device.type == "cuda" else 1), 60 * minutes
    clock, steps = Clock(), 0
    losses: collections.deque[Tensor] = collections.deque(maxlen=50)
    waiting = sorted(mark for mark in marks if mark < budget)
    while clock.seconds < budget:
        start = time.perf_counter()
        for _ in range(lap):
            losses.append(method.step(min(1.0, clock.seconds / budget)))
        losses[-1].item()  # the lap is over when its last number is there
        clock.add(time.perf_counter() - start)
        steps += lap
        while waiting and clock.seconds >= waiting[0]:
            at_mark(waiting.pop(0), steps, torch.stack(list(losses)).mean().item())
    return clock, steps, torch.stack(list(losses)).mean().item()


# ---- one run, the floor, the table


def run(
    key: str, seed: int, options: argparse.Namespace, images: np.ndarray, real: distance.Reference, path: Path
) -> dict[str, Any]:
    """Trains one method with one seed, judges it, writes its JSON and its grid; returns what is in the JSON."""
    device = machine.device_of(options.device)
    minutes, size = options.minutes, options.size
    torch.backends.cudnn.benchmark = False  # ours computes the same bits again and again
    method, promised = make(key, images, options.dataset, size, seed, device), None
    if isinstance(method, Theirs):  # its schedules end with the run
        torch.backends.cudnn.benchmark = method.peer.amp  # the tuned ones look for the fastest kernels
        promised = _promised_steps(method, minutes)
        method = make(key, images, options.dataset, size, seed, device, promised)
    seen: list[dict[str, Any]] = []

    def judge(seconds: float, steps: int, loss: float) -> np.ndarray:
        with torch.random.fork_rng(devices=[]):  # a mark must not change what comes after it
            drawn = method.sample(options.samples, options.steps)
        judged = dataclasses.asdict(real.judge(drawn))
        del judged["name"], judged["pictures"]
        seen.append({"seconds": seconds, "steps": steps, "images": steps * method.batch_size, "loss": loss, **judged})
        print(f"  {method.name}, seed {seed}: {seconds:.0f} s, {seen[-1]['images']:,} images, FD {judged['frechet']:.1f}", flush=True)  # fmt: skip
        return drawn

    watch, others = machine.Watch(), 0.0

    def at_mark(seconds: float, steps: int, loss: float) -> None:
        nonlocal others
        others += watch.lap().others
        drawn = judge(seconds, steps, loss)
        if seconds <= GLIMPSE:
            _save_grid(drawn[:36].transpose(0, 2, 3, 1), path.with_name(f"{path.stem}_{seconds:.0f}s.png"))
        watch.lap()

    # The peers' pictures take minutes to draw, and what they reach on the way is compared with nothing.
    marks = options.marks if isinstance(method, Ours) else []
    clock, steps, loss = train(method, minutes, marks, at_mark, device)
    others += watch.lap().others
    drawn = judge(60 * minutes, steps, loss)
    result = {
        "dataset": options.dataset,
        "size": size,
        "method": key,
        "name": method.name,
        "seed": seed,
        "parameters": method.parameters,
        "batch_size": method.batch_size,
        "minutes": minutes,
        "wall_seconds": round(clock.wall, 1),
        "laps": clock.laps,
        "clipped_laps": clock.clipped,
        "others": round(others / max(clock.wall, 1e-9), 4),
        "encoder": real.encoder.name,
        "samples": options.samples,
        "sampling_steps": options.steps,
        "marks": seen,
        "promised_steps": promised,
        "machine": machine.describe(options.command, device),
    }
    if isinstance(method, Ours) and isinstance(method.network, UNet):  # the studio draws with no peer's network
        as_drawn = real.judge(method.sample_in_the_studio(options.samples, options.steps))
        result["studio"] = {
            "sampler": SAMPLERS[0],
            "frechet": as_drawn.frechet,
            "frechet_error": as_drawn.frechet_error,
        }
        print(f"  {method.name}, seed {seed}: as the studio draws, FD {as_drawn.frechet:.1f}", flush=True)
    _save_grid(drawn[:64].transpose(0, 2, 3, 1), path.with_suffix(".png"))
    write(path, result)
    return result


def _promised_steps(method: Method, minutes: float) -> int:
    """How many steps fit into the time, by the pace of the first few."""
    seconds = []
    for _ in range(_TRIAL_STEPS):
        start = time.perf_counter()
        method.step(0.0).item()
        seconds.append(time.perf_counter() - start)
    return max(1, int(60 * minutes / statistics.median(seconds[2:])))


def _floor(options: argparse.Namespace, coder: encoder.Encoder) -> dict[str, Any]:
    path = options.results / f"{options.dataset}_{options.size}_floor_{options.samples}.json"
    found = read(path)
    if found is None or found["name"] != coder.name:
        found = dataclasses.asdict(
            distance.floor(coder, options.dataset, options.size, options.data_dir, options.samples)
        )
        write(path, found)
    return found


def _save_grid(drawn: np.ndarray, path: Path) -> None:
    """uint8 (N, H, W, C) as a grid below LARGEST_GRID: with fewer colours, then fewer pictures, where it would be larger."""
    for count, colours in ((64, 0), (64, 64), (36, 64), (16, 64), (4, 64)):
        image = pictures.grid(drawn[:count])
        content = pictures.to_png_bytes(image.quantize(colours) if colours and image.mode == "RGB" else image)
        if len(content) < LARGEST_GRID:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--minutes", type=number(0.01, 10_000), default=8.0)
    parser.add_argument("--methods", default="ours-cpu,diffusers_tuned,lucidrains_tuned,diffusers,lucidrains")
    parser.add_argument("--seeds", type=SEEDS, default=[0, 1, 2])
    parser.add_argument(
        "--marks", type=several(number(0, 600_000)), default=[30, 60, 120, 240],
        help="seconds at which our methods are looked at before the end",
    )  # fmt: skip
    parser.add_argument("--samples", type=whole(10, 1_000_000), default=2000)
    parser.add_argument("--steps", type=whole(1, 1000), default=20, help="network calls a picture")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--results", type=Path, help="a folder instead of the usual one")
    parser.add_argument("--anew", action="store_true", help="measure also what is there already")
    options = parser.parse_args()
    options.command = " ".join(["python -m benchmarks.quality", *sys.argv[1:]])
    try:
        _main(options)
    except StudioError as error:
        sys.exit(f"error: {error}")


def _main(options: argparse.Namespace) -> None:
    for key in options.methods.split(","):
        check(key)  # all of them, before the first is trained
    devices.keep_freed_memory()
    device = machine.device_of(options.device)
    options.results = options.results or RESULTS / f"quality{kind_of(device)}"
    coder = encoder.load(options.dataset, options.size)
    images = catalogue.load(options.dataset, options.size, options.data_dir).images
    wanted = {"encoder": coder.name, "samples": options.samples, "sampling_steps": options.steps}
    compared = f"{options.dataset}_{options.size}_{options.minutes:g}min"
    can_stand_beside(options.results.glob(f"{compared}_*.json"), wanted, device)
    floor = _floor(options, coder)
    real = None
    results, failed = [], False
    for seed in options.seeds:
        for key in options.methods.split(","):
            path = options.results / f"{compared}_{key}_s{seed}.json"
            result = kept(path, f"{key}, seed {seed}", options.anew)
            if result is None:
                if real is None:
                    shown = encoder.reference_pictures(options.dataset, options.size, options.data_dir)
                    real = distance.Reference(coder, shown.images)
                try:
                    result = run(key, seed, options, images, real, path)
                except Exception as error:  # of a failed compile, pages; the others go on
                    words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                    print(f"  {key}, seed {seed}, is left out: {words}", flush=True)
                    failed = True
                    continue
            results.append(result)
    if results:
        print(of_quality(results, floor, options.command))
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
