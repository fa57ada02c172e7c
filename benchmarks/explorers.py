"""How soon the Generation tab answers in a real Chromium: the pad under a moving pointer, and Cancel in every explorer.

    python -m benchmarks.explorers --output-dir . --run openmoji_32x32

Starts the studio with a run that was trained (the table's is a 32 px `cpu` model, as anybody gets on two cores) and opens its page.

The pad: the pointer moves over it, and each move is timed from the browser's own time stamp of it to the frame that shows the
coarse map's picture there; then how long the exact picture takes once the pointer rests (the page waits 120 ms first). Cancel:
each explorer gets more to do than it can finish, and is timed from the click to the line that says so, and to the moment when
the studio's processor time stands still, which is when the work has really stopped.

Writes benchmarks/results/explorers.json (with _float32 or _cuda in its name, as benchmarks/records.py says).
"""

import argparse
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks import machine
from benchmarks.live_studio import chromium, running_studio, until
from benchmarks.records import results_of, write
from ddpm_core import devices
from ddpm_core.errors import StudioError
from ddpm_core.runs import Run

MOVES = 60
RESTS = 12
TIMES = 5  # Cancel in each explorer
CALM = 0.5  # of one core: less means that nothing is drawn; the page's polls cost little
LOOK = 0.1  # seconds between two looks at it

# Every move of the pointer, and the frame after it was handled: what the screen shows then is the picture at that place.
WATCH_MOVES = """() => { window.late = [];
  document.getElementById("pad_surface").addEventListener("pointermove", (event) =>
    requestAnimationFrame(() => requestAnimationFrame(() => window.late.push(performance.now() - event.timeStamp)))); }"""
# From the browser's time stamp of the click on Cancel to the line that says so.
WATCH_CANCEL = """() => {
  document.addEventListener("click", (event) => {
    if (event.target.textContent.trim() === "Cancel") { window.clicked = event.timeStamp; window.told = null; } }, true);
  new MutationObserver(() => { for (const line of document.querySelectorAll("#generation_status, .room .bench .line"))
    if (window.told === null && line.textContent.startsWith("Cancelled")) window.told = performance.now(); }
  ).observe(document.body, { subtree: true, childList: true, characterData: true }); }"""
EXACT = "document.getElementById('pad_picture').dataset.exact === 'true'"
BUSY = "document.querySelector('.room .bench')?.dataset.busy === 'true'"
SETTLED = "document.querySelector('.room .bench')?.dataset.busy === 'false'"
ON_CANVAS = {"grid": "#generate", "walk": "#interpolate", "models": "#compare"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=Path("."), help="where checkpoints/ of the run is")
    parser.add_argument("--run", required=True, help="a run that kept snapshots of its averages")
    parser.add_argument("--output", type=Path, help="instead of the usual file in results/")
    options = parser.parse_args()
    device = devices.choose("auto")
    about = machine.describe(" ".join(["python -m benchmarks.explorers", *sys.argv[1:]]), device)
    try:
        config = Run(options.output_dir, options.run).config()
    except StudioError as error:
        sys.exit(f"explorers: {error}")
    about |= {"preset": config.preset, "size": config.size}
    watch = machine.Watch()
    with opened(options.output_dir.resolve(), options.run) as (page, studio):
        found = {"run": options.run, "pad": pad(page), "cancel": cancels(page, studio)}
    disturbed = watch.lap().disturbed
    write(options.output or results_of("explorers", device), {**about, **found, "disturbed": disturbed})
    print(json.dumps(found, indent=2))


@contextlib.contextmanager
def opened(root: Path, run: str) -> Iterator[tuple[Any, psutil.Process]]:
    """A page of a studio that has this one run, and the studio's process."""
    if not (root / "checkpoints" / run).is_dir():
        sys.exit(f"error: {root} has no checkpoints/{run}: train it first, or name another with --run.")
    with tempfile.TemporaryDirectory() as alone, chromium() as browser:
        for folder in ("checkpoints", "training_progress"):  # nothing is written into the real run
            shutil.copytree(root / folder / run, Path(alone) / folder / run)
        with running_studio(Path(alone)) as program, contextlib.closing(browser):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(120_000)
            page.goto(program.url)
            page.get_by_role("tab", name="Generation").click()
            page.wait_for_function("window.Studio?.how?.values.model")
            yield page, psutil.Process(program.process)


# ---- the pad


