"""The history in a real browser: what was made comes back, its settings too, also from a dropped PNG."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from ddpm_core import gallery, pictures, recipes, sheet
from tests.browser.hands import choose_mode, drop, narrow_and_wide, notice, opened, press, set_number


def value(page, elem_id):
    return page.locator(f"#{elem_id} input").first.input_value()


@pytest.fixture
def tab(page, studio, toy_run):
    toy_run(studio.root, "toys")
    return opened(page)


def test_before_anything_was_made_it_teaches(tab):
    choose_mode(tab, "History")
    tab.get_by_text("Everything you make on this tab is kept here").wait_for()


def test_what_was_made_is_there_newest_first_and_can_be_made_again(tab, studio):
    press(tab, "Generate")
    choose_mode(tab, "Walk")
    set_number(tab, "seed_a", 5)
    press(tab, "Interpolate")
    choose_mode(tab, "History")
    cards = tab.locator(".made-card")
    cards.nth(1).wait_for()
    assert [text.split("\n")[0] for text in cards.all_inner_texts()] == ["Walk", "Grid"]
    assert "seed 5" in cards.first.inner_text() and "toys" in cards.first.inner_text()
    tab.wait_for_function("[...document.querySelectorAll('.made-card img')].every((image) => image.naturalWidth > 0)")

    cards.nth(1).press("Enter")
    tab.get_by_role("heading", name="Grid by toys").wait_for()
    assert "0 to 15" in tab.locator(".made-facts").inner_text()
    tab.get_by_role("button", name="Make it again").click()
    tab.get_by_text("The same picture, bit for bit.").wait_for()
    tab.reload()  # what is open is in the address
    tab.get_by_role("heading", name="Grid by toys").wait_for()
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Save PNG").click()
    saved = download.value.path().read_bytes()
    assert saved == gallery.history(studio.root)[1].path.read_bytes()
    tab.get_by_role("button", name="Close").press("Escape")
    tab.wait_for_function("document.activeElement.classList.contains('made-card')")
    assert not tab.locator(".made-open").is_visible()


def test_closing_gives_the_focus_to_the_card_also_when_the_list_is_slow(tab):
    press(tab, "Generate")
    choose_mode(tab, "History")
    tab.locator(".made-card").click()
    tab.get_by_role("heading", name="Grid by toys").wait_for()
    held = []
    tab.route("**/studio/history", lambda route: held.append(route))
    tab.reload()
    tab.get_by_role("heading", name="Grid by toys").wait_for()
    assert tab.locator(".made-card").count() == 0  # the list is still on its way
    tab.get_by_role("button", name="Close").press("Escape")
    while held:
        held.pop().continue_()
    focused = "document.activeElement.classList.contains('made-card')"
    tab.wait_for_function(focused)

    # A list that comes anew leaves the focus where it is.
    with tab.expect_request("**/studio/history"):
        tab.evaluate("Studio.place.set('mode', 'grid'); Studio.place.set('mode', 'history')")
    tab.locator(".made-card").focus()
    with tab.expect_response("**/studio/history"):
        while held:
            held.pop().continue_()
    tab.wait_for_timeout(200)
    assert tab.evaluate(focused)


def value_of_sampler(tab):
    return tab.locator("#sampler input").input_value()


def test_use_these_settings(tab):
    set_number(tab, "samples", 3)
    set_number(tab, "gen_seed", 21)
    set_number(tab, "steps", 7)
    tab.locator("#sampler input").click()
    tab.get_by_role("option", name="DDIM").click()
    press(tab, "Generate")
    set_number(tab, "samples", 9)
    set_number(tab, "gen_seed", 0)
    set_number(tab, "steps", 2)
    tab.locator("#sampler input").click()
    tab.get_by_role("option", name="DPM-Solver++ (2M)", exact=True).click()
    choose_mode(tab, "History")
    tab.locator(".made-card").first.click()
    tab.get_by_role("button", name="Use these settings").click()
    notice(tab).get_by_text("The settings of this picture are back (Grid by toys): press Generate.").wait_for()
    assert tab.get_by_role("button", name="Generate", exact=True).is_visible()
    tab.wait_for_function("document.querySelector('#gen_seed input').value === '21'")
    assert (value(tab, "samples"), value(tab, "steps")) == ("3", "7") and value_of_sampler(tab) == "DDIM"
    # The explorers hear of it, too.
    tab.wait_for_function("Studio.how.values.steps === 7 && Studio.how.values.sampler === 'ddim'")
    press(tab, "Generate")
    assert tab.locator("#generation_status").inner_text().startswith("3 pictures in")
    choose_mode(tab, "Walk")
    assert notice(tab).inner_text() == ""


def test_a_dropped_png_brings_its_settings_back(tab, studio):
    set_number(tab, "steps", 4)
    choose_mode(tab, "Walk")
    set_number(tab, "seed_a", 8)
    set_number(tab, "frames", 5)
    press(tab, "Interpolate")
    png = gallery.history(studio.root)[0].path.read_bytes()
    for target in ("#generation_stage", "#generation_form", "#strip"):
        choose_mode(tab, "Grid")
        set_number(tab, "steps", 9)
        drop(tab, png, target)
        notice(tab).get_by_text("press Interpolate").wait_for()
        tab.wait_for_function("document.querySelector('#steps input').value === '4'")
        assert not tab.locator(".drop-hint").is_visible()
        assert (value(tab, "seed_a"), value(tab, "seed_b"), value(tab, "frames")) == ("8", "1", "5")
    notice(tab).get_by_role("button", name="Open it in the history").click()
    tab.get_by_role("heading", name="Walk by toys").wait_for()


def test_of_two_dropped_pngs_the_newer_one_s_settings_stay(tab, studio):
    for seed in (31, 32):
        set_number(tab, "gen_seed", seed)
        press(tab, "Generate")
    second, first = (entry.path.read_bytes() for entry in gallery.history(studio.root)[:2])
    set_number(tab, "gen_seed", 5)
    held = []
    tab.route("**/studio/dropped", lambda route: route.continue_() if held else held.append(route))
    drop(tab, first)
    drop(tab, second)
    tab.wait_for_function("document.querySelector('#gen_seed input').value === '32'")
    with tab.expect_response("**/studio/dropped"):
        held[0].continue_()
    tab.wait_for_timeout(200)
    assert value(tab, "gen_seed") == "32"


def test_a_png_is_chosen_from_the_disk_without_a_mouse(tab, studio, tmp_path):
    choose_mode(tab, "Walk")
    press(tab, "Interpolate")
    choose_mode(tab, "Grid")
    button = tab.get_by_role("button", name="Choose a PNG")
    for _ in range(2):  # the same file twice
        with tab.expect_file_chooser() as chooser:
            button.press("Enter")
        chooser.value.set_files(str(gallery.history(studio.root)[0].path))
        notice(tab).get_by_text("press Interpolate").wait_for()
        choose_mode(tab, "Grid")


def test_what_cannot_come_back_is_one_line_and_changes_nothing(page, open_page, studio, toy_run):
    page = open_page(forgive="409")  # the browser notes each refusal
    toy_run(studio.root, "toys")
    opened(page)
    press(page, "Generate")
    png = gallery.history(studio.root)[0].path.read_bytes()
    set_number(page, "gen_seed", 77)
    toy_run(studio.root, "toys", seed=1)  # it was trained on
    foreign = io.BytesIO()
    Image.new("RGB", (4, 4)).save(foreign, "PNG")
    for content, words in ((foreign.getvalue(), "no recipe inside"), (png[:-9], "damaged"), (png, "has changed since")):
        drop(page, content)
        notice(page).get_by_text(words).wait_for()
        assert "\n" not in notice(page).evaluate("notice => notice.firstChild.textContent")
        assert value(page, "gen_seed") == "77"
    choose_mode(page, "History")
    page.locator(".made-card").first.click()
    page.locator(".made-open").get_by_text("has changed since").wait_for()
    assert page.get_by_role("button", name="Use these settings").is_disabled()
    page.get_by_role("button", name="Make it again").click()
    page.locator(".made-open .line").get_by_text("has changed since").wait_for()


def test_what_the_command_line_wrote_is_taken_into_the_history_and_made_again(tab, studio):
    from ddpm_core.generator import Generator

    generator = Generator.load(studio.root / "checkpoints/toys/ddpm_best.pt", "cpu")
    *_, last = generator.sample([4, 5, 6], 3, "ddim")
    recipe = generator.recipe("sample", run="toys", seeds=[4, 5, 6], steps=3, sampler="ddim")
    drop(tab, pictures.to_png_bytes(pictures.grid(last.pictures, 3), recipe=recipe))  # in one row, as with --grid=3
    notice(tab).get_by_text("press Generate").wait_for()
    notice(tab).get_by_role("button", name="Keep it in the history").click()
    tab.get_by_role("heading", name="Grid by toys").wait_for()
    tab.get_by_role("button", name="Make it again").click()
    tab.get_by_text("The same picture, bit for bit.").wait_for()
    assert len(gallery.history(studio.root)) == 1


def test_on_another_tab_a_file_is_not_taken(tab):
    tab.get_by_role("tab", name="Monitoring").click()
    prevented = tab.evaluate(
        """() => { const transfer = new DataTransfer(); transfer.items.add(new File(['x'], 'x.png'));
             return !document.body.dispatchEvent(new DragEvent('dragover', { dataTransfer: transfer, bubbles: true, cancelable: true })) }"""
    )
    assert not prevented and not tab.locator(".drop-hint").is_visible()


def test_what_differs_is_shown(tab, studio):
    press(tab, "Generate")
    (entry,) = gallery.history(studio.root)
    png = entry.path.read_bytes()
    recipe = recipes.read_recipe(png)
    (made,) = sheet.cut(recipe, gallery.pixels(png))
    made = made.copy()
    made[2, 3, 3] ^= 255
    entry.path.write_bytes(pictures.to_png_bytes(sheet.draw(recipe, [made]), recipe=recipe))
    choose_mode(tab, "History")
    tab.locator(".made-card").first.click()
    tab.get_by_role("button", name="Make it again").click()
    tab.get_by_text(
        re.compile(r"Not the same picture: 3 of 12,288 values differ, by \d+ of 255 levels at most\.")
    ).wait_for()
    shown = tab.locator(".made-figures img")
    assert shown.count() == 3 and all(image.is_visible() for image in shown.all())
    difference = shown.nth(2).get_attribute("src").partition(",")[2]
    array = np.asarray(Image.open(io.BytesIO(base64.b64decode(difference))))
    (back,) = sheet.cut(recipe, array)
    assert np.count_nonzero(back) == 3


def test_cancel_leaves_nothing_half_made(page, studio, toy_run):
    from ddpm_core.generator import Generator

    generator = Generator.load(toy_run(studio.root, "slow", size=64, width=64), "cpu")
    recipe = generator.recipe("sample", seeds=[0, 1, 2, 3], steps=1000, sampler="ddim")
    blank = np.zeros((4, 64, 64, 3), np.uint8)
    gallery.keep(studio.root, pictures.to_png_bytes(sheet.draw(recipe, [blank]), recipe=recipe), recipe)
    opened(page)
    choose_mode(page, "History")
    page.locator(".made-card").click()
    page.get_by_role("button", name="Make it again").click()
    page.locator("#made_again img").wait_for()
    page.locator(".made-open .bench-cancel").click()
    page.locator(".made-open .line").get_by_text("Cancelled.").wait_for()
    assert page.locator(".made-figures figure").count() == 1
    page.wait_for_timeout(300)
    assert page.locator(".made-figures figure").count() == 1  # and it stays so


def made(tab, studio, count):
    """Generates, and waits until there are so many in the history: on a slow machine the line of the one before may come late, and
    asking anew takes back what is still being made."""
    press(tab, "Generate")
    for _ in range(300):
        if len(gallery.history(studio.root)) == count:
            return
        tab.wait_for_timeout(100)
    pytest.fail(f"there are {len(gallery.history(studio.root))} in the history, not {count}")


def test_deleting_asks_first(tab, studio):
    made(tab, studio, 1)
    made(tab, studio, 2)
    choose_mode(tab, "History")
    cards = tab.locator(".made-card")
    cards.nth(1).wait_for()
    cards.first.click()
    tab.get_by_role("button", name="Delete", exact=True).click()
    assert tab.get_by_role("button", name="Keep it").evaluate("e => e === document.activeElement")
    tab.keyboard.press("Enter")
    assert len(gallery.history(studio.root)) == 2
    tab.get_by_role("button", name="Delete", exact=True).click()
    tab.get_by_role("button", name="Yes, delete it").click()
    tab.wait_for_function("document.querySelectorAll('.made-card').length === 1")
    assert len(gallery.history(studio.root)) == 1 and not tab.locator(".made-open").is_visible()


def test_more_than_a_page(tab, studio):
    from ddpm_core.generator import Generator

    generator = Generator.load(studio.root / "checkpoints/toys/ddpm_best.pt", "cpu")
    for seed in range(65):
        recipe = generator.recipe("sample", seeds=[seed], steps=5, sampler="ddim")
        blank = np.full((1, 16, 16, 3), seed, np.uint8)
        gallery.keep(studio.root, pictures.to_png_bytes(sheet.draw(recipe, [blank]), recipe=recipe), recipe)
    choose_mode(tab, "History")
    tab.locator(".made-card").nth(59).wait_for()
    assert tab.locator(".made-card").count() == 60
    tab.get_by_role("button", name="Show older ones").click()
    tab.locator(".made-card").nth(64).wait_for()
    assert not tab.get_by_role("button", name="Show older ones").is_visible()
    seeds = [int(re.search(r"seed (\d+)", text)[1]) for text in tab.locator(".made-card").all_inner_texts()]
    assert seeds == list(range(64, -1, -1))
    tab.locator(".made-card").first.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.locator(".made-card").nth(1).evaluate("e => e === document.activeElement")


def test_everything_stays_inside_the_window(page, studio, toy_run):
    toy_run(studio.root, "toys")
    opened(page)
    press(page, "Generate")
    choose_mode(page, "History")
    page.locator(".made-card").first.click()
    page.locator(".made-open img").first.wait_for()
    for width in narrow_and_wide(page):
        page.wait_for_function("document.querySelector('#made_was img').getBoundingClientRect().width > 150")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        inside = page.evaluate(
            """() => { const stage = document.querySelector('#generation_stage').getBoundingClientRect();
                 return [...document.querySelectorAll('.made img')].every((image) => {
                   const box = image.getBoundingClientRect(); return box.left >= stage.left && box.right <= stage.right }) }"""
        )
        assert inside


def test_nothing_trains_so_there_is_nothing_to_pause(tab):
    switch = tab.get_by_role("switch", name="Pause training while I explore")
    tab.locator(".hold").get_by_text("Nothing is training here right now.").wait_for()
    assert switch.is_disabled()


def test_a_run_of_a_command_line_cannot_be_paused_from_here(page, make_run, toy_run, studio):
    with make_run():
        toy_run(studio.root, "toys")
        opened(page)
        page.locator(".hold").get_by_text("started outside this studio").wait_for()
        assert page.get_by_role("switch", name="Pause training while I explore").is_disabled()
