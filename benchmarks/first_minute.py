"""How soon the studio answers: the page after `python studio.py`, the first loss point and the first grid after Start.

    python -m benchmarks.first_minute

Starts the real program with an empty folder (nothing decoded, nothing cached), opens it in Chromium, presses Start training
with the defaults, and reads its clock. Prints a table and writes benchmarks/results/first_minute.json
(with _float32 or _cuda in its name, as benchmarks/records.py says).
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from benchmarks.arguments import COUNT
from benchmarks.live_studio import chromium, running_studio, until
from benchmarks.records import results_of, write
from ddpm_core import devices

WORDS = {
    "page": "page usable after `python studio.py`",
    "loss": "first loss point after Start",
    "grid": "first sample grid after Start",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=COUNT, default=3)
    options = parser.parse_args()

    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    rounds = [one_round() for _ in range(options.runs)]
    rows = {name: sorted(round(result[name], 1) for result in rounds) for name in WORDS}
    print(f"| seconds, median of {options.runs} | median | all |\n|---|---|---|")
    for name, seconds in rows.items():
        print(f"| {WORDS[name]} | {statistics.median(seconds):.1f} | {', '.join(map(str, seconds))} |")
    device = devices.choose("auto")
    about = machine.describe(" ".join(["python -m benchmarks.first_minute", *sys.argv[1:]]), device)
    write(results_of("first_minute", device), {**about, "load_before": load, "seconds": rows})


def one_round() -> dict[str, float]:
    """Seconds to each of the three moments, with everything started from nothing."""
    with tempfile.TemporaryDirectory() as root, chromium() as browser:
        page = browser.new_page()
        started = time.monotonic()
        with running_studio(Path(root)) as program, contextlib.closing(browser):
            page.goto(program.url)
            button = page.get_by_role("button", name="Start training")
            button.wait_for(timeout=60_000)
            usable = time.monotonic() - started
            page.wait_for_timeout(2000)  # a person looks before clicking

            clicked = time.monotonic()
            button.click()
            run = Path(root) / "training_progress" / "openmoji_32x32"
            until(lambda: (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size > 0)
            loss = time.monotonic() - clicked
            until(lambda: any(run.glob("quick_*.png")))
            grid = time.monotonic() - clicked
    return {"page": usable, "loss": loss, "grid": grid}


if __name__ == "__main__":
    main()
