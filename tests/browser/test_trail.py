"""The grid in a real browser: scrubbing through its making, choosing one of its pictures, and asking whether it is a copy."""

import re

import numpy as np
import pytest
from PIL import Image

from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.runs import Run
from tests.browser.hands import POLLS, narrow_and_wide

DONE = """(steps) => document.querySelector('.canvas').dataset.busy === 'false'
    && document.querySelector('.trail')?.hidden === false
    && document.querySelector('#trail_slider').getAttribute('aria-valuetext') === `finished, ${steps} steps`"""


def generated(page, steps=6):
    """A finished grid of sixteen pictures, whose steps have arrived."""
    page.get_by_role("tab", name="Generation").click()
    page.wait_for_function("document.querySelector('#model input')?.value")
    field = page.locator("#steps input[type=number]")
    field.fill(str(steps))
    field.press("Tab")
    page.get_by_role("button", name="Generate").click()
    page.wait_for_function(DONE, arg=steps)
    return page


@pytest.fixture
def grid(page, studio, toy_run):
    toy_run(studio.root, "toys")
    return generated(page)


def test_every_step_is_scrubbed_without_asking_the_studio(grid):
    asked = []
    grid.on("request", lambda request: asked.append(request.url))
    slider = grid.get_by_role("slider", name="Step of the making")
    assert slider.get_attribute("aria-valuetext") == "finished, 6 steps"
    assert grid.locator("#canvas img").count() == 1  # at rest: the one large grid
    slider.focus()
    seen = set()
    for step in range(6, 0, -1):
        slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext").startswith(f"step {step} of 6, noise level ")
        noisy, belief = grid.locator(".trail-half img").all()
        seen |= {noisy.get_attribute("src"), belief.get_attribute("src")}
    assert len(seen) == 12
    assert "step 1 of 6" in noisy.get_attribute("alt") and noisy.is_visible() and belief.is_visible()
    slider.press("End")
    assert grid.locator("#canvas img").count() == 1 and grid.locator(".grid-whole img").is_visible()
    assert [url for url in asked if not url.endswith(POLLS) and not url.startswith("data:")] == []


def test_what_is_told_twice_stays_where_a_hand_has_put_it(page, studio, toy_run):
    """Gradio tells the last value of a stream once more at its end, on a busy machine late enough for a hand to be on the slider."""
    toy_run(studio.root, "toys")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    generated(page)
    name = next(url for url in asked if "/studio/trail/" in url).rpartition("/")[2]
    picture = page.locator(".grid-whole img").get_attribute("src")
    page.evaluate(
        """() => { const element = document.createElement("div"), props = {};
             element.innerHTML = "<div class='card'><div class='canvas'></div></div>"; document.body.prepend(element);
             Studio.canvas(element, props, (name, draw) => (window.told = (value) => { props.value = value; draw(); }), {}); }"""
    )
    grid = {
        "busy": False,
        "done": 1,
        "line": "Done.",
        "view": "grid",
        "grid": {"src": picture, "alt": "", "trail": name},
    }
    walk = {
        "busy": False,
        "done": 1,
        "line": "Done.",
        "view": "walk",
        "walk": {"frames": 3 * [picture], "a": 0, "b": 1, "alt": ""},
    }
    for value, row, moved in ((grid, "#trail_slider", "step 6 of 6"), (walk, "#scrub_slider", "frame 2 of 3")):
        page.evaluate("value => told(value)", value)
        slider = page.locator(row).first
        page.wait_for_function("row => document.querySelector(row)?.getAttribute('aria-valuetext')", arg=row)
        at_first = slider.get_attribute("aria-valuetext")
        slider.press("ArrowLeft" if value is grid else "ArrowRight")
        page.evaluate("value => told(value)", value)
        page.wait_for_timeout(200)
        assert slider.get_attribute("aria-valuetext").startswith(moved) and not at_first.startswith(moved)
        page.evaluate("value => { told({ busy: true, done: 0, line: '' }); told(value) }", value)  # made again
        page.wait_for_function(
            "([row, words]) => document.querySelector(row).getAttribute('aria-valuetext') === words",
            arg=[row, at_first],
        )


