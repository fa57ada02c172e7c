"""Whether training ever waits for its pictures: the step with real batches against the step with one batch held fixed.

    python -m benchmarks.data_path
    python -m benchmarks.data_path --preset standard --size 64 --rounds 60

All rows train the same network in one process, a short block of steps each, round after round, in another order every time, so
that whatever slows the machine for a while slows them all. The fixed batch stands there twice: how far its second row is from
1 is what chance does. Figures are medians over rounds, ratios are taken inside a round. A block begins with a few steps
before the clock starts, as many as may have been read ahead while others were at work. Rounds beside which other programs
were at work are left out where at least half of them are left. The file of the row "disk" is in the system's cache after
the first round, as it would be in a run's second epoch where memory has room for it.

Writes benchmarks/results/data_path_PRESET_SIZE.json, on a card data_path_cuda_PRESET_SIZE.json.
"""

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.arguments import COUNT
from benchmarks.methods import steps_of
from benchmarks.records import results_of, write
from ddpm_core import devices
from ddpm_core.commandline import number
from ddpm_core.config import PRESETS, SIZES, RunConfig, preset
from ddpm_core.data import catalogue, places
from ddpm_core.data.batches import Batches
from ddpm_core.errors import StudioError
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.state import TrainingState

FIXED = "fixed"
AGAIN = "fixed, once more"
ROWS = (FIXED, AGAIN, "device", "memory", "disk")


class Fixed:
    """Always the same batch, which is on the device already."""

    where = "one batch, held fixed on the device"

    def __init__(self, batches: Batches) -> None:
        self._batch = batches.batch(0)

    def batch(self, step: int) -> Tensor:
        return self._batch

    def labels(self, step: int) -> None:
        return None


class Row:
    """The trainer's own steps, less its reports. All rows share `state`."""

    def __init__(self, state: TrainingState, batches: Batches) -> None:
        self.state, self.where = state, batches.where
        self.make_step = steps_of(state, DiffusionLoss(state.config, batches, state.device))
        self.step = 0

    def block(self, count: int) -> float:
        """Seconds a step, over `count` steps."""
        self._make(places.STEPS_AHEAD + 1)
        start = time.perf_counter()
        self._make(count)
        return (time.perf_counter() - start) / count

    def _make(self, count: int) -> None:
        state = self.state
        for _ in range(count):
            self.make_step(self.step)
            self.step += 1
            state.step += 1
            state.update_averages()
        if state.device.type == "cuda":
            torch.cuda.synchronize(state.device)


def measure(config: RunConfig, images: np.ndarray, rounds: int, seconds: float, device: torch.device) -> dict[str, Any]:
    """`images` as the catalogue gives them, memory-mapped."""
    state = TrainingState(config, images, device)

    def batches(data_on: str) -> Batches:
        return Batches(images, config.batch_size, config.seed, device, data_on=data_on)

    steps = {row: Row(state, batches(row)) for row in ROWS if row not in (FIXED, AGAIN)}
    for row in (FIXED, AGAIN):
        steps[row] = Row(state, cast(Batches, Fixed(batches("memory"))))
    for row in ROWS:
        steps[row].block(2)  # chooses kernels, and fills the system's cache
    count = max(3, round(seconds / steps[FIXED].block(2)))
    watch = machine.Watch()
    found: list[dict[str, float]] = []
    quiet: list[dict[str, float]] = []
    for round_ in range(rounds):
        order = random.Random(round_).sample(ROWS, len(ROWS))
        taken = {row: steps[row].block(count) for row in order}
        (found if watch.lap().disturbed else quiet).append(taken)
        print(json.dumps({row: round(1000 * taken[row], 2) for row in ROWS}), flush=True)
    disturbed, found = len(found), quiet if 2 * len(quiet) >= rounds else quiet + found
    return {
        "preset": config.preset,
        "size": config.size,
        "batch_size": config.batch_size,
        "pictures": len(images),
        "steps_a_block": count,
        "rounds": rounds,
        "rounds_disturbed": disturbed,
        "rounds_counted": len(found),
        "rows": {row: {"where": steps[row].where, **summary(found, row)} for row in ROWS},
    }


def summary(rounds: list[dict[str, float]], row: str) -> dict[str, Any]:
    """One row over `rounds`, each {row: seconds a step}: milliseconds a step, how many times as long as
    `FIXED`, and between which ratios half of the rounds are."""
    ratios = sorted(taken[row] / taken[FIXED] for taken in rounds)
    outside = len(ratios) // 4
    return {
        "milliseconds": round(1000 * statistics.median(taken[row] for taken in rounds), 3),
        "times_fixed": round(statistics.median(ratios), 4),
        "half": [round(ratios[outside], 4), round(ratios[-1 - outside], 4)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="openmoji")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--size", type=int, choices=SIZES, default=32)
    parser.add_argument("--rounds", type=COUNT, default=40)
    parser.add_argument("--seconds", type=number(0.1, 3600), default=1.0, help="of one row in one round")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output", type=Path, help="a file instead of the usual one")
    options = parser.parse_args()
    try:
        device = machine.device_of(options.device)
        devices.keep_freed_memory()
        images = catalogue.load(options.dataset, options.size, options.data_dir).images
        config = preset(options.dataset, options.size, options.preset, device=str(device))
        found = measure(config, images, options.rounds, options.seconds, device)
    except StudioError as error:
        sys.exit(f"data_path: {error}")
    about = machine.describe(" ".join(["python -m benchmarks.data_path", *sys.argv[1:]]), device)
    usual = results_of("data_path", device)
    usual = usual.with_stem(f"{usual.stem}_{options.preset}_{options.size}")
    write(options.output or usual, {**about, **found})
    for row, values in found["rows"].items():
        print(f"{row}: {values['milliseconds']} ms a step, {values['times_fixed']:.3f} times the fixed batch's")


if __name__ == "__main__":
    main()
