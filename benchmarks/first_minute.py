"""How soon the studio answers: the page after `python studio.py`, the first loss point and the first grid after Start.

    python -m benchmarks.first_minute

Starts the real program with an empty folder (nothing decoded, nothing cached), opens it in Chromium, presses Start training
with the defaults, and reads its clock. Prints a table and writes benchmarks/results/first_minute.json
(with _float32 or _cuda in its name, as benchmarks/records.py says).
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.arguments import COUNT
from benchmarks.records import results_of, write
from ddpm_core import devices

STUDIO = machine.HOUSE / "studio.py"
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
WORDS = {
    "page": "page usable after `python studio.py`",
    "loss": "first loss point after Start",
    "grid": "first sample grid after Start",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=COUNT, default=3)
    parser.add_argument("--port", type=int, default=7871)
    options = parser.parse_args()

    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    rounds = [one_round(options.port) for _ in range(options.runs)]
    rows = {name: sorted(round(result[name], 1) for result in rounds) for name in WORDS}
    print(f"| seconds, median of {options.runs} | median | all |\n|---|---|---|")
    for name, seconds in rows.items():
        print(f"| {WORDS[name]} | {statistics.median(seconds):.1f} | {', '.join(map(str, seconds))} |")
    device = devices.choose("auto")
    about = machine.describe(" ".join(["python -m benchmarks.first_minute", *sys.argv[1:]]), device)
    write(results_of("first_minute", device), {**about, "load_before": load, "seconds": rows})


def one_round(port: int) -> dict[str, float]:
    """Seconds to each of the three moments, with everything started from nothing."""
    url = f"http://127.0.0.1:{port}"
    if ask(url) is not None:
        sys.exit(f"error: a studio is open at {url} already: add --port.")
    with tempfile.TemporaryDirectory() as root, chromium() as browser:
        page = browser.new_page()
        started = time.monotonic()
        studio = subprocess.Popen([sys.executable, str(STUDIO), "--port", str(port), "--output-dir", root])
        try:
            until(lambda: ask(url) is not None)
            page.goto(url)
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
        finally:
            studio.terminate()
            try:
                browser.close()
            finally:
                studio.wait(60)
    return {"page": usable, "loss": loss, "grid": grid}


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The machine's Chromium, driven by playwright. Where one of them is missing, a line says so and the program ends."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("error: there is no playwright: pip install -r requirements-dev.txt")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        sys.exit("error: there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=QUIET.split())


def ask(url: str) -> object:
    try:
        with urllib.request.urlopen(url + "/studio/status", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return None


def until(happened, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise SystemExit("it did not happen within three minutes")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
