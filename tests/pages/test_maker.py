"""What the Generation tab makes: what its canvas is told, for requests that work and for all others."""

import base64
import io
import itertools
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_core import gallery, pictures, recipes, remake
from ddpm_core.config import preset
from ddpm_core.generator import Generator
from ddpm_core.runs import Run, Status
from ddpm_core.shelf import Shelf
from ddpm_core.trajectory import Trails
from ddpm_core.turns import Turns
from pages import drawing
from pages.maker import Maker

HOW = {"steps": 4.0, "sampler": "dpm++2m"}  # a slider sends whole numbers as floats
LONG = 30


class FakeSession:
    """What the handlers need of a Session: its folder, its turns, and what trains."""

    def __init__(self, root: Path):
        self.root = self.data_dir = root
        self.turns = Turns()
        self.shelf = Shelf(self.turns)
        self.trails = Trails()
        self.waited = 0.0
        self.now = (None, None)

    def current(self):
        return self.now


@pytest.fixture
def maker(tmp_path, toy_run):
    toy_run(tmp_path, "toys")
    return Maker(FakeSession(tmp_path))


def told(answers) -> list[dict]:
    return [answer for answer in answers if "busy" in answer]


def generate(maker, model="toys/ddpm_best.pt", samples=4.0, seed=7.0, page="me", **how):
    return maker.generate(page, model, samples, seed, **{**HOW, **how})


def image(data_uri: str) -> Image.Image:
    head, _, content = data_uri.partition(",")
    assert head.startswith("data:image/") and head.endswith(";base64")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_samples_from_first_word_to_file(maker, tmp_path):
    first, *previews, last = told(generate(maker))
    assert first == {"busy": True, "done": 0, "line": "Getting the model ready …"}
    assert all(answer["busy"] and answer["line"] for answer in previews)
    done = [answer["done"] for answer in previews]
    assert done == sorted(done) and any(answer.get("view") == "grid" for answer in previews)
    assert (last["busy"], last["done"], last["view"]) == (False, 1, "grid")
    assert last["line"].startswith("4 pictures in ") and "seeds 7 to 10" in last["line"]
    assert image(last["grid"]["src"]).size == (2 * 16 + 3, 2 * 16 + 3)
    (file,) = last["files"]
    path = tmp_path / file["name"]
    path.write_bytes(base64.b64decode(file["href"].partition(",")[2]))
    recipe = pictures.read_recipe(path)
    assert (recipe["run"], recipe["seeds"], recipe["steps"]) == ("toys", [7, 8, 9, 10], 4)
    assert recipes.check(recipe)["hash"] == recipes.model_hash(tmp_path / "checkpoints/toys/ddpm_best.pt")
    assert image(file["href"]).width >= 2 * 128  # large enough for viewers that blur


def test_the_grid_lets_the_page_shine_through_between_its_pictures(maker):
    pixels = np.asarray(image(told(generate(maker, samples=2.0))[-1]["grid"]["src"]))
    assert pixels.shape == (16 + 2, 2 * 16 + 3, 4)
    assert (pixels[0, :, 3] == 0).all() and (pixels[1:17, 1:17, 3] == 255).all()


