"""Autoguidance in a real browser: shown where the run kept the young model; set by mouse and by keyboard, and brought back."""

import pytest

from ddpm_core import gallery, recipes
from tests.browser.hands import DRAWN, EXACT, choose_mode, go, open_mode, point, press, settled

SLIDER = "#autoguidance input[type=range]"


@pytest.fixture
def toys(page, studio, toy_run, toy_snapshots):
    toy_run(studio.root, "toys")
    toy_snapshots(studio.root, "toys", (256, 512))
    return open_mode(page, "grid")


def shown(page):
    return page.locator("#canvas img").get_attribute("src")


def test_it_makes_other_pictures_and_comes_back_with_one(toys, studio):
    press(toys, "Generate")
    plain = shown(toys)
    toys.locator(SLIDER).wait_for()
    toys.locator("#autoguidance input[type=number]").fill("2.5")
    toys.keyboard.press("Tab")
    press(toys, "Generate")
    assert shown(toys) != plain
    toys.locator("#autoguidance input[type=number]").fill("1")
    toys.keyboard.press("Tab")
    recipe = recipes.read_recipe(gallery.history(studio.root)[0].path.read_bytes())
    assert (recipe["autoguidance"], recipe["young"]) == (2.5, 256)
    choose_mode(toys, "History")
    toys.locator(".made-card").first.click()
    toys.get_by_role("button", name="Make it again").click()
    toys.get_by_text("The same picture, bit for bit.").wait_for()
    toys.get_by_role("button", name="Use these settings").click()
    toys.wait_for_function("Studio.how.values.autoguidance === 2.5")


def test_the_pad_is_drawn_anew_by_keyboard(toys):
    open_mode(toys, "pad")
    settled(toys)
    point(toys, 0.2, 0.7)
    toys.wait_for_function(EXACT)
    before = toys.evaluate(DRAWN)
    toys.locator(SLIDER).focus()
    go(toys, lambda: [toys.keyboard.press("ArrowRight") for _ in range(6)])
    toys.wait_for_function(EXACT)
    assert toys.evaluate("Studio.how.values.autoguidance") == 1.6 and toys.evaluate(DRAWN) != before


def test_a_run_that_kept_nothing_does_not_offer_it(page, studio, toy_run):
    toy_run(studio.root, "toys")
    open_mode(page, "grid")
    assert press(page, "Generate").startswith("16 pictures in ") and not page.locator("#autoguidance").is_visible()
