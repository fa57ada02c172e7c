"""The page in a real browser: strip, tabs, monitor. Runs are written by hand, as a command line writes them."""

from tests.browser.hands import narrow_and_wide

BUTTONS = ("Pause", "Stop", "Sample now")
CARDS = ".strip, .runs, .headline, .film, .chart, .chart-settings, .epochs, .card, .peek"


def open_monitoring(page):
    page.get_by_role("tab", name="Monitoring").click()
    page.locator("#runs .run").first.wait_for()
    page.wait_for_function("document.querySelector('#loss_chart .js-plotly-plot')?.data?.length === 2")
    return page


def test_empty_state(page):
    assert (
        page.locator("#strip")
        .get_by_text("No run yet. Start one: as the form comes, it is a minute to the first picture.")
        .is_visible()
    )
    assert [tab.inner_text() for tab in page.get_by_role("tab").all()] == ["Training", "Monitoring", "Generation"]
    page.get_by_role("tab", name="Monitoring").click()
    page.get_by_text("Every run you start appears here").wait_for()
    assert (
        page.locator("#headline")
        .get_by_text("the first picture comes after 16 steps, mostly within a minute")
        .is_visible()
    )
    for name in BUTTONS:
        button = page.get_by_role("button", name=name)
        assert button.count() == 1 and button.is_disabled()
        assert button.get_attribute("title") == "Nothing is training right now. Start a run on the Training tab."


def test_the_strip_is_on_every_tab(page, make_run):
    with make_run():
        for tab in ("Training", "Monitoring", "Generation"):
            page.get_by_role("tab", name=tab).click()
            page.locator("#strip").get_by_text("by-hand").wait_for()
            page.wait_for_function("document.querySelector('#strip [data-fact=step] dd').textContent.startsWith('3')")
            for name in BUTTONS:
                assert page.get_by_role("button", name=name).count() == 1


def test_a_page_at_rest_animates_nothing(page):
    """A bar that slides unseen is drawn sixty times a second all the same, on the cores that a run trains on."""
    for tab in ("Training", "Monitoring", "Generation"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_function("document.getAnimations().every((each) => each.playState === 'finished')")


def test_a_page_that_nobody_touches_asks_for_no_frames(open_page):
    """A page that is drawn sixty times a second though nothing on it moves takes the cores from a run that trains."""
    page = open_page()
    page.add_init_script(
        """window.frames_asked = 0;
        const request = window.requestAnimationFrame.bind(window);
        window.requestAnimationFrame = (work) => (window.frames_asked++, request(work));"""
    )
    page.reload()
    page.get_by_role("tab", name="Monitoring").wait_for()
    page.wait_for_function("document.querySelector('.strip-name')?.textContent")
    page.evaluate("requestAnimationFrame(() => {})")  # so that the counter is seen to count
    asked = [0]
    for _ in range(10):  # again and again, as a page opens slowly on a busy computer
        page.wait_for_timeout(3000)
        asked.append(page.evaluate("window.frames_asked"))
        if 0 < asked[-1] < asked[-2] + 10:
            return
    raise AssertionError(f"frames that the page asked for, every three seconds: {asked}")


def test_the_bar_of_a_run_is_laid_out_no_oftener_than_it_is_told(page, make_run):
    """Once a second. A bar that glides is laid out for every frame between."""
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable")

    def layouts() -> int:
        told = tools.send("Performance.getMetrics")["metrics"]
        return next(int(each["value"]) for each in told if each["name"] == "LayoutCount")

    with make_run():
        page.wait_for_function("document.querySelector('.strip progress').value > 0")
        page.wait_for_timeout(2000)  # what the page does while it opens
        before, bar = layouts(), page.evaluate("document.querySelector('.strip progress').value")
        page.wait_for_timeout(4000)
        assert page.evaluate("document.querySelector('.strip progress').value") > bar
        assert layouts() - before < 30


def test_a_run_of_a_command_line_is_shown_but_not_steered(page, make_run):
    with make_run():
        page.get_by_text("started outside this studio").wait_for()
        assert page.locator("#strip .state").inner_text() == "training"
        for name in BUTTONS:
            assert page.get_by_role("button", name=name).is_disabled()
            assert "Ctrl-C" in page.get_by_role("button", name=name).get_attribute("title")


def test_a_studio_that_does_not_answer_is_told_and_comes_back(open_page):
    page = open_page(forgive="ERR_FAILED")
    page.route("**/studio/status", lambda route: route.abort())
    page.get_by_role("alert").get_by_text("The studio does not answer").wait_for()
    page.unroute("**/studio/status")
    page.get_by_text("The studio does not answer").wait_for(state="hidden")


def test_charts_come_though_their_script_was_lost_at_first(open_page, make_run):
    make_run()  # nothing new comes that would draw them anyway
    page = open_page(forgive="ERR_FAILED")
    lost = []
    page.route("**/studio/assets/plotly*", lambda route: route.continue_() if lost else lost.append(route.abort()))
    open_monitoring(page)
    assert lost


ZOOM = """() => {
  const plot = document.querySelector('#loss_chart .js-plotly-plot');
  return { range: plot.layout.xaxis.range.map(Number), auto: plot.layout.xaxis.autorange, points: plot.data[1].x.length,
           hidden: plot.data[0].visible ?? true };
}"""


def test_zoom_and_legend_survive_updates(page, make_run):
    with make_run():
        open_monitoring(page)
        before = page.evaluate(ZOOM)
        box = page.locator("#loss_chart .nsewdrag").bounding_box()
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * 0.3, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=8)
        page.mouse.up()
        page.wait_for_function("document.querySelector('#loss_chart .js-plotly-plot').layout.xaxis.autorange === false")
        page.locator("#loss_chart .legendtoggle").first.click()
        page.wait_for_function("document.querySelector('#loss_chart .js-plotly-plot').data[0].visible === 'legendonly'")
        zoomed = page.evaluate(ZOOM)
        width = before["range"][1] - before["range"][0]
        assert 0.1 * width < zoomed["range"][1] - zoomed["range"][0] < 0.5 * width

        # The very element must live on: Gradio's own plot is built anew at each update.
        page.evaluate("document.querySelector('#loss_chart .js-plotly-plot').dataset.mark = 'same'")
        points = zoomed["points"]
        for _ in range(6):
            page.wait_for_function(f"document.querySelector('#loss_chart .js-plotly-plot').data[1].x.length > {points}")
            now = page.evaluate(ZOOM)
            points = now["points"]
            assert (now["range"], now["auto"], now["hidden"]) == (zoomed["range"], False, "legendonly")
        assert page.locator("#loss_chart [data-mark=same]").count() == 1


