"""How soon the studio answers: the page after `python studio.py`, the first loss point and the first grid after Start.

    python -m benchmarks.first_minute

Starts the real program with an empty folder (nothing decoded, nothing cached), opens it in Chromium, presses Start training
with the defaults, and reads its clock. Prints a table and writes benchmarks/results/first_minute.json.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "first_minute.json"
HOUSE = Path(__file__).parents[1]
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
WORDS = {
    "page": "page usable after `python studio.py`",
    "loss": "first loss point after Start",
    "grid": "first sample grid after Start",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--port", type=int, default=7871)
    options = parser.parse_args()

    rounds = [one_round(options.port) for _ in range(options.runs)]
    rows = {name: sorted(round(result[name], 1) for result in rounds) for name in WORDS}
    print(f"| seconds, median of {options.runs} | median | all |\n|---|---|---|")
    for name, seconds in rows.items():
        print(f"| {WORDS[name]} | {statistics.median(seconds):.1f} | {', '.join(map(str, seconds))} |")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "date": datetime.date.today().isoformat(),
        "command": "python -m benchmarks.first_minute",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }
    RESULTS.write_text(json.dumps({**about, "seconds": rows}, indent=2) + "\n")


def one_round(port: int) -> dict[str, float]:
    """Seconds to each of the three moments, with everything started from nothing."""
    from playwright.sync_api import sync_playwright

    url = f"http://127.0.0.1:{port}"
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as root, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET.split())
        page = browser.new_page()
        started = time.monotonic()
        studio = subprocess.Popen([sys.executable, str(HOUSE / "studio.py"), "--port", str(port), "--output-dir", root])
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
            browser.close()
            studio.terminate()
            studio.wait(60)
    return {"page": usable, "loss": loss, "grid": grid}


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