def pad(page: Any) -> dict[str, Any]:
    """Milliseconds from the pointer to its picture."""
    enter(page, "pad")
    page.wait_for_function(SETTLED)
    page.wait_for_function(EXACT)
    page.evaluate(WATCH_MOVES)
    surface = page.locator("#pad_surface")
    surface.scroll_into_view_if_needed()
    box = surface.bounding_box()

    def point(step: int) -> None:
        across, down = (step * 0.37) % 1, (step * 0.61) % 1
        page.mouse.move(box["x"] + box["width"] * across, box["y"] + box["height"] * down)

    for step in range(MOVES):
        point(step)
        page.wait_for_timeout(
            40 if step % 10 else 400
        )  # now and then it rests, and the studio is at work on the exact one
    coarse = page.evaluate("window.late")
    exact = []
    for step in range(RESTS):
        point(step)
        began = time.perf_counter()
        page.wait_for_function(EXACT)
        exact.append(1000 * (time.perf_counter() - began))
    return {"coarse": summary(coarse), "exact": summary(exact)}


# ---- Cancel


def cancels(page: Any, studio: psutil.Process) -> dict[str, Any]:
    """Seconds from the click on Cancel to what the page says, and to the studio's rest."""
    begin: dict[str, Callable[[], None]] = {
        "grid": lambda: click(page, "#generate"),
        "walk": lambda: click(page, "#interpolate"),
        "models": lambda: click(page, "#compare"),
        "pad": lambda: record(page),
        "own": lambda: click(page, "#own_go"),
        "steps": lambda: click(page, "#steps_go"),
        "averages": lambda: click(page, "#averages_go"),
    }
    page.evaluate(WATCH_CANCEL)
    found = {}
    for mode, start in begin.items():
        enter(page, mode)
        prepare(page, mode)
        told, rested = [], []
        for _ in range(TIMES):
            until(lambda: _use(studio) < CALM)
            start()
            page.wait_for_function(
                BUSY if mode not in ON_CANVAS else "document.querySelector('.canvas')?.dataset.busy === 'true'"
            )
            page.wait_for_timeout(1500)  # well in the middle of it
            cancel = page.get_by_role("button", name="Cancel").locator("visible=true")
            cancel.click()
            while _use(studio) >= CALM:
                pass
            calm = time.time() - LOOK  # it was calm all through the last look
            page.wait_for_function("window.told !== null")
            told.append(page.evaluate("(window.told - window.clicked) / 1000"))
            rested.append(calm - page.evaluate("(performance.timeOrigin + window.clicked) / 1000"))
        found[mode] = {"told": summary(told, 3), "rested": summary(rested, 3)}
    return found


def prepare(page: Any, mode: str) -> None:
    """More to do than can be done in a few seconds."""
    if mode != "steps":  # it has numbers of its own
        fill(page, "#steps input[type=number]", 200)
    if mode == "grid":
        fill(page, "#samples input[type=number]", 64)
    if mode == "own":
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            Image.radial_gradient("L").convert("RGB").save(file.name)
            for slot in ("a", "b"):
                page.locator(f"#own_{slot}").set_input_files(file.name)
                page.wait_for_function(f"document.querySelector('[data-slot={slot}] img').naturalWidth > 0")
    if mode == "steps":
        for box in page.locator('.room input[type="checkbox"]').all():
            if not box.is_checked():
                box.check()
    if mode == "averages":
        page.locator("#averages_samples").fill("16")


def record(page: Any) -> None:
    """A film over the whole pad."""
    page.wait_for_function(SETTLED)
    surface = page.locator("#pad_surface")
    page.locator("#pad_record").click()
    surface.focus()
    for key in ("Shift+ArrowLeft", "Shift+ArrowUp", "Shift+ArrowRight"):
        page.keyboard.press(key)
    page.locator("#pad_record").click()


def enter(page: Any, mode: str) -> None:
    page.locator(f'.modes [data-mode="{mode}"]').click()
    page.locator(f'.modes [data-mode="{mode}"][aria-pressed="true"]').wait_for()
    page.wait_for_timeout(500)


def click(page: Any, selector: str) -> None:
    page.locator(selector).click()


def fill(page: Any, selector: str, value: int) -> None:
    field = page.locator(selector)
    field.fill(str(value))
    field.press("Tab")
    page.wait_for_timeout(300)


def _use(studio: psutil.Process) -> float:
    """How many cores the studio keeps busy, over `LOOK` seconds."""
    before, began = sum(studio.cpu_times()[:2]), time.perf_counter()
    time.sleep(LOOK)
    return (sum(studio.cpu_times()[:2]) - before) / (time.perf_counter() - began)


def summary(values: list[float], digits: int = 1) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), digits),
        "longest": round(max(values), digits),
        "times": len(values),
    }


if __name__ == "__main__":
    main()
