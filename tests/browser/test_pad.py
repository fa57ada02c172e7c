"""The pad in a real browser, by mouse and by keyboard, with a model that was never trained."""

import statistics

import pytest
from PIL import Image

from ddpm_core import recipes
from tests.browser.hands import DRAWN, EXACT, go, open_mode, open_quickly, point, saved, settled, start_tabbing, tab_to


@pytest.fixture
def pad(page, studio, toy_run):
    toy_run(studio.root, "toys")
    open_quickly(page, "pad")
    assert settled(page).startswith("Move over the pad")
    page.wait_for_function(EXACT)
    return page


def test_the_picture_follows_the_pointer_without_waiting_for_the_studio(pad):
    """From the coarse map, which is all here: the studio's answers are held back, and it makes no difference."""
    held = []
    pad.route("**/studio/make/pad-point", lambda route: held.append(route))
    pad.evaluate(
        """() => { window.late = []; document.getElementById("pad_surface").addEventListener("pointermove",
             (event) => window.late.push(performance.now() - event.timeStamp)); }"""
    )
    seen = set()
    for step in range(20):
        point(pad, step % 7 / 6, step // 3 / 6)
        seen.add(pad.evaluate(DRAWN))
        assert not pad.evaluate(EXACT)
    assert len(seen) == 20
    late = pad.evaluate("window.late")
    print(f"\npointer to picture: median {statistics.median(late):.2f} ms of {len(late)}, longest {max(late):.2f} ms")
    assert len(late) >= 20 and max(late) < 2000

    pad.wait_for_timeout(400)  # at rest it asks
    assert held and not pad.evaluate(EXACT)
    coarse = pad.evaluate(DRAWN)
    held[-1].continue_()
    pad.wait_for_function(EXACT)
    assert pad.evaluate(DRAWN) != coarse
    pad.unroute("**/studio/make/pad-point")


def test_of_several_rests_the_newest_wins(pad):
    point(pad, 1, 0)
    pad.wait_for_function(EXACT)
    corner = pad.evaluate(DRAWN)
    held = []
    pad.route("**/studio/make/pad-point", lambda route: held.append(route))
    point(pad, 0.5, 0.5)
    pad.wait_for_timeout(300)
    pad.unroute("**/studio/make/pad-point")
    point(pad, 0, 1)
    point(pad, 1, 0)
    pad.wait_for_function(EXACT)
    pad.wait_for_timeout(300)
    assert pad.evaluate(DRAWN) == corner
    assert pad.locator("#pad_place").inner_text() == "100 % across, 0 % down"
    assert held  # the older question was asked, and nobody waits for it any more


def test_the_edge_is_within_reach(pad):
    pad.locator("#pad_surface").scroll_into_view_if_needed()
    box = pad.locator("#pad_surface").bounding_box()
    pad.mouse.move(box["x"] + 5, box["y"] + box["height"] - 5)  # its corners are round
    assert pad.locator("#pad_place").inner_text() == "0 % across, 100 % down"


def test_locked_corners_keep_their_seed(pad):
    values = "[...document.querySelectorAll('.pad-corner input')].map((input) => input.value)"
    assert pad.evaluate(values) == ["0", "1", "2", "3"]
    locks = pad.get_by_role("button", name="Lock", exact=True)
    assert locks.count() == 4 and locks.first.get_attribute("aria-pressed") == "false"
    locks.nth(1).click()
    before = pad.evaluate(DRAWN)
    go(pad, lambda: pad.locator("#pad_reroll").click())
    after = pad.evaluate(values)
    assert after[1] == "1" and all(a != b for a, b in zip(after[::2], ["0", "2"], strict=True))
    pad.wait_for_function(EXACT)
    assert pad.evaluate(DRAWN) != before
    assert pad.get_by_role("button", name="Reroll the top right").is_disabled()
    go(pad, lambda: pad.get_by_role("button", name="Reroll the top left").click())
    now = pad.evaluate(values)
    assert now[0] != after[0] and now[1:] == after[1:]


def test_a_path_by_mouse_becomes_a_film_to_play_and_to_save(pad, tmp_path):
    pad.locator("#pad_record").click()
    assert pad.locator("#pad_record").get_attribute("aria-pressed") == "true"
    for step in range(9):
        point(pad, step / 8, (step % 3) / 2)
    assert go(pad, lambda: pad.locator("#pad_record").click()).startswith("A film of 48 frames")
    for kind in ("PNG", "GIF", "MP4"):
        path = saved(pad, f"Save {kind}", tmp_path)
        assert path.name == f"toys_pad_0_1_2_3.{kind.lower()}" and path.stat().st_size > 500
    with Image.open(tmp_path / "toys_pad_0_1_2_3.gif") as gif:
        assert gif.n_frames == 94
    assert recipes.read_recipe((tmp_path / "toys_pad_0_1_2_3.png").read_bytes())["what"] == "pad"
    slider = pad.get_by_role("slider", name="Frame of the walk")
    slider.press("End")
    assert slider.get_attribute("aria-valuetext") == "frame 48 of 48"


def test_by_keyboard_alone(pad):
    start_tabbing(pad, "pad")
    tab_to(pad, "pad_seed_tl")
    pad.keyboard.press("ArrowUp")
    go(pad, lambda: pad.keyboard.press("Enter"))
    assert pad.locator("#pad_seed_tl").input_value() == "1"
    tab_to(pad, "pad_surface")
    pad.keyboard.press("ArrowRight")
    pad.keyboard.press("Shift+ArrowDown")
    assert pad.locator("#pad_place").inner_text() == "54 % across, 67 % down"
    pad.wait_for_function(EXACT)
    tab_to(pad, "pad_record")
    pad.keyboard.press("Enter")
    for _ in range(80):
        pad.keyboard.press("Shift+Tab")
        if pad.evaluate("document.activeElement.id") == "pad_surface":
            break
    for _ in range(4):
        pad.keyboard.press("Shift+ArrowLeft")
    tab_to(pad, "pad_record")
    assert go(pad, lambda: pad.keyboard.press("Enter")).startswith("A film of 48 frames")


def test_a_model_without_classes_shows_nothing_of_them(pad):
    assert not any(choice.is_visible() for choice in pad.locator(".pad-corner select").all())
    open_mode(pad, "walk")
    pad.locator("#seed_b").wait_for()
    assert not pad.locator("#which_end").is_visible() and not pad.locator("#class_row").is_visible()


def test_a_seed_that_cannot_work_is_one_line(pad):
    for value, words in (("-1", "The seed is -1"), ("", "The seed is empty"), ("1.5", "The seed is 1.5")):
        pad.locator("#pad_seed_bl").fill(value)
        said = go(pad, lambda: pad.locator("#pad_seed_bl").press("Tab"))
        assert said.startswith(words) and "\n" not in said
    pad.locator("#pad_seed_bl").fill("7")
    assert go(pad, lambda: pad.locator("#pad_seed_bl").press("Tab")).startswith("Move over the pad")