def test_a_zoom_stays_with_its_run(page, make_run):
    with make_run(), make_run(name="another"):
        open_monitoring(page)
        page.locator("#runs input[value=by-hand]").check(force=True)
        page.wait_for_function("Studio.charts.run === 'by-hand'")
        box = page.locator("#loss_chart .nsewdrag").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7, steps=8)
        page.mouse.up()
        plot = "document.querySelector('#loss_chart .js-plotly-plot').layout"
        page.wait_for_function(f"{plot}.xaxis.autorange === false && {plot}.yaxis.autorange === false")
        page.locator("#runs input[value=another]").check(force=True)
        page.wait_for_function(f"Studio.charts.run === 'another' && {plot}.xaxis.autorange && {plot}.yaxis.autorange")


def test_smoothing_and_log_scale_are_kept_over_a_reload(page, make_run):
    make_run()
    open_monitoring(page)
    axis = "document.querySelector('#loss_chart .js-plotly-plot')?.layout.yaxis.type"
    assert page.evaluate(axis) == "linear"
    page.get_by_label("Log scale").check()
    page.wait_for_function(axis + " === 'log'")
    page.get_by_label("Smoothing").focus()
    page.keyboard.press("Home")  # 0: the points as they are
    page.wait_for_function("document.querySelector('#loss_chart .js-plotly-plot').data.length === 1")
    page.reload()
    page.wait_for_function(axis + " === 'log'")
    assert page.evaluate("document.querySelector('#loss_chart .js-plotly-plot').data.length") == 1
    assert page.get_by_label("Smoothing").input_value() == "0"


