"""The whole way of a newcomer: start a run, watch it, zoom, reload, stop; then pictures, a walk, and models side by side."""

import json
import re
import urllib.request

import pytest

from ddpm_core.runs import all_runs

RANGE = "document.querySelector('#loss_chart .js-plotly-plot').layout.xaxis.range"
POINTS = (
    "Math.max(0, ...(document.querySelector('#loss_chart .js-plotly-plot')?.data || []).map(trace => trace.x.length))"
)


@pytest.fixture(scope="module")
def studio_program(another_studio, tmp_path_factory):
    """In the place of the studio that the other browser tests share."""
    with another_studio(tmp_path_factory.mktemp("journey")) as studio:
        yield studio


def told(studio):
    with urllib.request.urlopen(studio.url + "/studio/status", timeout=30) as answer:
        return json.load(answer)


def choose(page, elem_id, value):
    """Fills a field and leaves it, as a person does."""
    field = page.locator(f"#{elem_id} input").first
    field.fill(str(value))
    field.press("Enter")
    field.press("Tab")


def test_from_start_to_pictures(page, studio):
    page.set_default_timeout(120_000)

    # Start: the 323 flags, in small batches, so that a test machine gets somewhere.
    choose(page, "dataset", "openmoji:flags")
    page.locator("#peek").get_by_text("323 pictures").wait_for()
    choose(page, "batch_size", 4)
    page.get_by_role("button", name="Start training").click()
    page.locator("#strip").get_by_text("openmoji-flags_32x32").wait_for()
    page.wait_for_function("document.querySelector('#strip').innerText.includes('training')")

    # The chart moves, and a zoom outlives five updates of it.
    page.get_by_role("tab", name="Monitoring").click()
    page.wait_for_function(f"{POINTS} >= 8")
    box = page.locator("#loss_chart .nsewdrag").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.2 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], middle, steps=8)
    page.mouse.up()
    page.wait_for_function("document.querySelector('#loss_chart .js-plotly-plot').layout.xaxis.autorange === false")
    zoomed = page.evaluate(RANGE)
    for _ in range(5):
        points = page.evaluate(POINTS)
        page.wait_for_function(f"{POINTS} > {points}")
    assert page.evaluate(RANGE) == pytest.approx(zoomed)

    # The first grid has come; a reload in mid-run shows the same run, still training.
    page.locator("#film img").first.wait_for()
    run = all_runs(studio.root)[0]
    before = run.status()
    page.reload()
    page.locator("#strip").get_by_text(run.name).wait_for()
    page.wait_for_function(f"{POINTS} >= 8")
    assert told(studio)["state"] == "running"

    # Sample now, Pause, Unpause.
    page.get_by_role("button", name="Sample now").click()
    while not list(run.progress.glob("quick_now_*.png")):
        page.wait_for_timeout(200)
    page.get_by_role("button", name="Pause", exact=True).click()
    page.locator("#strip").get_by_text("paused").wait_for()
    held = run.status()
    assert held.state == "paused" and held.step >= before.step
    page.get_by_role("button", name="Unpause").click()
    page.wait_for_function("document.querySelector('#strip').innerText.includes('training')")

    # Paused while one explores: it stays so over a reload, and ends with the switch.
    page.get_by_role("tab", name="Generation").click()
    switch = page.get_by_role("switch", name="Pause training while I explore")
    switch.check()
    page.locator("#strip").get_by_text("paused").wait_for()
    page.locator(".hold").get_by_text("about a minute after this page is closed").wait_for()
    page.reload()
    page.locator(".hold").get_by_text("about a minute after this page is closed").wait_for()
    assert switch.is_checked()
    switch.uncheck()
    page.wait_for_function("document.querySelector('#strip').innerText.includes('training')")
    # A person's own Unpause ends it, too.
    switch.check()
    page.locator("#strip").get_by_text("paused").wait_for()
    page.get_by_role("button", name="Unpause").click()
    page.wait_for_function("!document.getElementById('hold_training').checked")
    page.wait_for_function("document.querySelector('#strip').innerText.includes('training')")

    # Stop: everything is saved.
    page.get_by_role("button", name="Stop").click()
    page.locator("#strip").get_by_text("stopped").wait_for()
    assert run.status().state == "stopped" and run.final_path.is_file() and run.can_resume()

    # Pictures, a walk, and the run's own models side by side.
    page.get_by_role("tab", name="Generation").click()
    page.wait_for_function("document.querySelector('#model input').value !== ''")
    choose(page, "samples", 4)
    choose(page, "steps", 4)
    for mode, button, line in (
        ("Grid", "Generate", r"4 pictures in [\d.]+ s, seeds 0 to 3"),
        ("Walk", "Interpolate", r"16 frames from seed 0 to seed 1 in"),
        ("Models", "Compare", r"[12] models with the same seeds, 0 to 3, in"),
    ):
        page.locator(".modes").get_by_role("button", name=mode, exact=True).click()
        page.get_by_role("button", name=button).click()
        page.locator("#generation_status").get_by_text(re.compile(line)).wait_for()
        assert page.locator("#canvas img").first.is_visible()
