"""What a newcomer sees: the default run (OpenMoji, 32 px) after 2 minutes, 10 minutes and an hour of training.

    python -m benchmarks.first_hour --output-dir first_hour

The clock is the run's own: training, samples and checkpoints count, the making of the grids below does not. At each mark the
run is stopped and resumed, which changes nothing (see tests/training/test_trainer.py), and 96 pictures are made from its
averaged weights with the Generation tab's defaults. Grids and figures go to benchmarks/results/first_hour/; a mark that is
already in the results is made anew. A run that broke off goes on with the same command.
"""

import argparse
import json
import sys
import threading
from pathlib import Path

from benchmarks import machine
from ddpm_core import pictures
from ddpm_core.beginning import new_run
from ddpm_core.config import preset
from ddpm_core.generator import Generator
from ddpm_core.runs import Run
from ddpm_core.training.control import Control
from ddpm_core.training.trainer import train

RESULTS = Path(__file__).parent / "results" / "first_hour"
PICTURES = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, required=True, help="where the run goes")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 60])
    options = parser.parse_args()

    config = preset()
    run = Run(options.output_dir, config.name)
    resume = run.can_resume()
    if not resume:
        run, config = new_run(options.output_dir, config, explicit_name=True)
    for minutes in sorted(options.minutes):
        train_until(run, minutes, options.data_dir, resume)
        resume = True
        keep(run, minutes)


def train_until(run: Run, minutes: float, data_dir: Path, resume: bool) -> None:
    """Trains until the run's clock shows `minutes`."""
    control, over = Control(), threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            rows, _ = run.metrics()
            if rows and rows[-1]["seconds"] >= 60 * minutes:
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
    RESULTS.mkdir(parents=True, exist_ok=True)
    grid = pictures.enlarge(pictures.grid(last.pictures, columns=16), 2)
    grid.quantize(256).save(RESULTS / f"{minutes:g}_minutes.png", optimize=True)

    row = run.metrics()[0][-1]
    path = RESULTS / "first_hour.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[f"{minutes:g} minutes"] = {
        **machine.describe(" ".join(["python -m benchmarks.first_hour", *sys.argv[1:]])),
        "steps": row["step"],
        "images_seen": row["images"],
        "images_per_second_overall": round(row["images"] / row["seconds"], 1),
        "training_seconds": row["seconds"],
        "loss": round(row["loss"], 4),
    }
    path.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
