"""What the open page takes from a run that trains beside it, on a computer whose browser draws with the same cores.

    python -m benchmarks.open_page
    python -m benchmarks.open_page --studio ../before/studio.py --output before.json

Starts the studio with an empty folder, presses Start training with the defaults and closes the page. Then, round after round and
in another order every time, the page is closed, or open in Chromium on one of its tabs, and nobody touches it. Each time the pace is
the median of the lines that the run logs, twice a second (a grid that it draws meanwhile is in one of them), and the processor
time of the browser is counted. Ratios are taken inside a round. No round is left out for other programs: the browser is one itself.

Prints a line a row and writes benchmarks/results/open_page.json (with _float32 or _cuda in its name, as benchmarks/records.py says).
"""

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.arguments import COUNT
from benchmarks.live_studio import STUDIO, chromium, running_studio, until
from benchmarks.records import results_of, write
from ddpm_core import devices
from ddpm_core.commandline import number
from ddpm_core.config import preset
from ddpm_core.runs import all_runs

CLOSED = "closed"
ROWS = (CLOSED, "Training", "Monitoring", "Generation")
OPENS = 8  # seconds until an opened page has come to rest
WARM = 30  # seconds after which a run has its pace
BATCH = preset().batch_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=COUNT, default=5)
    parser.add_argument("--seconds", type=number(5, 600), default=20, help="of one row in one round")
    parser.add_argument("--studio", type=Path, default=STUDIO, help="another version's, to compare with")
    parser.add_argument("--output", type=Path, help="a file instead of the usual one")
    options = parser.parse_args()

    # Of the page and the run, wherever they are.
    commit = machine.commit_of(options.studio.resolve().parent, "ddpm_core", "pages", "assets", "studio.py")
    with tempfile.TemporaryDirectory() as root:
        rounds = measure(options.studio.resolve(), Path(root), options.rounds, options.seconds)
    rows = {row: summary(rounds, row) for row in ROWS}
    for row, seen in rows.items():
        print(
            f"{row}: {seen['steps_a_second']} steps/s, {seen['times_closed']} of closed, browser {seen['browser']} cores"
        )
    device = devices.choose("auto")
    about = machine.describe(" ".join(["python -m benchmarks.open_page", *sys.argv[1:]]), device)
    found = {**about, "commit": commit, "rounds": len(rounds), "rows": rows}
    write(options.output or results_of("open_page", device), found)


def measure(program: Path, root: Path, rounds: int, seconds: float) -> list[dict[str, tuple[float, float]]]:
    """{row: (steps a second, cores of the browser)} a round, beside one run under `root` of the studio at `program`."""
    with running_studio(root, program) as running:
        with chromium() as browser:
            page = browser.new_page()
            page.goto(running.url)
            page.get_by_role("button", name="Start training").click()
            until(lambda: _lines(root) != [])
            browser.close()
        time.sleep(WARM)
        found = []
        for round_ in range(rounds):
            order = random.Random(round_).sample(ROWS, len(ROWS))
            found.append({row: _beside(row, running.url, root, seconds) for row in order})
            print(json.dumps({row: [round(figure, 3) for figure in found[-1][row]] for row in ROWS}), flush=True)
        return found


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
    """Steps a second, and cores of the browser."""
    if row == CLOSED:
        return _pace(root, seconds, time.sleep), 0.0
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.get_by_role("tab", name=row).click()
        page.wait_for_timeout(1000 * OPENS)
        before, since = _browser_seconds(), time.monotonic()
        pace = _pace(root, seconds, lambda wait: page.wait_for_timeout(1000 * wait))
        spent = sum(so_far - before.get(process, 0.0) for process, so_far in _browser_seconds().items())
        cores = spent / (time.monotonic() - since)
        browser.close()
    return pace, cores


def _pace(root: Path, seconds: float, wait: Callable[[float], object]) -> float:
    """Steps a second: the median of the lines that the run logs while `wait(seconds)` waits, but for the one that had begun before."""
    begun = len(_lines(root)) + 1
    wait(seconds)
    lines = _lines(root)[begun:]
    if not lines:
        sys.exit("error: the run does not train (any more): fewer --rounds or --seconds.")
    return statistics.median(line["images_per_second"] for line in lines) / BATCH


def _lines(root: Path) -> list[dict[str, Any]]:
    """What the run under `root` logged so far."""
    return [line for run in all_runs(root) for line in run.metrics(0)[0]]


def _browser_seconds() -> dict[int, float]:
    """Processor time so far of each process of the browser that this program started."""
    spent = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "chrom" in process.name():
                spent[process.pid] = sum(process.cpu_times()[:2])
    return spent


if __name__ == "__main__":
    main()