def test_the_same_seed_is_the_same_picture_and_the_newest_model_is_the_default(maker):
    one, again = (told(generate(maker, model))[-1]["grid"]["src"] for model in (None, "toys/ddpm_best.pt"))
    other = told(generate(maker, seed=8.0))[-1]["grid"]["src"]
    assert one == again != other


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seed", None, "the seed is empty"),
        ("seed", "", "the seed is empty"),
        ("seed", math.nan, "the seed is nan"),
        ("seed", "nan", "the seed is 'nan'"),
        ("seed", math.inf, "the seed is inf"),
        ("seed", 1.5, "the seed is 1.5"),
        ("seed", -1, "the seed is -1"),
        ("seed", -1.0, "the seed is -1.0"),
        ("seed", 2**53, "the seed is 9007199254740992"),
        ("seed", 1e300, "the seed is 1"),
        ("seed", True, "the seed is True"),
        ("seed", [1], "the seed is [1]"),
        ("samples", None, "the number of samples is empty"),
        ("samples", 0, "the number of samples is 0"),
        ("samples", 65, "the number of samples is 65"),
        ("samples", 10_000, "the number of samples is 10000"),
        ("samples", math.nan, "the number of samples is nan"),
        ("steps", 0, "the number of steps is 0"),
        ("steps", 1001, "the number of steps is 1001"),
        ("steps", "many", "the number of steps is 'many'"),
        ("sampler", "rk45", "there is no sampler 'rk45'"),
        ("sampler", None, "there is no sampler None"),
        ("sampler", ["ddim"], "there is no sampler ['ddim']"),
        ("model", "../toys/ddpm_best.pt", "not there any more"),
        ("model", "/etc/passwd", "not there any more"),
        ("model", ["toys/ddpm_best.pt"], "not there any more"),
        ("model", {"path": "/etc/passwd"}, "not there any more"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_the_canvas(maker, field, value, words):
    (answer,) = told(generate(maker, **{field: value}))
    assert set(answer) == {"busy", "line"} and answer["busy"] is False
    assert words.lower() in answer["line"].lower() and "\n" not in answer["line"]


def test_no_model_yet_says_what_to_do(tmp_path):
    empty = Maker(FakeSession(tmp_path))
    for answers in (
        generate(empty, None),
        empty.interpolate("me", None, 0, 1, 4, **HOW),
        empty.compare("me", [], 1, 0, **HOW),
    ):
        (answer,) = told(answers)
        assert answer["line"].startswith("There is no model yet. Train one")


def test_a_damaged_model_is_one_line(maker, tmp_path):
    path = tmp_path / "checkpoints/toys/ddpm_best.pt"
    path.write_bytes(path.read_bytes()[:-2000])
    first, *_, last = told(generate(maker))
    assert first["busy"] and set(last) == {"busy", "line"} and not last["busy"]
    assert "incomplete or damaged" in last["line"] and "\n" not in last["line"]


def test_a_model_of_another_program_is_one_line(maker, tmp_path):
    torch.save({"model": {"weight": torch.zeros(3)}}, tmp_path / "checkpoints/toys/ddpm_best.pt")
    *_, last = told(generate(maker))
    assert set(last) == {"busy", "line"} and not last["busy"]
    assert "was made by another program" in last["line"] and "\n" not in last["line"]


def test_a_walk_has_its_frames_and_both_files(maker):
    *_, last = told(maker.interpolate("me", "toys/ddpm_best.pt", 3.0, 4.0, 5.0, **HOW))
    walk = last["walk"]
    assert (last["view"], walk["a"], walk["b"], len(walk["frames"])) == ("walk", 3, 4, 5)
    assert len(set(walk["frames"])) == 5
    assert [file["name"] for file in last["files"]] == ["toys_seed3_to_4.png", "toys_seed3_to_4.gif"]
    assert image(last["files"][1]["href"]).n_frames == 8  # there and back
    alone = told(generate(maker, samples=1, seed=4))[-1]["grid"]["src"]
    end = np.asarray(image(walk["frames"][-1]))
    assert (np.asarray(image(alone))[1:-1, 1:-1, :3] == end).all()  # the walk ends at seed 4's own picture


@pytest.mark.parametrize(("frames", "seed_b"), [(1, 1), (65, 1), (None, 1), (4, None), (4, 0.5)])
def test_a_walk_that_cannot_work(maker, frames, seed_b):
    (answer,) = told(maker.interpolate("me", None, 0, seed_b, frames, **HOW))
    assert not answer["busy"] and "\n" not in answer["line"]


def test_a_comparison_of_two_sizes(maker, tmp_path, toy_run):
    toy_run(tmp_path, "large", size=32, channels=1)
    *previews, last = told(maker.compare("me", ["toys/ddpm_best.pt", "large/ddpm_best.pt"], 4, 0, **HOW))
    small, large = last["models"]
    assert (small["name"], large["name"]) == ("toys", "large")
    assert "16 px" in small["about"] and "32 px" in large["about"] and small["seconds"].endswith(" s")
    sides = [image(model["grid"]["src"]).size for model in (small, large)]
    assert sides[0][0] / sides[0][1] == sides[1][0] / sides[1][1]  # so both stand equally high
    assert sides[1] == (2 * sides[0][0] - 0, 2 * sides[0][1] - 0)
    assert [file["name"] for file in last["files"]] == ["compare_seed0_4.png"]
    assert any("models" in answer for answer in previews)


def test_a_comparison_that_cannot_work(maker):
    for models, words in (
        ([], "No model is chosen"),
        (None, "No model is chosen"),
        (["x/y"], "not there"),
        (["a"] * 5, "too many"),
    ):
        (answer,) = told(maker.compare("me", models, 1, 0, **HOW))
        assert words in answer["line"] and not answer["busy"]
    assert len(told(maker.compare("me", ["toys/ddpm_best.pt"] * 2, 1, 0, **HOW))[-1]["models"]) == 1


class TestCancel:
    def test_while_it_waits_for_its_turn(self, maker):
        with maker.session.turns():  # a training step that takes its time
            answers = generate(maker)
            assert next(answers)["busy"]
            maker.relay.cancel("me")
            (last,) = told(answers)
            job_ended_by_itself = maker.relay.desk.current("me")
        assert last == {"busy": False, "line": "Cancelled before the first step."}
        assert job_ended_by_itself is None

    def test_in_the_middle_the_pictures_stay(self, maker):
        answers = generate(maker, steps=200)
        seen = list(itertools.islice((a for a in answers if a.get("view")), 2))
        assert seen
        maker.relay.cancel("me")
        last = told(answers)[-1]
        assert set(last) == {"busy", "line"} and last["line"].startswith("Cancelled at step")

    def test_closing_the_page_ends_the_work_and_frees_the_device(self, maker):
        answers = generate(maker, steps=1000, samples=64)
        next(a for a in answers if a.get("view"))
        job = maker.relay.desk.current("me")
        answers.close()
        assert job.cancelled and job.join(LONG)
        with maker.session.turns():
            assert maker.relay.desk.current("me") is None

    def test_asking_anew_takes_back_the_one_before(self, maker):
        old = generate(maker, steps=1000, samples=64)
        next(a for a in old if a.get("view"))
        new = generate(maker, samples=1)
        next(new)
        assert told(old) == []  # says nothing more: the canvas belongs to the new one
        assert told(new)[-1]["line"].startswith("One picture")

    def test_a_refusal_that_comes_while_a_preview_is_drawn_has_the_last_word(self, maker, monkeypatch):
        drawn = drawing.grid

        def slowly(*args, **kwargs):
            maker.relay.refuse("me", "no")
            return drawn(*args, **kwargs)

        monkeypatch.setattr(drawing, "grid", slowly)
        begun, *later = generate(maker, steps=1000)
        assert begun["busy"] and not any(answer.get("view") for answer in later if "busy" in answer)

    def test_pictures_that_are_ready_after_a_newer_request_stay_away(self, maker, monkeypatch):
        kept = maker._keep

        def slowly(*args):
            maker.relay.refuse("me", "no")
            return kept(*args)

        monkeypatch.setattr(maker, "_keep", slowly)
        assert [answer for answer in generate(maker) if answer.get("busy") is False] == []

    def test_another_page_is_not_disturbed(self, maker):
        mine = generate(maker, page="me")
        next(mine)
        maker.relay.cancel("you")
        list(generate(maker, page="you", seed=-1))
        assert told(mine)[-1]["line"].startswith("4 pictures")

    def test_nothing_to_cancel(self, maker):
        maker.relay.cancel("me")
        list(generate(maker))
        maker.relay.cancel("me")


def test_two_pages_at_once(maker):
    lines = []
    threads = [
        threading.Thread(target=lambda page=page: lines.append(told(generate(maker, page=page))[-1]["line"]))
        for page in ("me", "you")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert [line.startswith("4 pictures") for line in lines] == [True, True]


class TestKept:
    def test_a_grid_with_its_recipe(self, maker, tmp_path):
        last = told(generate(maker))[-1]
        (entry,) = gallery.history(tmp_path)
        assert last["grid"]["key"] == entry.key and (entry.what, entry.seed, entry.count) == ("sample", 7, 4)
        assert entry.path.read_bytes() == base64.b64decode(last["files"][0]["href"].partition(",")[2])
        assert last["grid"]["seeds"] == [7, 8, 9, 10]

    def test_a_walk_and_a_comparison_too(self, maker, tmp_path, toy_run):
        toy_run(tmp_path, "large", size=32)
        list(maker.interpolate("me", "toys/ddpm_best.pt", 3.0, 4.0, 5.0, **HOW))
        list(maker.compare("me", ["large/ddpm_best.pt", "toys/ddpm_best.pt"], 2, 0, **HOW))
        assert [(entry.what, entry.run) for entry in gallery.history(tmp_path)] == [
            ("compare", "large"), ("interpolate", "toys"),
        ]  # fmt: skip
        walk = gallery.history(tmp_path)[1]
        assert gallery.read_recipe(walk.path.read_bytes())["mix"] == [[0.0], [0.25], [0.5], [0.75], [1.0]]

    def test_a_run_whose_folder_was_renamed_keeps_them_under_its_name_of_today(self, maker, tmp_path):
        for folder in ("checkpoints", "training_progress"):
            (tmp_path / folder / "toys").rename(tmp_path / folder / "renamed")
        list(generate(maker, None))
        (entry,) = gallery.history(tmp_path)
        assert entry.run == "renamed"

    def test_what_cannot_be_kept_is_told_and_shown_all_the_same(self, maker, tmp_path, monkeypatch):
        monkeypatch.setattr(gallery, "MOST_KEPT", 0)
        last = told(generate(maker))[-1]
        assert last["grid"]["src"] and len(last["files"]) == 1 and last["grid"]["key"] is None
        assert "row by row. The history does not have it: the gallery of toys is full" in last["line"]
        assert "\n" not in last["line"] and gallery.history(tmp_path) == []

    def test_a_cancelled_grid_is_not(self, maker, tmp_path):
        answers = generate(maker, steps=200)
        next(answer for answer in answers if answer.get("view"))
        maker.relay.cancel("me")
        list(answers)
        assert gallery.history(tmp_path) == []


def test_the_steps_of_a_grid_can_be_fetched(maker):
    last = told(generate(maker, steps=6))[-1]
    trail = maker.session.trails.get(last["grid"]["trail"])
    assert [frame.step for frame in trail.frames] == [1, 2, 3, 4, 5, 6]
    whole = np.asarray(image(last["grid"]["src"]))
    assert np.array_equal(trail.frames[-1].belief[0], whole[1:17, 1:17, :3])
    cells = {name: last["grid"][name] for name in ("count", "columns", "side", "gap")}
    assert cells == {"count": 4, "columns": 2, "side": 16, "gap": 1}


def test_what_it_costs_a_run_that_trains_beside_is_told(maker, tmp_path):
    run = Run(tmp_path, "busy-run")
    run.create(preset(name="busy-run"))
    maker.session.now = (run, Status(state="running"))
    answers = generate(maker, "toys/ddpm_best.pt", steps=40)
    next(answers)
    maker.session.waited = 3.25
    *_, last = told(answers)
    assert last["line"].endswith("row by row. Meanwhile busy-run waited 3.2 s for its turns.")
    assert "waited" not in told(generate(maker, "toys/ddpm_best.pt"))[-1]["line"]  # this one cost nothing


def test_a_training_run_beside_is_named(maker, tmp_path):
    run = Run(tmp_path, "busy-run")
    run.create(preset(name="busy-run"))
    maker.session.now = (run, Status(state="running"))
    first, *_ = told(generate(maker))
    assert first["line"].endswith("Taking turns with busy-run, which is training.")
    maker.session.now = (run, Status(state="paused"))
    assert "busy-run" not in told(generate(maker))[0]["line"]


def test_a_large_preview_is_thinned_out_and_the_end_is_not(maker, monkeypatch):
    monkeypatch.setattr(drawing, "PREVIEW_PIXELS", 4 * 8 * 8)
    *previews, last = told(generate(maker, steps=50))
    shown = [image(answer["grid"]["src"]).width for answer in previews if answer.get("view")]
    assert shown[0] == 2 * 8 + 3
    assert image(last["grid"]["src"]).width == 2 * 16 + 3


def recipe_of(answer) -> dict:
    return recipes.read_recipe(base64.b64decode(answer["files"][0]["href"].partition(",")[2]))


def walk(maker, model="animals/ddpm_best.pt", **how):
    asked = {"seed_a": 3, "seed_b": 4, "frames": 3, "steps": 2, "sampler": "ddim"}
    return told(maker.interpolate("me", model, **{**asked, **how}))[-1]


def test_a_walk_goes_from_one_class_to_another(maker, tmp_path, toy_run):
    generator = Generator.load(toy_run(tmp_path, "animals", classes=4), "cpu")
    how = {"frames": 3, "steps": 2, "sampler": "ddim"}
    for asked, ends, guidance in (
        ({"which": "1", "which_end": "3", "guidance": 2}, (1, 3), 2.0),
        ({"which": "any", "which_end": "3"}, (-1, 3), 1.0),
        ({"which": "3", "which_end": "any", "guidance": 2.0}, (3, -1), 2.0),
        ({"which": "2", "which_end": "same"}, (2, 2), 1.0),
        ({"which": "2"}, (2, 2), 1.0),
        ({"which": "any", "which_end": "any", "guidance": 2.0}, None, 1.0),
    ):
        last = walk(maker, **asked)
        expected = list(generator.interpolate(3, 4, classes=ends, guidance=guidance, **how))[-1].pictures
        assert [np.asarray(image(frame)).tolist() for frame in last["walk"]["frames"]] == expected.tolist()
        assert recipe_of(last).get("classes") == (ends and [None if which < 0 else which for which in ends])


def test_autoguidance_goes_away_from_the_young_model(maker, tmp_path, toy_snapshots):
    plain = told(generate(maker, autoguidance=2))[-1]  # nothing was kept of it: the form does not show the slider
    assert "autoguidance" not in recipe_of(plain)
    toy_snapshots(tmp_path, "toys", (256, 512))
    recipe = recipe_of(clearer := told(generate(maker, autoguidance=2))[-1])
    assert (recipe["autoguidance"], recipe["young"]) == (2, 256) and clearer["grid"]["src"] != plain["grid"]["src"]
    generator = Generator.load(tmp_path / "checkpoints/toys/ddpm_best.pt", "cpu")
    again = list(remake.walk(recipe)(generator))[-1].pictures
    assert np.array_equal(np.asarray(image(clearer["grid"]["src"])), np.asarray(drawing.grid(again)))
    assert recipe_of(walk(maker, model="toys/ddpm_best.pt", autoguidance=1.5))["autoguidance"] == 1.5
    for wrong in (21, -1, "2", None, True, float("nan")):
        assert told(generate(maker, autoguidance=wrong))[-1]["line"].startswith("The autoguidance is ")


def test_a_walk_to_a_class_that_is_none_is_one_line(maker, tmp_path, toy_run):
    toy_run(tmp_path, "animals", classes=4)
    for asked, words in (
        ({"which": "1", "which_end": "cat"}, "There is no class 'cat'"),
        ({"which": "1", "which_end": "4"}, "Class 4 is not one of this model's"),
        ({"which": "any", "which_end": "1", "model": "toys/ddpm_best.pt"}, "This model knows no classes"),
    ):
        line = walk(maker, **asked)["line"]
        assert line.startswith(words) and "\n" not in line


def test_a_class_of_a_model_that_knows_none_is_one_line(maker):
    (*_, last) = told(maker.generate("me", "toys/ddpm_best.pt", 1, 0, 2, "ddim", "3", 1.0))
    assert "knows no classes" in last["line"] and "\n" not in last["line"]
