"""A recipe in words and as the settings of the form; what the form cannot hold is one line."""

import numpy as np
import pytest

from ddpm_core import recipes
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator
from pages import recall


@pytest.fixture
def model(tmp_path, toy_run):
    return Generator.load(toy_run(tmp_path, "toys"), "cpu")


def test_a_grid(tmp_path, model):
    told = recall.settings(tmp_path, model.recipe("sample", seeds=[7, 8, 9], steps=30, sampler="ddim"))
    fields = {name: update["value"] for name, update in told["fields"].items()}
    assert told["mode"] == "grid"
    assert fields == {"model": "toys/ddpm_best.pt", "samples": 3, "gen_seed": 7, "steps": 30, "sampler": "ddim"}
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


def test_a_place_on_the_pad_brings_corners_back(tmp_path, model, toy_run):
    how = {"seeds": [3, 1, 4, 15], "steps": 30, "sampler": "ddim"}
    told = recall.settings(tmp_path, model.recipe("pad", **how, mix=[[0.25, 1]]))
    fields = {name: update["value"] for name, update in told["fields"].items()}
    assert told["mode"] == "pad" and fields == {"model": "toys/ddpm_best.pt", "steps": 30, "sampler": "ddim"}
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
        ("redraw", {"seeds": [1], "pictures": ["0" * 16], "level": 1.0}, "cannot be made again"),
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
        "mask": "0" * 16, "level": 1.0,
    }  # fmt: skip
    assert every.keys() == recipes._FIELDS.keys()
    told = dict(recall.words({name: value for name, value in every.items() if name != "models"}))
    assert told["Sampler"] == "DDIM, magic" and told["Classes"] == "3, none" and told["Seeds"] == "1, 5"
    assert all(recall.title({**every, "models": [every], "what": what}) for what in recipes.WHATS)
