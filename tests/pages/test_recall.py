"""A recipe in words and as the settings of the form; what the form cannot hold is one line."""

import numpy as np
import pytest

from ddpm_core import own_pictures, recipes
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator
from pages import recall
from pages.explorer import inbox, own


@pytest.fixture
def model(tmp_path, toy_run):
    return Generator.load(toy_run(tmp_path, "toys"), "cpu")


def test_a_grid(tmp_path, model):
    told = recall.settings(tmp_path, model.recipe("sample", seeds=[7, 8, 9], steps=30, sampler="ddim"))
    fields = {name: update["value"] for name, update in told["fields"].items()}
    assert told["mode"] == "grid"
    chosen = {"model": "toys/ddpm_best.pt", "samples": 3, "gen_seed": 7, "steps": 30, "sampler": "ddim"}
    assert fields == {**chosen, "autoguidance": 1.0}
    assert told["line"] == "The settings of this picture are back (Grid by toys): press Generate."


def test_a_walk(tmp_path, model):
    mix = np.linspace(0, 1, 12)[:, None].tolist()
    told = recall.settings(tmp_path, model.recipe("interpolate", seeds=[3, 1], mix=mix, steps=5, sampler="ddim"))
    fields = {name: update["value"] for name, update in told["fields"].items()}
    assert told["mode"] == "walk"
    assert (fields["seed_a"], fields["seed_b"], fields["frames"]) == (3, 1, 12)


def test_a_walk_between_classes(tmp_path, toy_run):
    animals = Generator.load(toy_run(tmp_path, "animals", classes=4), "cpu")
    how = {"seeds": [3, 1], "mix": [[0], [0.5], [1]], "steps": 5, "sampler": "ddim"}
    for classes, choices in (
        ([1, 2], ["1", "2"]), ([None, 2], ["any", "2"]), ([2, None], ["2", "any"]), ([2, 2], ["2", "same"]),
        ([2, 2, 2], ["2", "same"]),  # as older versions wrote it
    ):  # fmt: skip
        told = recall.settings(tmp_path, animals.recipe("interpolate", **how, classes=classes, guidance=1.5))
        fields = told["fields"]
        assert [fields["which_class"]["value"], fields["which_end"]["value"]] == choices
        assert fields["guidance"]["value"] == 1.5 and "room" not in told
    with pytest.raises(UsageError, match="no place for"):
        recall.settings(tmp_path, animals.recipe("interpolate", **how, classes=[2, 1, 2]))


@pytest.mark.parametrize(("guidance", "least", "most"), [(12.0, 1, 12.0), (0.5, 0.5, 5), (2.0, 1, 5)])
def test_the_slider_reaches_as_far_as_the_command_line_s_guidance(tmp_path, toy_run, guidance, least, most):
    animals = Generator.load(toy_run(tmp_path, "animals", classes=4), "cpu")
    recipe = animals.recipe("sample", seeds=[1], steps=5, sampler="ddim", classes=[2], guidance=guidance)
    told = recall.settings(tmp_path, recipe)["fields"]["guidance"]
    assert told == {"value": guidance, "minimum": least, "maximum": most}


@pytest.mark.parametrize(("strength", "most"), [(1.5, 3), (4.0, 4.0)])
def test_autoguidance_comes_back_while_its_snapshot_is_the_earliest(tmp_path, model, toy_snapshots, strength, most):
    run = toy_snapshots(tmp_path, "toys", (256, 512))
    how = {"seeds": [1], "steps": 5, "sampler": "ddim", "autoguidance": strength, "young": 256}
    told = recall.settings(tmp_path, model.recipe("sample", **how))["fields"]["autoguidance"]
    assert told == {"value": strength, "minimum": 1, "maximum": most}
    run.snapshot_path(256).unlink()
    with pytest.raises(UsageError, match=r"no place for \(Away from the model of step\)"):
        recall.settings(tmp_path, model.recipe("sample", **how))


