"""The averages of a run in a real browser: drawn by mouse and by keyboard, and scrubbed."""

import pytest

from ddpm_core import recipes
from tests.browser.hands import go, open_mode, open_quickly, saved, start_tabbing, tab_to


@pytest.fixture
def averages(page, studio, toy_run, toy_snapshots):
    toy_run(studio.root, "toys")
    toy_snapshots(studio.root, "toys", range(256, 2305, 256))
    open_quickly(page, "averages")
    page.locator("#averages_go").wait_for()
    page.locator("#averages_samples").fill("3")
    return page


def scrub(page):
    slider, seen = page.locator("#averages_slider"), set()
    slider.focus()
    page.keyboard.press("Home")
    for index, percent in enumerate(("3", "5", "7.5", "10", "15", "20", "25")):
        assert slider.input_value() == str(index)
        assert slider.get_attribute("aria-valuetext") == f"remembers {percent} % of the run"
        seen.add(page.locator(".canvas-one > img:visible").get_attribute("src"))
        page.keyboard.press("ArrowRight")
    assert len(seen) == 7


def test_by_mouse(averages, tmp_path):
    assert go(averages, lambda: averages.locator("#averages_go").click()).startswith("Drag the slider")
    scrub(averages)
    recipe = recipes.read_recipe(saved(averages, "Save PNG", tmp_path).read_bytes())
    assert (recipe["what"], recipe["seeds"], len(recipe["ema"])) == ("ema", [0, 1, 2], 7)


def test_by_keyboard_alone(averages):
    start_tabbing(averages, "averages")
    tab_to(averages, "averages_go")
    assert go(averages, lambda: averages.keyboard.press("Enter")).startswith("Drag the slider")
    tab_to(averages, "averages_slider")
    scrub(averages)


def test_a_run_without_snapshots_says_why(page, studio, toy_run):
    toy_run(studio.root, "toys")
    open_mode(page, "averages")
    said = go(page, lambda: page.locator("#averages_go").click())
    assert said.startswith("The run toys has no snapshots") and page.locator("#averages_slider").is_hidden()
