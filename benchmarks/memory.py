"""The plan beside what happens: memory of three real steps, and the pace of a real run.

    python -m benchmarks.memory
    python -m benchmarks.memory --only cpu-32,standard-32 --kinds memory --output some.json

Every row has a process of its own. On a card the memory is torch's own largest sum of blocks, on a processor how much the process
grew beyond the program itself. The pace is that of the trainer on OpenMoji, the median over the second half of `--seconds`, against the
forecast's trial just before. Writes benchmarks/results/memory.json, on a card memory_cuda.json, on a processor without bfloat16
memory_float32.json.
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import machine
from benchmarks.arguments import several
from benchmarks.records import nothing_lost, results_of, write
from ddpm_core import devices
from ddpm_core.beginning import new_run
from ddpm_core.commandline import number, one_of
from ddpm_core.config import NetworkConfig, RunConfig, preset
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.training import memory, plan, trainer
from ddpm_core.training.rehearsal import measured_peak

KINDS = ("memory", "pace")


class Row(NamedTuple):
    preset: str
    size: int
    micro_batch: int  # pictures at once
    batch_size: int | None = None  # None: the preset's
    amp: bool = True

    @property
    def config(self) -> RunConfig:
        own = {} if self.batch_size is None else {"batch_size": self.batch_size}
        return preset("openmoji", self.size, self.preset, micro_batch=self.micro_batch, amp=self.amp, **own)


ON_A_PROCESSOR = {
    "cpu-32": Row("cpu", 32, 32),
    "cpu-32-float32": Row("cpu", 32, 32, amp=False),
    "cpu-128": Row("cpu", 128, 32),
    "small-32": Row("small", 32, 64),
    "small-64": Row("small", 64, 4),
    "standard-32": Row("standard", 32, 128),
    "standard-32-float32": Row("standard", 32, 128, amp=False),
    "standard-32-parts": Row("standard", 32, 32),
    "standard-64": Row("standard", 64, 4),
    "standard-64-float32": Row("standard", 64, 8, batch_size=8, amp=False),
}
ON_A_CARD = {
    **{f"standard-{size}": Row("standard", size, pictures) for size, pictures in ((32, 128), (64, 64), (96, 32))},
    "standard-128": Row("standard", 128, 32),
    "standard-256": Row("standard", 256, 16),
    "standard-256-parts": Row("standard", 256, 4),
    "standard-64-float32": Row("standard", 64, 64, amp=False),
    "small-256": Row("small", 256, 16),
    "large-128": Row("large", 128, 32),
    "large-256": Row("large", 256, 8),
    "classic-64": Row("classic", 64, 64),
}


def memory_of(row: Row, device_name: str) -> dict[str, Any]:
    """Bytes measured and planned. To be called in a process that has done nothing else."""
    device = devices.choose(device_name)
    devices.keep_freed_memory()
    # What loads torch's own code is the program's part, not the run's.
    measured_peak(RunConfig("toy", 16, network=NetworkConfig(16, (1, 2)), amp=row.amp), 3, 1, device, steps=1)
    measured = measured_peak(row.config, 3, row.micro_batch, device)
    kind = memory.arithmetic(device, row.amp)
    planned = memory.needed(row.config, 3, row.micro_batch, kind, grid=False)
    found = {"measured": measured, "planned": planned.total if device.type == "cpu" else planned.of_steps}
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        found |= {"on_the_card": whole - free, "planned_on_the_card": planned.total}
    return {**found, "weights": planned.weights // 4, "highest": planned.highest}


def pace_of(row: Row, device_name: str, seconds: float, data_dir: Path) -> dict[str, Any]:
    """Images a second, forecast and then measured over a run of about so many seconds."""
    info = catalogue.describe("openmoji", data_dir)
    forecast = plan.forecast(dataclasses.replace(row.config, device=device_name), info.pictures, info.channels)
    steps = max(8, math.ceil(seconds * forecast.images_per_second / row.config.batch_size))
    with tempfile.TemporaryDirectory() as folder:
        wanted = dataclasses.replace(row.config, device=device_name, max_steps=steps, sample_every=1000)
        run, config = new_run(Path(folder), wanted, explicit_name=False)
        trainer.train(run, config, data_dir=data_dir)
        lines = [line for line in run.metrics()[0] if line["step"] > steps / 2]
    measured = statistics.median(line["images_per_second"] for line in lines)
    return {"forecast": round(forecast.images_per_second, 2), "images_per_second": round(measured, 2), "steps": steps}


def alone(work: Any, *given: Any) -> dict[str, Any]:
    """`work(*given)` in a fresh process. Nothing, with a line, where it ends early: mostly there is too little memory then."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(work, *given).result()
    except (StudioError, RuntimeError) as error:  # also where the process was ended
        print(f"{work.__name__}: left out, {' '.join(str(error).split())[:300]}", flush=True)
        return {}


def _figures(found: dict[str, Any]) -> list[str]:
    """What is in a file of results."""
    marks = zip(KINDS, ("measured", "forecast"), strict=True)
    return [f"{kind} of {key}" for kind, mark in marks for key, row in found["rows"].items() if mark in row]


def chosen(only: str | None, rows: dict[str, Row]) -> dict[str, Row]:
    """The rows of `--only`. Raises `UsageError` for one that does not exist."""
    keys = only.split(",") if only else list(rows)
    for key in keys:
        if key not in rows:
            raise UsageError(f"there is no row {key!r}: choose from {', '.join(rows)}.")
    return {key: rows[key] for key in keys}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="rows, with commas between them")
    parser.add_argument(
        "--kinds", type=several(one_of(*KINDS, what="kind"), least=1), default=list(KINDS),
        help="memory, pace, or both with a comma between them",
    )  # fmt: skip
    parser.add_argument("--seconds", type=number(1, 3600), default=30.0, help="how long each row trains for its pace")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output", type=Path, help="instead of the usual file in results/")
    options = parser.parse_args(argv)
    found: dict[str, dict[str, Any]] = {}
    words = sys.argv[1:] if argv is None else argv
    try:
        device = machine.device_of(options.device)
        about = machine.describe(" ".join(["python -m benchmarks.memory", *words]), device)
        rows = chosen(options.only, ON_A_PROCESSOR if device.type == "cpu" else ON_A_CARD)
        if not options.output:
            nothing_lost(
                results_of("memory", device), [f"{kind} of {key}" for key in rows for kind in options.kinds], _figures
            )
        for key, row in rows.items():
            told = {
                **row._asdict(),
                "batch_size": row.config.batch_size,
                "half": memory.arithmetic(device, row.amp).half,
            }
            if "memory" in options.kinds:
                told |= alone(memory_of, row, str(device))
            if "pace" in options.kinds:
                told |= alone(pace_of, row, str(device), options.seconds, options.data_dir)
            print(key, json.dumps(told), flush=True)
            found[key] = told
    except StudioError as error:
        sys.exit(f"memory: {error}")
    write(options.output or results_of("memory", device), {**about, "rows": found})


if __name__ == "__main__":
    main()
