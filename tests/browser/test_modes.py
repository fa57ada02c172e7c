"""What is true of every mode of the Generation tab: it cancels, says what is missing, and comes back after a reload."""

from tests.browser.hands import go, open_mode, settled

MODES = {
    "grid": "Grid", "walk": "Walk", "pad": "Pad", "own": "Your pictures", "steps": "Steps", "models": "Models",
    "averages": "Averages",
}  # fmt: skip


def test_cancel_stops_and_says_so(page, studio, toy_run):
    toy_run(studio.root, "slow", size=64, width=64)
    open_mode(page, "steps")
    page.locator("#steps_100").click()
    cancel, line = page.locator(".bench-cancel"), page.locator(".room .bench .line")
    for by in ("mouse", "keyboard"):
        page.locator("#steps_go").click()
        page.wait_for_function("document.querySelector('.bench .line').textContent.startsWith('Network call')")
        if by == "mouse":
            cancel.click()
        else:
            cancel.focus()
            page.keyboard.press("Enter")
        assert line.inner_text() == "Cancelled."
        assert page.locator(".bench progress").is_hidden() and cancel.is_hidden()
        page.wait_for_timeout(700)
        assert line.inner_text() == "Cancelled."  # and it stays so
    for count in (10, 20, 50, 100):
        page.locator(f"#steps_{count}").click()
    assert go(page, lambda: page.locator("#steps_go").click()).startswith("The picture of seed 0")


def test_before_there_is_a_model_every_mode_says_how_to_get_one_and_works_as_soon_as_there_is(page, studio, toy_run):
    for mode in MODES:
        open_mode(page, mode, models=0)
        place = page.locator("#canvas" if mode in ("grid", "walk", "models") else ".room")
        place.get_by_text("No model yet").wait_for()
        assert page.locator(".room button:visible").count() == 0
    open_mode(page, "pad", models=0)
    toy_run(studio.root, "toys")
    page.locator("#pad_surface").wait_for()
    assert settled(page).startswith("Move over the pad")


def test_a_reload_comes_back_to_the_mode_in_the_address(open_page, studio, toy_run):
    page = open_page()
    toy_run(studio.root, "toys")
    for mode in ("walk", "own", "models"):  # on the canvas, in a room, and without the one model
        name = MODES[mode]
        page.get_by_role("tab", name="Generation").click()
        page.locator("#generation_stage > * .modes").get_by_role("button", name=name, exact=True).click()
        assert f"mode={mode}" in page.url
        # Gradio complains in the console about being reloaded while it still asks for something.
        page.wait_for_function("document.querySelector('#forecast').textContent.includes('steps (')")
        page.wait_for_function("Studio.how.values.model")
        page = open_page(page.url.removeprefix(studio.url))
        page.locator(f'.modes [data-mode="{mode}"][aria-pressed="true"]').wait_for()
        assert page.locator('.modes [data-mode][aria-pressed="true"]').all_inner_texts() == [name]
        assert page.locator("#generation_view").get_attribute("data-mode") == mode
