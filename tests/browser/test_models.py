"""Two models in one frame, in a real browser: the line between them moves by keys and by pointer."""

import pytest

from tests.browser.hands import open_mode


@pytest.fixture
def models(page, studio, toy_run):
    toy_run(studio.root, "small")
    toy_run(studio.root, "large", size=32)
    open_mode(page, "models")
    page.locator("#compare_models .token").nth(1).wait_for()
    page.get_by_role("button", name="Compare").click()
    page.locator("#wipe").wait_for()
    page.locator(".models-chart .js-plotly-plot").wait_for()
    return page


def at(page):
    return page.evaluate("document.querySelector('.wipe-stage').style.getPropertyValue('--at')")


def test_the_line_between_two_models_moves_by_keys(models):
    assert at(models) == "50%"
    wipe = models.locator("#wipe")
    wipe.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        models.keyboard.press(key)
    assert at(models) == "51%" and wipe.get_attribute("aria-valuetext").startswith("51 % of ")
    models.keyboard.press("Home")
    assert at(models) == "0%"
    models.keyboard.press("End")
    assert at(models) == "100%"


def test_and_by_pointer(models):
    stage = models.locator(".wipe-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    models.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    assert abs(float(at(models).rstrip("%")) - 25) <= 1
    assert abs(float(models.locator("#wipe").input_value()) - 25) <= 1


def test_the_sides_can_be_chosen(models):
    under = models.locator(".wipe-stage img").first
    before = under.get_attribute("src")
    models.get_by_label("Model on the right").select_option("0")
    assert under.get_attribute("src") != before
    assert under.get_attribute("src") == models.locator(".wipe-over").get_attribute("src")