def test_a_place_on_the_pad_brings_corners_back(tmp_path, model, toy_run):
    how = {"seeds": [3, 1, 4, 15], "steps": 30, "sampler": "ddim"}
    told = recall.settings(tmp_path, model.recipe("pad", **how, mix=[[0.25, 1]]))
    fields = {name: update["value"] for name, update in told["fields"].items()}
    chosen = {"model": "toys/ddpm_best.pt", "steps": 30, "sampler": "ddim", "autoguidance": 1.0}
    assert told["mode"] == "pad" and fields == chosen
    room = {"model": "toys/ddpm_best.pt", "seeds": [3, 1, 4, 15]}
    assert told["room"] == {**room, "classes": ["any"] * 4, "u": 0.25, "v": 1}
    assert told["line"] == "The settings of this picture are back (Pad by toys): move over the pad."
    animals = Generator.load(toy_run(tmp_path, "animals", classes=4), "cpu")
    film = animals.recipe("pad", **how, mix=[[0.5, 0], [1, 1]], classes=[3, None, 0, 0], guidance=2.0)
    told = recall.settings(tmp_path, film)
    room["model"] = "animals/ddpm_best.pt"
    assert told["room"] == {**room, "classes": ["3", "any", "0", "0"], "u": 0.5, "v": 0}
    assert told["fields"]["guidance"]["value"] == 2.0 and "its path is not" in told["line"]


def test_a_comparison(tmp_path, model, toy_run):
    other = Generator.load(toy_run(tmp_path, "other", size=32), "cpu")
    recipe = recipes.compose("compare", models=[other.about, model.about], seeds=[4, 5], steps=5, sampler="ddim")
    told = recall.settings(tmp_path, recipe)
    assert told["mode"] == "models" and "model" not in told["fields"]
    assert told["fields"]["compare_models"]["value"] == ["other/ddpm_best.pt", "toys/ddpm_best.pt"]
    assert (told["fields"]["compare_samples"]["value"], told["fields"]["compare_seed"]["value"]) == (2, 4)
    assert recall.title(recipe) == "Models side by side by other · toys"


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"classes": [1], "guidance": 2.0}, "Classes"), ({"autoguidance": 1.5, "young": 256}, "no place for")],
)
def test_a_comparison_with_what_the_form_has_no_place_for_is_one_line(tmp_path, toy_run, toy_snapshots, asked, words):
    toy_run(tmp_path, "animals", classes=4)
    toy_snapshots(tmp_path, "animals", [256, 512])
    model = Generator.load(tmp_path / "checkpoints/animals/ddpm_best.pt", "cpu")
    asked = {"seeds": [4, 5], "steps": 5, "sampler": "ddim", **asked}
    with pytest.raises(UsageError, match=words):
        recall.settings(tmp_path, recipes.compose("compare", models=[model.about, model.about], **asked))


def test_steps_side_by_side(tmp_path, model):
    told = recall.settings(tmp_path, model.recipe("steps", seeds=[7], steps=[3, 20], sampler=["ddim", "heun"]))
    assert told["mode"] == "steps" and told["fields"] == {"model": {"value": "toys/ddpm_best.pt"}}
    assert told["room"] == {"seed": 7, "counts": [3, 20], "samplers": ["ddim", "heun"]}
    assert told["line"] == "The settings of this picture are back (Steps side by side by toys): press Draw them all."


def test_averages_side_by_side(tmp_path, model):
    recipe = model.recipe("ema", seeds=[7, 8], steps=30, sampler="ddim", ema=[0.1, 0.2], ema_step=256)
    told = recall.settings(tmp_path, recipe)
    assert (told["mode"], told["room"]) == ("averages", {"seed": 7, "samples": 2})
    assert (told["fields"]["steps"]["value"], told["fields"]["sampler"]["value"]) == (30, "ddim")


def test_how_a_picture_came_to_be_is_a_grid_of_one(tmp_path, model):
    recipe = model.recipe("trajectory", seeds=[7], steps=3, sampler="ddim", stops=[1, 2, 3])
    told = recall.settings(tmp_path, recipe)
    fields = {name: update["value"] for name, update in told["fields"].items()}
    assert told["mode"] == "grid" and (fields["samples"], fields["gen_seed"], fields["steps"]) == (1, 7, 3)
    assert "(Trajectory by toys)" in told["line"] and told["line"].endswith("press Generate.")


