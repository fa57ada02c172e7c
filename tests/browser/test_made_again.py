"""What the explorers made comes back from the history in a real browser: made again to the same bits, and with its settings."""

import io

import numpy as np
import pytest
from PIL import Image

from ddpm_core import gallery
from tests.browser.hands import choose_mode, drop, go, notice, opened, set_number


def drawn(page, button):
    go(page, lambda: page.locator(".room .go", has_text=button).click())


def choose_picture(page, slot, seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(file, "PNG")
    page.locator(f"#own_{slot}").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    page.wait_for_function("slot => document.querySelector(`[data-slot=${slot}] img`).naturalWidth > 0", arg=slot)


def make_steps(page):
    choose_mode(page, "Steps")
    for count in (10, 20, 50):
        page.locator(f"#steps_{count}").uncheck()
    page.locator("#steps_3").check()
    page.locator("#steps_seed").fill("21")
    drawn(page, "Draw them all")


def steps_are_back(page):
    ticked = page.eval_on_selector_all(".steps-room input:checked", "boxes => boxes.map((box) => box.id)")
    assert ticked[:2] == ["steps_3", "steps_5"] and "steps_10" not in ticked
    assert page.locator("#steps_seed").input_value() == "21"


def make_averages(page):
    choose_mode(page, "Averages")
    page.locator("#averages_seed").fill("21")
    page.locator("#averages_samples").fill("2")
    drawn(page, "Draw under each average")


def averages_are_back(page):
    assert [page.locator(f"#averages_{name}").input_value() for name in ("seed", "samples")] == ["21", "2"]


def make_own(page, task):
    choose_mode(page, "Your pictures")
    page.locator(f'[data-task="{task}"].mode').click()
    choose_picture(page, "a", 1)
    if task == "walk":
        choose_picture(page, "b", 2)
        page.locator("#own_frames").fill("3")
    else:
        page.locator("#own_seed").fill("21")
        page.locator("#own_samples").fill("2")
    if task == "redraw":
        page.locator("#own_strength").fill("70")
    if task == "fill":
        page.locator("#mask_part").select_option("top")
    drawn(page, {"walk": "Walk", "redraw": "Redraw", "fill": "Fill in"}[task])


def own_is_back(page, task):
    assert page.locator(".own-room").get_attribute("data-task") == task
    assert page.locator('[data-slot="a"] .hint').text_content() == "Your picture, as the model sees it"
    if task == "walk":
        assert page.locator("#own_frames").input_value() == "3"
    else:
        assert [page.locator(f"#own_{name}").input_value() for name in ("seed", "samples")] == ["21", "2"]
    if task == "redraw":
        assert page.locator("#own_strength").input_value() == "70"
    if task == "fill":
        assert page.locator(".mask").get_by_text("50 % covered").is_visible()


KINDS = {
    "steps": (make_steps, steps_are_back, "Draw them all"),
    "averages": (make_averages, averages_are_back, "Draw under each average"),
    "walk": (lambda page: make_own(page, "walk"), lambda page: own_is_back(page, "walk"), "Walk"),
    "redraw": (lambda page: make_own(page, "redraw"), lambda page: own_is_back(page, "redraw"), "Redraw"),
    "fill": (lambda page: make_own(page, "fill"), lambda page: own_is_back(page, "fill"), "Fill in"),
}


@pytest.mark.parametrize(
    "kind", ["steps", "averages", "fill", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("walk", "redraw"))]
)
def test_what_an_explorer_made_is_made_again_and_its_settings_come_back(page, studio, toy_run, toy_snapshots, kind):
    toy_run(studio.root, "toys")
    if kind == "averages":
        toy_snapshots(studio.root, "toys", range(256, 2305, 256))
    opened(page)
    set_number(page, "steps", 4)
    page.wait_for_function("Studio.how.values.steps === 4")
    make, is_back, button = KINDS[kind]
    make(page)
    choose_mode(page, "History")
    page.locator(".made-card").first.click()
    page.get_by_role("button", name="Make it again").click()
    page.get_by_text("The same picture, bit for bit.").wait_for()
    png = gallery.history(studio.root)[0].path.read_bytes()

    page.reload()  # what the page knew is gone
    page.wait_for_function("document.querySelector('#model input')?.value")
    choose_mode(page, "Grid")
    set_number(page, "steps", 9)
    drop(page, png)
    notice(page).get_by_text(f"press {button}").wait_for()
    is_back(page)
    if kind not in ("steps", "walk"):
        page.wait_for_function("Studio.how.values.steps === 4")
    drawn(page, button)
    assert len(gallery.history(studio.root)) == 2
    first, second = (gallery.pixels(entry.path.read_bytes()) for entry in gallery.history(studio.root))
    assert np.array_equal(first, second)
    notice(page).get_by_role("button", name="Open it in the history").click()
    page.locator(".made-open img").first.wait_for()
