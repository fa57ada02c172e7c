"""The explorers of the Generation tab in a real browser, by mouse and by keyboard, with models that were never trained."""

import io
import json
import re
import statistics

import pytest
from PIL import Image

from ddpm_core import gallery, pictures, recipes
from ddpm_core.generator import Generator

MODES = {
    "grid": "Grid", "walk": "Walk", "pad": "Pad", "own": "Your pictures", "steps": "Steps", "models": "Models",
    "averages": "Averages",
}  # fmt: skip
POLLS = ("/studio/status", "/studio/models")
DRAWN = "document.getElementById('pad_picture').toDataURL()"
EXACT = "document.getElementById('pad_picture').dataset.exact === 'true'"


def open_mode(page, mode, models=1):
    page.evaluate("mode => Studio.place.set('mode', mode)", mode)
    page.get_by_role("tab", name="Generation").click()
    page.locator(f'.modes [data-mode="{mode}"][aria-pressed="true"]').wait_for()
    if models:
        page.wait_for_function("Studio.how.values.model")
    return page


def settled(page):
    """Waits until the open explorer has nothing to do; its line."""
    page.wait_for_function(
        "document.querySelector('.room .bench')?.dataset.busy === 'false' && document.querySelector('.room .bench .line').textContent"
    )
    return page.locator(".room .bench .line").inner_text()


def go(page, act):
    """Acts, and waits for the end of what that began."""
    page.evaluate("document.querySelector('.room .bench .line').textContent = ''")
    act()
    return settled(page)


def tab_to(page, elem_id):
    """By the Tab key alone, as somebody without a mouse gets there."""
    for _ in range(80):
        if page.evaluate("document.activeElement?.id") == elem_id:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{elem_id} cannot be reached with the Tab key")


def start_tabbing(page, mode):
    page.locator(f'.modes [data-mode="{mode}"]').focus()


def saved(page, name, tmp_path):
    with page.expect_download() as download:
        page.locator(".room").get_by_role("link", name=name).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def png(seed=0) -> bytes:
    image = Image.effect_noise((40, 30), 80).convert("RGB")
    image.paste((40 * seed % 256, 120, 200), (5, 5, 25, 20))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


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


def choose(page, slot, content, name="mine.png", kind="image/png"):
    page.locator(f"#own_{slot}").set_input_files({"name": name, "mimeType": kind, "buffer": content})


def has_picture(page, slot):
    page.wait_for_function("slot => document.querySelector(`[data-slot=${slot}] img`).naturalWidth > 0", arg=slot)