class TestOwn:
    PICTURE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    MASK = np.arange(256).reshape(16, 16, 1).astype(np.uint8) % 2
    HASH = recipes.picture_hash(PICTURE)
    HOW = {"steps": 30, "sampler": "ddim"}

    @pytest.fixture(autouse=True)
    def forgetful(self):
        yield
        inbox._files.clear()

    def told(self, root, recipe):
        return recall.with_own(root, recipe, recall.settings(root, recipe))

    def redraw(self, model, **fields):
        more = {"seeds": [4, 5], "pictures": [self.HASH], "level": 1.0, "strength": 0.35, **fields}
        return model.recipe("redraw", **self.HOW, **more)

    def test_a_redrawn_one_comes_back_with_its_picture(self, tmp_path, model):
        own_pictures.keep(tmp_path, "toys", [self.PICTURE])
        told = self.told(tmp_path, self.redraw(model))
        room = told["room"]
        assert told["mode"] == "own" and told["line"].endswith("press Redraw.")
        assert (room["task"], room["seed"], room["samples"], room["strength"]) == ("redraw", 4, 2, 35)
        assert room["a"]["src"].startswith("data:image/png") and "b" not in room and "own" not in room
        assert np.array_equal(inbox.picture(room["a"]["key"], 16, 3), self.PICTURE)
        assert (told["fields"]["steps"]["value"], told["fields"]["sampler"]["value"]) == (30, "ddim")

    @pytest.mark.parametrize("strength", [None, 0.123])
    def test_a_noise_that_the_slider_cannot_show_is_told(self, tmp_path, model, strength):
        own_pictures.keep(tmp_path, "toys", [self.PICTURE])
        told = self.told(tmp_path, self.redraw(model, strength=strength))
        assert "strength" not in told["room"]
        assert told["line"].endswith("What could not be set: Noise that was asked for, 0 to 1.")

    def test_a_filled_one_with_its_mask(self, tmp_path, model):
        own_pictures.keep(tmp_path, "toys", [self.PICTURE, self.MASK])
        mask = recipes.picture_hash(self.MASK)
        recipe = model.recipe("fill", **self.HOW, seeds=[4], pictures=[self.HASH], mask=mask)
        room = self.told(tmp_path, recipe)["room"]
        assert (room["task"], room["mask"], room["side"]) == ("fill", "01" * 128, 16)

    def test_a_walk_with_both_ends(self, tmp_path, model):
        own_pictures.keep(tmp_path, "toys", [self.PICTURE, self.PICTURE[::-1]])
        hashes = [self.HASH, recipes.picture_hash(self.PICTURE[::-1])]
        mix = [[i / 4] for i in range(5)]
        recipe = model.recipe("interpolate", steps=own.WALK_STEPS, sampler="ddim", pictures=hashes, mix=mix)
        told = self.told(tmp_path, recipe)
        assert (told["room"]["task"], told["room"]["frames"]) == ("walk", 5)
        assert np.array_equal(inbox.picture(told["room"]["b"]["key"], 16, 3), self.PICTURE[::-1])
        assert told["line"].endswith("press Walk.") and told["fields"].keys() == {"model"}
        other = self.told(tmp_path, {**recipe, "steps": 6})
        assert other["line"].endswith("What could not be set: Steps.")

    def test_where_the_picture_is_gone_the_rest_comes_back_and_the_line_says_so(self, tmp_path, model):
        told = self.told(tmp_path, self.redraw(model))
        assert told["room"]["seed"] == 4 and "a" not in told["room"] and "own" not in told["room"]
        assert told["line"].endswith("The picture it was made from is not kept here: drop it in again.")
        assert "\n" not in told["line"]

    def test_looking_at_a_recipe_fills_no_memory(self, tmp_path, model):
        own_pictures.keep(tmp_path, "toys", [self.PICTURE])
        recall.settings(tmp_path, self.redraw(model))
        assert not inbox._files


def test_the_slider_becomes_long_enough(tmp_path, model):
    for steps, longest in ((20, 200), (1000, 1000)):
        told = recall.settings(tmp_path, model.recipe("sample", seeds=[0], steps=steps, sampler="ddim"))
        assert told["fields"]["steps"] == {"value": steps, "maximum": longest}


