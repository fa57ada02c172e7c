"""Your pictures in a real browser: chosen or dropped, walked between, redrawn and filled in."""

import re

import pytest

from ddpm_core import recipes
from tests.browser.hands import (
    POLLS,
    choose_file,
    go,
    has_picture,
    open_mode,
    open_quickly,
    png,
    saved,
    start_tabbing,
    tab_to,
)


def drop(page, slot, name, kind, content, zeros=0):
    """As the browser tells that a file was let go over the page; `zeros`: so many more bytes of nothing."""
    page.locator(f'[data-slot="{slot}"]').evaluate(
        """(element, [name, kind, bytes, zeros]) => {
             const transfer = new DataTransfer();
             transfer.items.add(new File([new Uint8Array(bytes), new Uint8Array(zeros)], name, { type: kind }));
             for (const what of ["dragenter", "dragover", "drop"])
               element.dispatchEvent(new DragEvent(what, { dataTransfer: transfer, bubbles: true, cancelable: true }));
           }""",
        [name, kind, list(content), zeros],
    )


@pytest.fixture
def own(page, studio, toy_run):
    toy_run(studio.root, "toys")
    open_quickly(page, "own")
    page.locator("#own_go").wait_for()
    return page


def test_a_walk_between_two_chosen_files_scrubs_without_asking(own):
    assert go(own, lambda: own.locator("#own_go").click()).startswith("Drop in your picture first")
    choose_file(own, "a", png(1))
    choose_file(own, "b", png(2), name="a name that is so long that it must be broken somewhere_" + "x" * 90 + ".png")
    has_picture(own, "a"), has_picture(own, "b")
    own.locator("#own_frames").fill("6")
    assert go(own, lambda: own.locator("#own_go").click()).startswith("6 frames between your pictures")
    assert "of 255 shades off" in own.locator(".own-made-of").inner_text()
    asked = []
    own.on("request", lambda request: asked.append(request.url))
    slider = own.get_by_role("slider", name="Frame of the walk")
    slider.focus()
    frames = set()
    for index in range(1, 6):
        slider.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == f"frame {index + 1} of 6"
        frames.add(own.locator(".scrub > img").get_attribute("src"))
    assert len(frames) == 5
    assert [url for url in asked if not url.endswith(POLLS) and not url.startswith(("data:", "blob:"))] == []
    for kind in ("PNG", "GIF", "MP4"):
        assert own.locator(".room").get_by_role("link", name=f"Save {kind}").count() == 1


def test_a_dropped_picture_is_redrawn(own, tmp_path):
    drop(own, "a", "dropped.png", "image/png", png(3))
    has_picture(own, "a")
    assert own.locator('[data-slot="a"]').get_by_text("dropped.png").is_visible()
    own.get_by_role("button", name="Redraw", exact=True).first.click()
    own.locator("#own_samples").fill("2")
    assert go(own, lambda: own.locator("#own_go").click()) == "Your picture, drawn 2 times anew."
    own.wait_for_function("document.getElementById('own_made').naturalWidth === 2 * 16 + 3")
    recipe = recipes.read_recipe(saved(own, "Save PNG", tmp_path).read_bytes())
    assert (recipe["what"], recipe["seeds"]) == ("redraw", [0, 1])


def test_of_two_dropped_pictures_the_newer_one_stays(own):
    held = []
    own.route("**/studio/own", lambda route: route.continue_() if held else held.append(route))
    drop(own, "a", "slow.png", "image/png", png(6))
    drop(own, "a", "quick.png", "image/png", png(7))
    words = own.locator('[data-slot="a"] .hint')
    words.get_by_text("quick.png").wait_for()
    with own.expect_response("**/studio/own"):
        held[0].continue_()
    own.wait_for_timeout(200)
    assert words.inner_text() == "quick.png"


def test_a_part_painted_by_pointer_or_chosen_by_name_is_filled_in(own):
    choose_file(own, "a", png(4))
    has_picture(own, "a")
    own.get_by_role("button", name="Fill in", exact=True).first.click()
    assert "mask is empty" in go(own, lambda: own.locator("#own_go").click())
    stage = own.locator("#mask_stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    own.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    own.mouse.down()
    own.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"], steps=10)
    own.mouse.up()
    covered = own.locator(".mask [role=status]")
    assert 3 <= int(re.match(r"\d+", covered.inner_text())[0]) <= 80
    assert go(own, lambda: own.locator("#own_go").click()) == "4 ways to fill it in."
    own.get_by_role("button", name="Clear").click()
    assert covered.inner_text() == "0 % covered"
    own.locator("#mask_part").select_option("bottom")
    assert covered.inner_text() == "50 % covered"
    assert go(own, lambda: own.locator("#own_go").click()) == "4 ways to fill it in."


def test_by_keyboard_alone(own):
    choose_file(own, "a", png(5))  # the system's own window for choosing a file is not the page's
    has_picture(own, "a")
    start_tabbing(own, "own")
    own.keyboard.press("Tab")
    for task in ("walk", "redraw", "fill"):
        while own.evaluate("document.activeElement.dataset.task") != task:
            own.keyboard.press("Tab")
    own.keyboard.press("Enter")
    tab_to(own, "own_a")
    tab_to(own, "mask_part")
    own.keyboard.press("ArrowDown")
    assert own.locator("#mask_part").input_value() == "left"
    tab_to(own, "own_go")
    assert go(own, lambda: own.keyboard.press("Enter")) == "4 ways to fill it in."
    assert own.locator('.own-tasks [data-task="fill"]').get_attribute("aria-pressed") == "true"


def test_what_is_no_picture_is_one_line(open_page, studio, toy_run):
    toy_run(studio.root, "toys")
    page = open_mode(open_page(forgive="Failed to load resource"), "own")
    page.locator("#own_go").wait_for()
    said = go(page, lambda: choose_file(page, "a", b"dear diary", "diary.txt", "text/plain"))
    assert said.startswith("This file is no picture that can be read")
    said = go(page, lambda: drop(page, "b", "diary.txt", "text/plain", b"dear diary"))
    assert said.startswith("This file is no picture that can be read")
    said = go(page, lambda: drop(page, "a", "large.png", "image/png", png(), zeros=31 << 20))
    assert said == "The file is larger than 30 MB: choose a smaller one."
    assert go(page, lambda: page.locator("#own_go").click()).startswith("Drop in your picture first")
