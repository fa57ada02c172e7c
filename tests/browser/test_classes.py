"""Classes on the pad and on a walk, in a real browser: chosen by mouse and by keyboard, and brought back by a picture."""

import json

import pytest
from PIL import Image

from ddpm_core import gallery, pictures, recipes
from ddpm_core.generator import Generator
from tests.browser.hands import DRAWN, EXACT, go, open_mode, open_quickly, point, saved, settled, start_tabbing, tab_to


@pytest.fixture
def animals(page, studio, toy_run):
    """A model that knows three classes, and what the pad asks for."""
    toy_run(studio.root, "animals", classes=3)
    asked = []
    page.on("request", lambda request: "/make/pad-" in request.url and asked.append(request.post_data_json))
    open_quickly(page, "pad")
    settled(page)
    page.wait_for_function(EXACT)
    page.asked = asked
    return page


def test_the_corners_have_classes_by_mouse(animals):
    choices = animals.locator(".pad-corner select")
    assert choices.count() == 4 and all(choice.is_visible() for choice in choices.all())
    assert choices.first.locator("option").all_inner_texts() == ["any", "ant", "bee", "cow"]
    assert not animals.locator("#which_class").is_visible()  # the form's one class is for other modes
    before = animals.evaluate(DRAWN)
    go(animals, lambda: animals.get_by_role("combobox", name="Class at the bottom right").select_option("2"))
    animals.wait_for_function(EXACT)
    assert animals.evaluate(DRAWN) != before
    assert all(asked["classes"] == ["any", "any", "any", "2"] for asked in animals.asked[-2:])
    animals.get_by_role("button", name="Lock", exact=True).last.click()
    assert choices.last.is_disabled()
    point(animals, 0, 0)  # there the first corner is alone, and that is of any class
    animals.wait_for_function(EXACT)
    corner = animals.evaluate(DRAWN)
    go(animals, lambda: choices.nth(1).select_option("0"))
    animals.wait_for_function(EXACT)
    assert animals.evaluate(DRAWN) == corner


def test_the_corners_have_classes_by_keyboard(animals, tmp_path):
    start_tabbing(animals, "pad")
    tab_to(animals, "pad_class_tl")
    go(animals, lambda: animals.keyboard.press("ArrowDown"))
    tab_to(animals, "pad_class_tr")
    go(animals, lambda: animals.keyboard.press("c"))
    assert animals.asked[-1]["classes"] == ["0", "2", "any", "any"]
    tab_to(animals, "pad_record")
    animals.keyboard.press("Enter")
    assert go(animals, lambda: animals.keyboard.press("Enter")).startswith("A film of 48 frames")
    recipe = recipes.read_recipe(saved(animals, "Save PNG", tmp_path).read_bytes())
    assert recipe["classes"] == [0, 2, None, None]


def test_a_film_of_the_pad_brings_corners_and_classes_back(animals, tmp_path):
    go(animals, lambda: animals.locator("#pad_class_bl").select_option("1"))
    animals.locator("#pad_seed_tr").fill("77")
    go(animals, lambda: animals.locator("#pad_seed_tr").press("Tab"))
    animals.locator("#pad_surface").focus()
    for key in ("Shift+ArrowRight", "Shift+ArrowUp") * 3:  # to the corner, exactly
        animals.keyboard.press(key)
    animals.wait_for_function(EXACT)
    before = animals.evaluate(DRAWN)
    animals.locator("#pad_record").click()
    go(animals, lambda: animals.locator("#pad_record").click())
    path = saved(animals, "Save PNG", tmp_path)
    go(animals, lambda: animals.locator("#pad_class_bl").select_option("any"))
    go(animals, lambda: animals.locator("#pad_reroll").click())
    animals.locator("#recall_file").set_input_files(path)
    animals.locator("#notice").get_by_text("its path is not").wait_for()
    animals.wait_for_function("document.getElementById('pad_seed_tr').value === '77'")
    animals.wait_for_function("document.getElementById('pad_class_bl').value === '1'")
    settled(animals)
    animals.wait_for_function(EXACT)
    assert animals.locator("#pad_place").inner_text() == "100 % across, 0 % down"
    assert animals.evaluate(DRAWN) == before


def test_a_walk_has_a_class_at_each_end(animals, studio):
    open_mode(animals, "walk")
    animals.locator("#which_end input").click()
    options = animals.locator("#which_end [role=option]")
    assert options.all_inner_texts()[0].strip().endswith("as at the start") and options.count() == 5
    options.last.click()
    animals.get_by_role("button", name="Interpolate").click()
    animals.get_by_text("frames from seed 0 to seed 1").first.wait_for()
    assert recipes.read_recipe(gallery.history(studio.root)[0].path.read_bytes())["classes"] == [None, 2]


def test_a_walk_between_classes_comes_back_though_another_model_was_chosen(page, studio, toy_run):
    animals = Generator.load(toy_run(studio.root, "animals", classes=3), "cpu")
    toy_run(studio.root, "toys")
    open_mode(page, "pad")
    page.wait_for_function("Studio.how.values.model === 'toys/ddpm_best.pt'")
    how = {"seeds": [3, 4], "mix": [[0], [1]], "steps": 4, "sampler": "ddim"}
    values = "['model', 'which_class', 'which_end'].map((name) => document.querySelector(`#${name} input`)?.value)"
    for classes, shown in (([2, 0], ["cow", "ant"]), (None, ["any", "as at the start"])):
        recipe = animals.recipe("interpolate", **how, classes=classes)
        png = pictures.to_png_bytes(Image.new("L", (8, 8)), recipe=recipe)
        page.locator("#recall_file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png})
        wanted = ["animals · best · step 1,482, 16 px", *shown]
        page.wait_for_function(f"JSON.stringify({values}) === JSON.stringify({json.dumps(wanted)})")
        page.wait_for_timeout(500)
        assert page.evaluate(values) == wanted  # and so it stays