def test_film_strip_follows_until_someone_looks_back(page, make_run):
    run = make_run(pictures=5)
    open_monitoring(page)
    label = page.locator("#film .film-label")
    label.get_by_text("step 256").wait_for()
    run.draw(512)
    label.get_by_text("step 512").wait_for()  # followed
    page.locator("#film_slider").focus()
    for step in (256, 128, 64):
        page.keyboard.press("ArrowLeft")
        label.get_by_text(f"step {step} ").wait_for()
        assert f"quick_step_{step}.png" in page.locator(".film-picture").get_attribute("src")
    run.draw(1024)
    page.locator("#film").get_by_text("3 of 7").wait_for()  # a new one came; we stay where we look
    assert label.get_by_text("step 64 ").is_visible()
    page.keyboard.press("End")
    label.get_by_text("step 1,024").wait_for()
    page.keyboard.press("Home")
    label.get_by_text("step 16 ").wait_for()
    page.get_by_role("button", name="newest").click()
    label.get_by_text("step 1,024").wait_for()
    page.wait_for_function("document.querySelector('.film-picture').naturalWidth === 48")
    assert page.locator(".film-picture").evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"


def test_a_reload_shows_the_same_tab_and_run(page, make_run):
    make_run(name="first").tell()
    make_run(name="second").tell()
    open_monitoring(page)
    assert page.locator("#headline h2").inner_text() == "second"  # the newest by itself
    page.locator("#runs").get_by_text("first").click()
    page.locator("#headline h2").get_by_text("first").wait_for()
    page.keyboard.press("ArrowUp")  # native radio buttons
    page.locator("#headline h2").get_by_text("second").wait_for()
    page.keyboard.press("ArrowDown")
    page.locator("#headline h2").get_by_text("first").wait_for()
    page.reload()
    page.locator("#headline h2").get_by_text("first").wait_for()
    assert page.get_by_role("tab", name="Monitoring").get_attribute("aria-selected") == "true"


def test_text_from_a_run_is_never_html(page, make_run):
    run = make_run()
    run.state = "failed"
    attack = "<img src=x onerror='window.hacked = 1'>"
    run.tell(attack)
    page.locator("#strip").get_by_text(attack).wait_for()
    open_monitoring(page)
    page.locator("#headline").get_by_text(attack).wait_for()
    assert page.evaluate("window.hacked") is None


def test_a_run_that_is_deleted_leaves_the_page_in_order(open_page, make_run, studio):
    make_run()
    page = open_monitoring(open_page(forgive="404"))
    studio.forget_runs()
    page.get_by_text("Every run you start appears here").wait_for()
    page.locator("#strip").get_by_text("No run yet").wait_for()
    page.locator("#headline").get_by_text("Charts and pictures of a run appear here").wait_for()


def test_dark_mode_reaches_page_and_charts(open_page, make_run):
    make_run()
    light, dark = (open_monitoring(open_page(dark=flag)) for flag in (False, True))
    ground = (
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0)"
    )
    assert light.evaluate(ground) > 600 and dark.evaluate(ground) < 150
    ink = "document.querySelector('#loss_chart .js-plotly-plot').layout.font.color"
    assert light.evaluate(ink) == "#171c1e" and dark.evaluate(ink) == "#eef1f1"
    # Switching while the page is open repaints the charts.
    dark.evaluate("document.body.classList.remove('dark')")
    dark.wait_for_function(ink + " === '#171c1e'")


def test_nothing_overlaps_or_scrolls_sideways(open_page, make_run):
    make_run(name="a-run-with-a-very-long-name-that-must-be-cut-somewhere-012345")
    page = open_page()
    for tab in ("Training", "Monitoring", "Generation"):
        page.get_by_role("tab", name=tab).click()
        if tab == "Training":
            page.locator("#peek img").first.wait_for()
        if tab == "Monitoring":
            page.wait_for_function("document.querySelector('#loss_chart .js-plotly-plot')?.data?.length === 2")
        for width in narrow_and_wide(page):
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            boxes = [
                box
                for card in page.locator(CARDS).all()
                if card.is_visible() and (box := card.bounding_box())["height"] > 1
            ]
            assert boxes
            for i, a in enumerate(boxes):
                assert a["x"] >= 0 and a["x"] + a["width"] <= width
                for b in boxes[i + 1 :]:
                    across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
                    down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
                    assert across <= 0.5 or down <= 0.5, (tab, a, b)
            cut = page.evaluate(
                "() => [...document.querySelectorAll('.strip *, .headline *, .film *')]"
                ".filter(e => !e.matches('.unseen') && e.clientWidth && e.scrollWidth > e.clientWidth + 1).map(e => e.className)"
            )
            assert cut == []