class TestPad:
    @pytest.fixture
    def pad(self, page, studio, toy_run):
        toy_run(studio.root, "toys")
        open_mode(page, "pad")
        assert settled(page).startswith("Move over the pad")
        page.wait_for_function(EXACT)
        return page

    def point(self, page, u, v):
        """Moves the pointer to a place of the pad, 0 to 1 each."""
        page.locator("#pad_surface").scroll_into_view_if_needed()
        box = page.locator("#pad_surface").bounding_box()
        rim = 0.5 / 7
        at = [box[key] + box[side] * (rim + share * (1 - 2 * rim)) for key, side, share in (("x", "width", u), ("y", "height", v))]  # fmt: skip
        page.mouse.move(*at)

    def test_the_picture_follows_the_pointer_without_waiting_for_the_studio(self, pad):
        """From the coarse map, which is all here: the studio's answers are held back, and it makes no difference."""
        held = []
        pad.route("**/studio/make/pad-point", lambda route: held.append(route))
        pad.evaluate(
            """() => { window.late = []; document.getElementById("pad_surface").addEventListener("pointermove",
                 (event) => window.late.push(performance.now() - event.timeStamp)); }"""
        )
        seen = set()
        for step in range(20):
            self.point(pad, step % 7 / 6, step // 3 / 6)
            seen.add(pad.evaluate(DRAWN))
            assert not pad.evaluate(EXACT)
        assert len(seen) == 20
        late = pad.evaluate("window.late")
        print(
            f"\npointer to picture: median {statistics.median(late):.2f} ms of {len(late)}, longest {max(late):.2f} ms"
        )
        assert len(late) >= 20 and max(late) < 2000

        pad.wait_for_timeout(400)  # at rest it asks
        assert held and not pad.evaluate(EXACT)
        coarse = pad.evaluate(DRAWN)
        held[-1].continue_()
        pad.wait_for_function(EXACT)
        assert pad.evaluate(DRAWN) != coarse
        pad.unroute("**/studio/make/pad-point")

    def test_of_several_rests_the_newest_wins(self, pad):
        self.point(pad, 1, 0)
        pad.wait_for_function(EXACT)
        corner = pad.evaluate(DRAWN)
        held = []
        pad.route("**/studio/make/pad-point", lambda route: held.append(route))
        self.point(pad, 0.5, 0.5)
        pad.wait_for_timeout(300)
        pad.unroute("**/studio/make/pad-point")
        self.point(pad, 0, 1)
        self.point(pad, 1, 0)
        pad.wait_for_function(EXACT)
        pad.wait_for_timeout(300)
        assert pad.evaluate(DRAWN) == corner
        assert pad.locator("#pad_place").inner_text() == "100 % across, 0 % down"
        assert held  # the older question was asked, and nobody waits for it any more

    def test_the_edge_is_within_reach(self, pad):
        pad.locator("#pad_surface").scroll_into_view_if_needed()
        box = pad.locator("#pad_surface").bounding_box()
        pad.mouse.move(box["x"] + 5, box["y"] + box["height"] - 5)  # its corners are round
        assert pad.locator("#pad_place").inner_text() == "0 % across, 100 % down"

    def test_locked_corners_keep_their_seed(self, pad):
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

    def test_a_path_by_mouse_becomes_a_film_to_play_and_to_save(self, pad, tmp_path):
        pad.locator("#pad_record").click()
        assert pad.locator("#pad_record").get_attribute("aria-pressed") == "true"
        for step in range(9):
            self.point(pad, step / 8, (step % 3) / 2)
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

    def test_by_keyboard_alone(self, pad):
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

    @pytest.fixture
    def animals(self, page, studio, toy_run):
        """A model that knows three classes, and what the pad asks for."""
        toy_run(studio.root, "animals", classes=3)
        asked = []
        page.on("request", lambda request: "/make/pad-" in request.url and asked.append(request.post_data_json))
        open_mode(page, "pad")
        settled(page)
        page.wait_for_function(EXACT)
        page.asked = asked
        return page

    def test_the_corners_have_classes_by_mouse(self, animals):
        choices = animals.locator(".pad-corner select")
        assert choices.count() == 4 and all(choice.is_visible() for choice in choices.all())
        assert choices.first.locator("option").all_inner_texts() == ["any", "0", "1", "2"]
        assert not animals.locator("#which_class").is_visible()  # the form's one class is for other modes
        before = animals.evaluate(DRAWN)
        go(animals, lambda: animals.get_by_role("combobox", name="Class at the bottom right").select_option("2"))
        animals.wait_for_function(EXACT)
        assert animals.evaluate(DRAWN) != before
        assert all(asked["classes"] == ["any", "any", "any", "2"] for asked in animals.asked[-2:])
        animals.get_by_role("button", name="Lock", exact=True).last.click()
        assert choices.last.is_disabled()
        self.point(animals, 0, 0)  # there the first corner is alone, and that is of any class
        animals.wait_for_function(EXACT)
        corner = animals.evaluate(DRAWN)
        go(animals, lambda: choices.nth(1).select_option("0"))
        animals.wait_for_function(EXACT)
        assert animals.evaluate(DRAWN) == corner

    def test_the_corners_have_classes_by_keyboard(self, animals, tmp_path):
        start_tabbing(animals, "pad")
        tab_to(animals, "pad_class_tl")
        go(animals, lambda: animals.keyboard.press("ArrowDown"))
        tab_to(animals, "pad_class_tr")
        go(animals, lambda: animals.keyboard.press("2"))
        assert animals.asked[-1]["classes"] == ["0", "2", "any", "any"]
        tab_to(animals, "pad_record")
        animals.keyboard.press("Enter")
        assert go(animals, lambda: animals.keyboard.press("Enter")).startswith("A film of 48 frames")
        recipe = recipes.read_recipe(saved(animals, "Save PNG", tmp_path).read_bytes())
        assert recipe["classes"] == [0, 2, None, None]

    def test_a_film_of_the_pad_brings_corners_and_classes_back(self, animals, tmp_path):
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

    def test_a_model_without_classes_shows_nothing_of_them(self, pad):
        assert not any(choice.is_visible() for choice in pad.locator(".pad-corner select").all())
        open_mode(pad, "walk")
        pad.locator("#seed_b").wait_for()
        assert not pad.locator("#which_end").is_visible() and not pad.locator("#class_row").is_visible()

    def test_a_walk_has_a_class_at_each_end(self, animals, studio):
        open_mode(animals, "walk")
        animals.locator("#which_end input").click()
        options = animals.locator("#which_end [role=option]")
        assert options.all_inner_texts()[0].strip().endswith("as at the start") and options.count() == 5
        options.last.click()
        animals.get_by_role("button", name="Interpolate").click()
        animals.get_by_text("frames from seed 0 to seed 1").first.wait_for()
        assert recipes.read_recipe(gallery.history(studio.root)[0].path.read_bytes())["classes"] == [None, 2]

    def test_a_walk_between_classes_comes_back_though_another_model_was_chosen(self, page, studio, toy_run):
        animals = Generator.load(toy_run(studio.root, "animals", classes=3), "cpu")
        toy_run(studio.root, "toys")
        open_mode(page, "pad")
        page.wait_for_function("Studio.how.values.model === 'toys/ddpm_best.pt'")
        how = {"seeds": [3, 4], "mix": [[0], [1]], "steps": 4, "sampler": "ddim"}
        values = "['model', 'which_class', 'which_end'].map((name) => document.querySelector(`#${name} input`)?.value)"
        for classes, shown in (([2, 0], ["2", "0"]), (None, ["any", "as at the start"])):
            recipe = animals.recipe("interpolate", **how, classes=classes)
            png = pictures.to_png_bytes(Image.new("L", (8, 8)), recipe=recipe)
            page.locator("#recall_file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png})
            wanted = ["animals · best · step 1,482, 16 px", *shown]
            page.wait_for_function(f"JSON.stringify({values}) === JSON.stringify({json.dumps(wanted)})")
            page.wait_for_timeout(500)
            assert page.evaluate(values) == wanted  # and so it stays

    def test_a_seed_that_cannot_work_is_one_line(self, pad):
        for value, words in (("-1", "The seed is -1"), ("", "The seed is empty"), ("1.5", "The seed is 1.5")):
            pad.locator("#pad_seed_bl").fill(value)
            said = go(pad, lambda: pad.locator("#pad_seed_bl").press("Tab"))
            assert said.startswith(words) and "\n" not in said
        pad.locator("#pad_seed_bl").fill("7")
        assert go(pad, lambda: pad.locator("#pad_seed_bl").press("Tab")).startswith("Move over the pad")


class TestOwn:
    @pytest.fixture
    def own(self, page, studio, toy_run):
        toy_run(studio.root, "toys")
        open_mode(page, "own")
        page.locator("#own_go").wait_for()
        return page

    def test_a_walk_between_two_chosen_files_scrubs_without_asking(self, own):
        assert go(own, lambda: own.locator("#own_go").click()).startswith("Drop in your picture first")
        choose(own, "a", png(1))
        choose(own, "b", png(2), name="a name that is so long that it must be broken somewhere_" + "x" * 90 + ".png")
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

    def test_a_dropped_picture_is_redrawn(self, own, tmp_path):
        drop(own, "a", "dropped.png", "image/png", png(3))
        has_picture(own, "a")
        assert own.locator('[data-slot="a"]').get_by_text("dropped.png").is_visible()
        own.get_by_role("button", name="Redraw", exact=True).first.click()
        own.locator("#own_samples").fill("2")
        assert go(own, lambda: own.locator("#own_go").click()) == "Your picture, drawn 2 times anew."
        own.wait_for_function("document.getElementById('own_made').naturalWidth === 2 * 16 + 3")
        recipe = recipes.read_recipe(saved(own, "Save PNG", tmp_path).read_bytes())
        assert (recipe["what"], recipe["seeds"]) == ("redraw", [0, 1])

    def test_a_part_painted_by_pointer_or_chosen_by_name_is_filled_in(self, own):
        choose(own, "a", png(4))
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

    def test_by_keyboard_alone(self, own):
        choose(own, "a", png(5))  # the system's own window for choosing a file is not the page's
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

    def test_what_is_no_picture_is_one_line(self, open_page, studio, toy_run):
        toy_run(studio.root, "toys")
        page = open_mode(open_page(forgive="Failed to load resource"), "own")
        page.locator("#own_go").wait_for()
        said = go(page, lambda: choose(page, "a", b"dear diary", "diary.txt", "text/plain"))
        assert said.startswith("This file is no picture that can be read")
        said = go(page, lambda: drop(page, "b", "diary.txt", "text/plain", b"dear diary"))
        assert said.startswith("This file is no picture that can be read")
        said = go(page, lambda: drop(page, "a", "large.png", "image/png", png(), zeros=31 << 20))
        assert said == "The file is larger than 30 MB: choose a smaller one."
        assert go(page, lambda: page.locator("#own_go").click()).startswith("Drop in your picture first")


class TestSteps:
    @pytest.fixture
    def steps(self, page, studio, toy_run):
        toy_run(studio.root, "toys")
        open_mode(page, "steps")
        page.locator("#steps_go").wait_for()
        return page

    def seconds(self, page):
        return page.locator(".cells td .hint").all_inner_texts()

    def test_by_mouse(self, steps, tmp_path):
        for count in (20, 50):
            steps.locator(f"#steps_{count}").click()
        steps.locator("#steps_seed").fill("4")
        assert go(steps, lambda: steps.locator("#steps_go").click()) == "The picture of seed 4, again and again."
        told = self.seconds(steps)
        assert len(told) >= 4 and all(re.fullmatch(r"\d+\.\d\d s", text) for text in told)
        sources = [image.get_attribute("src") for image in steps.locator(".cells img").all()]
        assert len(set(sources)) == len(sources) == len(told)
        recipe = recipes.read_recipe(saved(steps, "Save PNG", tmp_path).read_bytes())
        assert (recipe["what"], recipe["steps"], recipe["seeds"]) == ("steps", [5, 10], [4])

    def test_by_keyboard_alone(self, steps):
        start_tabbing(steps, "steps")
        tab_to(steps, "steps_seed")
        steps.keyboard.press("ArrowUp")
        for count in (10, 20, 50):
            tab_to(steps, f"steps_{count}")
            steps.keyboard.press("Space")
        tab_to(steps, "steps_deis")
        steps.keyboard.press("Space")
        tab_to(steps, "steps_go")
        assert go(steps, lambda: steps.keyboard.press("Enter")) == "The picture of seed 1, again and again."
        assert steps.locator(".cells th[scope=col]").all_inner_texts() == ["5 steps"]
        assert "DEIS" not in steps.locator(".cells th[scope=row]").all_inner_texts()

    def test_nothing_chosen_is_one_line(self, steps):
        for count in (5, 10, 20, 50):
            steps.locator(f"#steps_{count}").click()
        assert go(steps, lambda: steps.locator("#steps_go").click()) == "Choose one to 6 numbers of steps."


class TestModels:
    @pytest.fixture
    def models(self, page, studio, toy_run):
        toy_run(studio.root, "small")
        toy_run(studio.root, "large", size=32)
        open_mode(page, "models")
        page.locator("#compare_models .token").nth(1).wait_for()
        page.get_by_role("button", name="Compare").click()
        page.locator("#wipe").wait_for()
        page.locator(".models-chart .js-plotly-plot").wait_for()
        return page

    def at(self, page):
        return page.evaluate("document.querySelector('.wipe-stage').style.getPropertyValue('--at')")

    def test_the_line_between_two_models_moves_by_keys(self, models):
        assert self.at(models) == "50%"
        wipe = models.locator("#wipe")
        wipe.focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
            models.keyboard.press(key)
        assert self.at(models) == "51%" and wipe.get_attribute("aria-valuetext").startswith("51 % of ")
        models.keyboard.press("Home")
        assert self.at(models) == "0%"
        models.keyboard.press("End")
        assert self.at(models) == "100%"

    def test_and_by_pointer(self, models):
        stage = models.locator(".wipe-stage")
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        models.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
        assert abs(float(self.at(models).rstrip("%")) - 25) <= 1
        assert abs(float(models.locator("#wipe").input_value()) - 25) <= 1

    def test_the_sides_can_be_chosen(self, models):
        under = models.locator(".wipe-stage img").first
        before = under.get_attribute("src")
        models.get_by_label("Model on the right").select_option("0")
        assert under.get_attribute("src") != before
        assert under.get_attribute("src") == models.locator(".wipe-over").get_attribute("src")


class TestAverages:
    @pytest.fixture
    def averages(self, page, studio, toy_run, toy_snapshots):
        toy_run(studio.root, "toys")
        toy_snapshots(studio.root, "toys", range(256, 2305, 256))
        open_mode(page, "averages")
        page.locator("#averages_go").wait_for()
        return page

    def scrub(self, page):
        slider, seen = page.locator("#averages_slider"), set()
        slider.focus()
        page.keyboard.press("Home")
        for index, percent in enumerate(("3", "5", "7.5", "10", "15", "20", "25")):
            assert slider.input_value() == str(index)
            assert slider.get_attribute("aria-valuetext") == f"remembers {percent} % of the run"
            seen.add(page.locator(".canvas-one > img:visible").get_attribute("src"))
            page.keyboard.press("ArrowRight")
        assert len(seen) == 7

    def test_by_mouse(self, averages, tmp_path):
        averages.locator("#averages_samples").fill("4")
        assert go(averages, lambda: averages.locator("#averages_go").click()).startswith("Drag the slider")
        self.scrub(averages)
        recipe = recipes.read_recipe(saved(averages, "Save PNG", tmp_path).read_bytes())
        assert (recipe["what"], recipe["seeds"], len(recipe["ema"])) == ("ema", [0, 1, 2, 3], 7)

    def test_by_keyboard_alone(self, averages):
        start_tabbing(averages, "averages")
        tab_to(averages, "averages_go")
        assert go(averages, lambda: averages.keyboard.press("Enter")).startswith("Drag the slider")
        tab_to(averages, "averages_slider")
        self.scrub(averages)

    def test_a_run_without_snapshots_says_why(self, page, studio, toy_run):
        toy_run(studio.root, "toys")
        open_mode(page, "averages")
        said = go(page, lambda: page.locator("#averages_go").click())
        assert said.startswith("The run toys has no snapshots") and page.locator("#averages_slider").is_hidden()


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_cancel_stops_and_says_so(page, studio, toy_run, by):
    toy_run(studio.root, "slow", size=64, width=64)
    open_mode(page, "steps")
    page.locator("#steps_100").click()
    page.locator("#steps_go").click()
    page.wait_for_function("document.querySelector('.bench .line').textContent.startsWith('Network call')")
    cancel = page.locator(".bench-cancel")
    if by == "mouse":
        cancel.click()
    else:
        cancel.focus()
        page.keyboard.press("Enter")
    line = page.locator(".room .bench .line")
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
    for mode, name in MODES.items():
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


# What lies on what, where it should not; a picture may lie under its mask, its other half or its dot.
CROWDED = """() => {
  const seen = [...document.querySelectorAll('#generation_stage :is(button, input, select, label, legend, a, img, canvas, p, h3, th, progress)')]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length && !e.matches('input[type=file], .wipe-over, .mask-stage *, .js-plotly-plot *'));
  const boxes = seen.map((e) => e.getBoundingClientRect());
  const name = (e) => `${e.tagName} ${e.id || e.className} "${e.textContent.slice(0, 20)}"`;
  const stage = document.querySelector('#generation_stage').getBoundingClientRect();
  const wrong = [];
  boxes.forEach((a, i) => {
    if ((a.left < stage.left - 1 || a.right > stage.right + 1) && !seen[i].closest('.cells-scroll')) wrong.push(`${name(seen[i])} leaves the card`);
    for (let j = i + 1; j < boxes.length; j++) {
      const b = boxes[j];
      if (seen[i].contains(seen[j]) || seen[j].contains(seen[i])) continue;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left), down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) wrong.push(`${name(seen[i])} lies on ${name(seen[j])}`);
    }
  });
  return wrong;
}"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [800, 1280])
def test_nothing_overlaps_or_leaves_the_window(open_page, studio, toy_run, toy_snapshots, width, dark):
    name = "a-run-whose-name-is-as-long-as-a-name-of-a-run-may-ever-be-64-it"
    toy_run(studio.root, name)
    toy_snapshots(studio.root, name, range(256, 2305, 256))
    toy_run(studio.root, "grey", size=32, channels=1)
    page = open_page(f"/#tab=generation&model={name}/ddpm_best.pt", width=width, dark=dark)

    def check(what):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, what
        assert page.evaluate(CROWDED) == [], what

    open_mode(page, "pad")
    page.wait_for_function(f"Studio.how.values.model.startsWith({json.dumps(name)})")
    settled(page)
    page.wait_for_function(EXACT)
    check("pad")
    page.locator("#pad_record").click()
    go(page, lambda: page.locator("#pad_record").click())
    check("pad with a film")
    open_mode(page, "own")
    check("own")
    page.locator("#own_frames").fill("4")
    for slot in "ab":
        choose(page, slot, png(), name=name + name + ".png")
        has_picture(page, slot)
    for task in ("walk", "redraw", "fill"):
        page.locator(f'button[data-task="{task}"]').click()
        if task == "fill":
            page.locator("#mask_part").select_option("middle")
        go(page, lambda: page.locator("#own_go").click())
        page.wait_for_timeout(200)
        check("own " + task)
    open_mode(page, "steps")
    for count in (3, 50):
        page.locator(f"#steps_{count}").click()
    go(page, lambda: page.locator("#steps_go").click())
    check("steps")
    open_mode(page, "averages")
    page.locator("#averages_samples").fill("2")
    go(page, lambda: page.locator("#averages_go").click())
    check("averages")
    open_mode(page, "models")
    page.get_by_role("button", name="Compare").click()
    page.locator("#wipe").wait_for()
    page.locator(".models-chart .js-plotly-plot").wait_for()
    check("models")
    page.add_style_tag(content="#wipe_left { margin-right: -100px }")
    assert page.evaluate(CROWDED)  # it does see what is wrong
