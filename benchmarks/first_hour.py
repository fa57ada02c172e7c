"""What a newcomer sees: the default run (OpenMoji, 32 px) after 2 minutes, 10 minutes and an hour of training.

    python -m benchmarks.first_hour --output-dir first_hour --minutes 2 10 20 60

The clock is the run's own: training, samples and checkpoints count, the making of the grids below does not. At each mark the
run is stopped and resumed, which changes nothing (see tests/training/test_trainer.py), and 96 pictures are made from its
averaged weights with the Generation tab's defaults. Grids and figures go to benchmarks/results/first_hour/ (first_hour_float32/
on a processor without bfloat16, first_hour_cuda/ on a card). A run that broke off goes on with the same command; marks that its
clock has passed are left as they are.
"""

import argparse
import sys
import threading
from pathlib import Path

from benchmarks import machine
from benchmarks.records import RESULTS, kind_of, read, write
from ddpm_core import devices, pictures
from ddpm_core.beginning import new_run
from ddpm_core.commandline import number
from ddpm_core.config import preset
from ddpm_core.errors import StudioError
from ddpm_core.generator import Generator
from ddpm_core.runs import Run
from ddpm_core.training.control import Control
from ddpm_core.training.trainer import train

PICTURES = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, required=True, help="where the run goes")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--minutes", type=number(0.1, 10_000), nargs="+", default=[2, 10, 60])
    options = parser.parse_args()
    try:
        _main(options)
    except StudioError as error:
        sys.exit(f"error: {error}")


def _main(options: argparse.Namespace) -> None:
    config = preset()
    run = Run(options.output_dir, config.name)
    resume = run.can_resume()
    if not resume:
        run, config = new_run(options.output_dir, config, explicit_name=True)
    for minutes in sorted(options.minutes):
        if clock(run) >= 60 * minutes:  # what it draws now would pass for what it drew then
            print(f"{minutes:g} min: left as it is, the run is {clock(run) / 60:.1f} minutes old already", flush=True)
            continue
        train_until(run, minutes, options.data_dir, resume)
        resume = True
        keep(run, minutes)


def clock(run: Run) -> float:
    """Seconds that the run has trained."""
    rows, _ = run.metrics()
    return rows[-1]["seconds"] if rows else 0.0


def train_until(run: Run, minutes: float, data_dir: Path, resume: bool) -> None:
    """Trains until the run's clock shows `minutes`."""
    control, over = Control(), threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            if clock(run) >= 60 * minutes:
                control.stop()

    threading.Thread(target=watch, daemon=True).start()
    status = train(
        run, run.config() if resume else preset(name=run.name), data_dir=data_dir, resume=resume, control=control
    )
    over.set()
    print(f"{minutes:g} min: step {status.step:,}, {status.images:,} images seen, loss {status.loss:.4f}", flush=True)


def keep(run: Run, minutes: float) -> None:
    """The grid and the figures of this mark."""
    model = Generator.load(run.final_path)
    for preview in model.sample(range(PICTURES)):
        last = preview
    device = devices.choose("auto")
    folder = RESULTS / f"first_hour{kind_of(device)}"
    folder.mkdir(parents=True, exist_ok=True)
    grid = pictures.enlarge(pictures.grid(last.pictures, columns=16), 2)
    grid.quantize(256).save(folder / f"{minutes:g}_minutes.png", optimize=True)

    row = run.metrics()[0][-1]
    path = folder / "first_hour.json"
    known = read(path) or {}
    known[f"{minutes:g} minutes"] = {
        **machine.describe(" ".join(["python -m benchmarks.first_hour", *sys.argv[1:]]), device),
        "steps": row["step"],
        "images_seen": row["images"],
        "images_per_second_overall": round(row["images"] / row["seconds"], 1),
        "training_seconds": row["seconds"],
        "loss": round(row["loss"], 4),
    }
    write(path, known)


if __name__ == "__main__":
    main()
