"""What the open page takes from a run that trains beside it, on a computer whose browser draws with the same cores.

    python -m benchmarks.open_page
    python -m benchmarks.open_page --studio ../before/studio.py --output before.json

Starts the studio with an empty folder, presses Start training with the defaults and closes the page. Then, round after round and
in another order every time, the page is closed, or open in Chromium on one of its tabs, and nobody touches it: each time the run's
own steps are counted for some seconds, and the processor time that the browser took. Ratios are taken inside a round. Where the
programs of somebody else are at work, figures say little; nothing is left out here, as the browser is itself another program.

Prints a table and writes benchmarks/results/open_page.json (with _float32 or _cuda in its name, as benchmarks/records.py says).
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.arguments import COUNT
from benchmarks.first_minute import HOUSE, ask, chromium, until
from benchmarks.records import results_of, write
from ddpm_core import devices
from ddpm_core.commandline import number

CLOSED = "closed"
ROWS = (CLOSED, "Training", "Monitoring", "Generation")
OPENS = 8  # seconds until an opened page has come to rest
WARM = 30  # seconds after which a run has its pace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=COUNT, default=5)
    parser.add_argument("--seconds", type=number(5, 600), default=20, help="of one row in one round")
    parser.add_argument("--port", type=int, default=7871)
    parser.add_argument("--studio", type=Path, default=HOUSE / "studio.py", help="another version's, to compare with")
    parser.add_argument("--output", type=Path, help="a file instead of the usual one")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as root:
        rounds = measure(options.studio.resolve(), Path(root), options.port, options.rounds, options.seconds)
    rows = {row: summary(rounds, row) for row in ROWS}
    for row, found in rows.items():
        print(
            f"{row}: {found['steps_a_second']} steps/s, {found['times_closed']} of closed, browser {found['browser']} cores"
        )
    device = devices.choose("auto")
    about = machine.describe(" ".join(["python -m benchmarks.open_page", *sys.argv[1:]]), device)
    write(options.output or results_of("open_page", device), {**about, "rounds": options.rounds, "rows": rows})


def measure(studio: Path, root: Path, port: int, rounds: int, seconds: float) -> list[dict[str, tuple[float, float]]]:
    """{row: (steps a second, cores of the browser)} a round, beside one run under `root`."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(studio), "--port", str(port), "--output-dir", str(root)]
    program = subprocess.Popen(command, cwd=studio.parent)
    try:
        until(lambda: ask(url) is not None)
        with chromium() as browser:
            page = browser.new_page()
            page.goto(url)
            page.get_by_role("button", name="Start training").click()
            until(lambda: _steps(root) is not None)
            browser.close()
        time.sleep(WARM)
        found = []
        for round_ in range(rounds):
            order = random.Random(round_).sample(ROWS, len(ROWS))
            found.append({row: _beside(row, url, root, seconds) for row in order})
            print(json.dumps({row: [round(figure, 3) for figure in found[-1][row]] for row in ROWS}), flush=True)
        return found
    finally:
        program.terminate()
        program.wait(60)


def summary(rounds: list[dict[str, tuple[float, float]]], row: str) -> dict[str, Any]:
    """Medians, and the lowest and highest ratio to the round's own pace with the page closed."""
    ratios = [found[row][0] / found[CLOSED][0] for found in rounds]
    return {
        "steps_a_second": round(statistics.median(found[row][0] for found in rounds), 2),
        "times_closed": round(statistics.median(ratios), 3),
        "between": [round(min(ratios), 3), round(max(ratios), 3)],
        "browser": round(statistics.median(found[row][1] for found in rounds), 3),
    }


def _beside(row: str, url: str, root: Path, seconds: float) -> tuple[float, float]:
    if row == CLOSED:
        time.sleep(2)
        return _pace(root, seconds, time.sleep), 0.0
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.get_by_role("tab", name=row).click()
        page.wait_for_timeout(1000 * OPENS)
        before, since = _browser_seconds(), time.monotonic()
        pace = _pace(root, seconds, lambda wait: page.wait_for_timeout(1000 * wait))
        cores = (_browser_seconds() - before) / (time.monotonic() - since)
        browser.close()
    return pace, cores


def _pace(root: Path, seconds: float, wait: Any) -> float:
    """Steps a second by the run's own clock."""
    begin = _steps(root)
    wait(seconds)
    end = _steps(root)
    if begin is None or end is None or end["updated"] == begin["updated"]:
        raise SystemExit("error: the run does not train any more.")
    return (end["step"] - begin["step"]) / (end["updated"] - begin["updated"])


def _steps(root: Path) -> dict[str, Any] | None:
    """The run's status once it makes steps."""
    for path in root.glob("training_progress/*/status.json"):
        status = json.loads(path.read_text())
        if status["state"] == "running" and status["step"]:
            return status
    return None


def _browser_seconds() -> float:
    """Processor time of the browser that this program started, so far."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if "chrom" in process.name():
                spent += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return spent


if __name__ == "__main__":
    main()