def test_nothing_below_jumps_while_one_scrubs(grid):
    slider = grid.get_by_role("slider", name="Step of the making")
    place = slider.bounding_box()["y"]
    slider.focus()
    for key in ("ArrowLeft", "Home", "ArrowRight", "End"):
        slider.press(key)
        grid.wait_for_timeout(50)
        assert abs(slider.bounding_box()["y"] - place) <= 1, key


def test_a_new_grid_begins_with_its_own_steps(grid):
    grid.get_by_role("slider", name="Step of the making").press("Home")
    generated(grid, steps=3)
    slider = grid.get_by_role("slider", name="Step of the making")
    assert slider.get_attribute("aria-valuetext") == "finished, 3 steps"
    assert grid.locator(".grid-whole img").is_visible()


def test_a_picture_is_chosen_with_the_mouse_or_with_the_keys(grid):
    cells = grid.locator(".cell-over")
    assert cells.count() == 16
    # The buttons lie on their pictures, whose places are known from the grid's own pixels.
    box, cell = grid.locator(".grid-whole img").bounding_box(), cells.nth(5).bounding_box()
    scale = box["width"] / (4 * 17 + 1)
    assert cell["x"] - box["x"] == pytest.approx(18 * scale, abs=1)
    assert cell["width"] == pytest.approx(16 * scale, abs=1)
    grid.mouse.click(cell["x"] + cell["width"] / 2, cell["y"] + cell["height"] / 2)
    grid.get_by_role("heading", name="Seed 5").wait_for()
    assert cells.nth(5).get_attribute("aria-pressed") == "true"

    cells.nth(5).focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "Home", "End", "ArrowUp"):
        grid.keyboard.press(key)
    assert cells.nth(11).evaluate("e => e === document.activeElement")
    assert cells.evaluate_all("all => all.filter((e) => e.tabIndex === 0).length") == 1
    grid.keyboard.press("Enter")
    grid.get_by_role("heading", name="Seed 11").wait_for()
    shown = grid.evaluate(
        """() => { const sample = document.querySelector('.copies-sample');
             return [sample.width, new Set(sample.getContext('2d').getImageData(0, 0, 16, 16).data).size > 20] }"""
    )
    assert shown == [16, True]
    grid.locator(".copies").get_by_role("button", name="Close").click()
    assert not grid.locator(".copies").is_visible()


def test_is_it_a_copy(page, studio, toy_run):
    toy_run(studio.root, "toys")
    folder = studio.root.parent / "training pictures"
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(9):
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    network = NetworkConfig(16, (1, 2), attention=())
    Run(studio.root, "toys").create(RunConfig(str(folder), 16, "toys", network=network))
    generated(page)
    page.locator(".cell-over").nth(3).click()
    page.get_by_role("button", name="Is it a copy?").click()
    told = page.locator(".copies .line")
    told.get_by_text(re.compile(r"^It is (no|a|close).*\.$")).wait_for()
    assert page.locator(".copies-nearest img").count() == 4
    assert re.match(r"no\. \d( mirrored)?, distance \d+", page.locator(".copies-nearest figcaption").first.inner_text())


def test_a_data_set_that_is_gone_is_one_line(grid):
    grid.locator(".cell-over").first.click()
    grid.get_by_role("button", name="Is it a copy?").click()
    grid.locator(".copies .line").get_by_text("no data set 'toy'").wait_for()
    assert grid.locator(".copies-nearest img").count() == 0


def test_everything_stays_inside_the_window(page, studio, toy_run):
    toy_run(studio.root, "toys")
    generated(page)
    page.locator(".cell-over").first.click()
    page.get_by_role("slider", name="Step of the making").press("Home")
    page.locator(".trail-half img").first.wait_for()
    for width in narrow_and_wide(page):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        overlap = page.evaluate(
            """() => { const [a, b] = [...document.querySelectorAll('.trail-half img')].map((e) => e.getBoundingClientRect());
                 return a.right > b.left }"""
        )
        assert not overlap
