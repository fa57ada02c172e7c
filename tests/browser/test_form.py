"""The Training tab's form in a real browser, up to the moment before a run starts."""

import re


def say(page, text):
    page.locator("#start_message").get_by_text(text).wait_for()


def test_peek_and_forecast_follow_the_form(page):
    page.locator("#peek img").first.wait_for()
    page.locator("#peek").get_by_text("4,495 pictures, each 32 × 32 pixels").wait_for()
    page.locator("#forecast").get_by_text(
        re.compile(r"steps \(\d+ epochs of 4,271 pictures, 224 more held out\)")
    ).wait_for(timeout=60_000)
    page.locator("#size").get_by_label("64").check()
    page.locator("#peek").get_by_text("each 64 × 64 pixels").wait_for()
    assert page.locator("#peek img").first.evaluate("e => e.decode().then(() => e.naturalWidth)") == 64
    assert page.locator("#peek img").first.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"


def test_recipe_follows_size(page):
    page.locator("#size").get_by_label("256").check()
    page.wait_for_function("document.querySelector('#batch_size input').value === '32'")


def test_every_mistake_is_one_line(page, studio):
    before = sorted(studio.root.rglob("*"))
    for field, value, line in (
        ("#epochs", "0", "Epochs is 0: it must be a whole number from 1"),
        ("#epochs", "", "Epochs is empty: type a number"),
        ("#epochs", "1.5", "Epochs is 1.5: it must be a whole number"),
        ("#epochs", "5", None),
        ("#batch_size", "-1", "Batch_size is -1"),
    ):
        page.locator(f"{field} input").fill(value)
        if line:
            page.get_by_role("button", name="Start training").click()
            say(page, line)
    page.locator("#batch_size input").fill("64")
    page.locator("#dataset input").fill("opnmoji")
    page.keyboard.press("Enter")
    page.locator("#peek").get_by_text("did you mean openmoji?").wait_for()
    page.get_by_role("button", name="Start training").click()
    say(page, "did you mean openmoji?")
    assert sorted(studio.root.rglob("*")) == before
    assert page.locator("#strip").get_by_text("No run yet").is_visible()


def test_own_folder(page, tmp_path):
    from PIL import Image

    for i in range(3):
        Image.new("RGB", (60, 40), (80 * i, 120, 160)).save(tmp_path / f"{i}.png")
    page.locator("#dataset input").fill(str(tmp_path))
    page.keyboard.press("Enter")
    page.locator("#peek").get_by_text("3 pictures, each 32 × 32 pixels").wait_for()
