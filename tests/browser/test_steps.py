"""One picture by every number of steps, in a real browser."""

import re

import pytest

from ddpm_core import recipes
from tests.browser.hands import go, open_mode, saved, start_tabbing, tab_to


@pytest.fixture
def steps(page, studio, toy_run):
    toy_run(studio.root, "toys")
    open_mode(page, "steps")
    page.locator("#steps_go").wait_for()
    return page


def seconds(page):
    return page.locator(".cells td .hint").all_inner_texts()


def test_by_mouse(steps, tmp_path):
    for count in (20, 50):
        steps.locator(f"#steps_{count}").click()
    steps.locator("#steps_seed").fill("4")
    assert go(steps, lambda: steps.locator("#steps_go").click()) == "The picture of seed 4, again and again."
    told = seconds(steps)
    assert len(told) >= 4 and all(re.fullmatch(r"\d+\.\d\d s", text) for text in told)
    sources = [image.get_attribute("src") for image in steps.locator(".cells img").all()]
    assert len(set(sources)) == len(sources) == len(told)
    recipe = recipes.read_recipe(saved(steps, "Save PNG", tmp_path).read_bytes())
    assert (recipe["what"], recipe["steps"], recipe["seeds"]) == ("steps", [5, 10], [4])


def test_by_keyboard_alone(steps):
    start_tabbing(steps, "steps")
    tab_to(steps, "steps_seed")
    steps.keyboard.press("ArrowUp")
    for count in (10, 20, 50):
        tab_to(steps, f"steps_{count}")
        steps.keyboard.press("Space")
    tab_to(steps, "steps_unipc")
    steps.keyboard.press("Space")
    tab_to(steps, "steps_go")
    assert go(steps, lambda: steps.keyboard.press("Enter")) == "The picture of seed 1, again and again."
    assert steps.locator(".cells th[scope=col]").all_inner_texts() == ["5 steps"]
    assert "UniPC" not in steps.locator(".cells th[scope=row]").all_inner_texts()


def test_nothing_chosen_is_one_line(steps):
    for count in (5, 10, 20, 50):
        steps.locator(f"#steps_{count}").click()
    assert go(steps, lambda: steps.locator("#steps_go").click()) == "Choose one to 6 numbers of steps."