@pytest.mark.parametrize(
    ("what", "request_", "words"),
    [
        ("sample", {"seeds": [1, 3]}, "do not count up"),
        ("sample", {"seeds": list(range(65))}, "Samples 65, up to 64"),
        ("sample", {"seeds": [2**53]}, "too large for the form"),
        ("sample", {"seeds": [1], "eta": 1.0}, "no place for"),
        ("interpolate", {"seeds": [1, 2], "mix": np.linspace(0, 1, 100)[:, None].tolist()}, "Frames 100, up to 64"),
        ("interpolate", {"seeds": [1, 2], "mix": [[0], [0.2], [1]]}, "another way"),
        ("ema", {"seeds": list(range(17)), "ema": [0.1]}, "Samples 17, up to 16"),
        ("redraw", {"seeds": list(range(10)), "pictures": ["0" * 16], "level": 1.0}, "Samples 10, up to 9"),
        ("redraw", {"seeds": [1, 3], "pictures": ["0" * 16], "level": 1.0}, "do not count up"),
        ("redraw", {"seeds": [1], "pictures": ["0" * 16], "level": 1.0, "eta": 0.5}, "made with eta"),
        ("fill", {"seeds": [2**53], "pictures": ["0" * 16], "mask": "0" * 16}, "too large for the form"),
        ("interpolate", {"pictures": ["0" * 16] * 2, "mix": [[i / 48] for i in range(49)]}, "Frames 49, up to 48"),
    ],
)
def test_what_the_form_cannot_hold_is_one_line(tmp_path, model, what, request_, words):
    with pytest.raises(UsageError, match=words) as caught:
        recall.settings(tmp_path, model.recipe(what, steps=5, sampler="ddim", **request_))
    assert "\n" not in str(caught.value)


def test_the_fields_are_those_of_the_form(tmp_path, model):
    """By elem_id: a renamed field would silently keep its old value."""
    from ddpm_core.session import Session
    from studio import page

    demo = page(Session(tmp_path, tmp_path))
    ids = {block.elem_id for block in demo.blocks.values()}
    walk = {"seeds": [1, 2], "mix": [[0], [1]]}
    compared = recipes.compose("compare", models=[model.about], seeds=[4], steps=5, sampler="ddim")
    told = [
        recall.settings(tmp_path, recipe)
        for recipe in (
            model.recipe("sample", seeds=[1], steps=5, sampler="ddim"),
            model.recipe("interpolate", steps=5, sampler="ddim", **walk),
            model.recipe("interpolate", steps=5, sampler="ddim", classes=[0, 1], guidance=2.0, **walk),
            model.recipe("pad", steps=5, sampler="ddim", seeds=[1, 2, 3, 4], mix=[[0, 1]]),
            compared,
        )
    ]
    assert {name for part in told for name in part["fields"]} <= ids


def test_in_words(model):
    recipe = model.recipe("sample", seeds=[7, 8, 9], steps=30, sampler="ddim")
    words = dict(recall.words(recipe))
    assert words["Model"] == "toys, ddpm_best.pt, step 1,482, 16 px" and words["Hash of the model"] == recipe["hash"]
    assert (words["Seeds"], words["Steps"], words["Sampler"]) == ("7 to 9", "30", "DDIM")


def test_every_field_of_a_recipe_has_words():
    """Also what only other parts of the studio, or later ones, set."""
    every = {
        "version": 1, "what": "sample", "run": "a", "model": "a.pt", "hash": "0" * 12, "trained_steps": 1, "size": 32,
        "models": [], "sampler": ["ddim", "magic"], "steps": [1, 2], "spacing": "karras", "eta": 0.5, "guidance": 1.5,
        "interval": [0.2, 2], "classes": [3, None], "seeds": [1, 5], "mix": [[0]], "ema": 0.1, "pictures": ["0" * 16],
        "mask": "0" * 16, "level": 1.0, "strength": 0.5, "ema_step": 256, "stops": [1, 2],
        "autoguidance": 1.5, "young": 1280,
    }  # fmt: skip
    assert every.keys() == recipes._FIELDS.keys()
    told = dict(recall.words({**every, "ema_step": 2304} | {"models": [every]}))
    assert told["The averages end at step"] == "2,304"
    told = dict(recall.words({name: value for name, value in every.items() if name != "models"}))
    assert told["Away from the model of step"] == "1,280"
    assert told["Sampler"] == "DDIM, magic" and told["Classes"] == "3, none" and told["Seeds"] == "1, 5"
    assert all(recall.title({**every, "models": [every], "what": what}) for what in recipes.WHATS)
