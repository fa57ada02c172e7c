"""A kept picture is made again: the same bits, or what differs."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ddpm_core import gallery, pictures, recipes, sheet
from ddpm_core.errors import UsageError
from pages.explorer import again, pad

HOW = {"steps": 3, "sampler": "ddim"}


def kept(session, recipe, change=None):
    """A picture as the Generation tab keeps it; `change` may spoil its pixels."""
    from ddpm_core import remake

    generators = [session.shelf.take(card.path) for card in remake.models(session.root, recipe)]
    made = [list(remake.walk(recipe)(generator))[-1].pictures.copy() for generator in generators]
    if change:
        change(made)
    return gallery.keep(session.root, pictures.to_png_bytes(sheet.draw(recipe, made), recipe=recipe), recipe)


def last(session, entry):
    return [show() for show in again.make(session, {"key": entry.key})][-1]


def recipe_of(session, what="sample", name="toys", **fields):
    generator = session.shelf.take(session.root / f"checkpoints/{name}/ddpm_best.pt")
    return generator.recipe(what, **HOW, **fields)


def pixels(data_uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_uri.partition(",")[2]))).convert("RGB"))


def test_a_grid_is_the_same_bit_for_bit(exploring):
    entry = kept(exploring, recipe_of(exploring, seeds=[3, 4, 5, 6, 7]))
    told = last(exploring, entry)
    assert told["same"] and told["says"] == "The same picture, bit for bit." and "difference" not in told


def test_while_it_goes_on_there_is_something_to_see(exploring):
    entry = kept(exploring, recipe_of(exploring, seeds=[3, 4]))
    *previews, _ = [show() for show in again.make(exploring, {"key": entry.key})]
    assert [round(told["done"], 3) for told in previews] == [0.333, 0.667, 1.0]
    assert all(told["preview"].startswith("data:image/png") and "step" in told["line"] for told in previews)


def test_a_walk_too(exploring):
    mix = np.linspace(0, 1, 5)[:, None].tolist()
    assert last(exploring, kept(exploring, recipe_of(exploring, "interpolate", seeds=[1, 2], mix=mix)))["same"]


def test_a_walk_from_class_to_class_and_the_film_of_a_pad_too(exploring, toy_run):
    toy_run(exploring.root, "animals", classes=3)
    walk = {"seeds": [1, 2], "mix": [[0], [0.5], [1]], "classes": [0, 2], "guidance": 2.0}
    assert last(exploring, kept(exploring, recipe_of(exploring, "interpolate", "animals", **walk)))["same"]
    asked = {
        "model": "animals/ddpm_best.pt",
        "seeds": [3, 1, 4, 15],
        "classes": ["0", "any", "2", "2"],
        "frames": 5,
        **HOW,
    }
    [*pad.make_film(exploring, {**asked, "path": [[0, 0], [0.3, 1]]})]
    entry = gallery.history(exploring.root)[0]
    assert entry.what == "pad" and last(exploring, entry)["same"]


def test_a_comparison_too_with_a_grey_model(exploring, toy_run):
    toy_run(exploring.root, "grey", size=32, channels=1)
    models = [recipe_of(exploring, name=name, seeds=[1]) for name in ("toys", "grey")]
    about = [{key: model[key] for key in ("run", "model", "hash", "trained_steps", "size")} for model in models]
    recipe = recipes.compose("compare", models=about, seeds=[1, 2], **HOW)
    assert last(exploring, kept(exploring, recipe))["same"]


def test_what_differs_is_counted_and_shown(exploring):
    def change(made):
        made[0][1, 4, 5, 2] ^= 3
        made[0][0, 0, 0, :] ^= 1

    recipe = recipe_of(exploring, seeds=[3, 4])
    told = last(exploring, kept(exploring, recipe, change))
    assert not told["same"]
    assert told["says"].startswith("Not the same picture: 4 of 1,536 values differ, by ")
    (difference,) = sheet.cut(recipe, pixels(told["difference"]))
    assert difference.max() == 255 and np.count_nonzero(difference) == 4 and difference[1, 4, 5, 2] == 255
    (made,) = sheet.cut(recipe, pixels(told["again"]))
    generator = exploring.shelf.take(exploring.root / "checkpoints/toys/ddpm_best.pt")
    assert np.array_equal(made, list(generator.sample([3, 4], **HOW))[-1].pictures)


def test_a_model_that_changed_is_one_line_and_nothing_is_made(exploring, toy_run):
    entry = kept(exploring, recipe_of(exploring, seeds=[3]))
    toy_run(exploring.root, "toys", seed=1)
    with pytest.raises(UsageError, match="has changed since"):
        next(again.make(exploring, {"key": entry.key}))


@pytest.mark.parametrize("key", [None, "", 3, "toys/ddpm_best.pt", ["x"], "../../x"])
def test_a_key_that_is_none_is_one_line(exploring, key):
    with pytest.raises(UsageError):
        next(again.make(exploring, {"key": key}))


def test_a_sheet_of_another_layout_is_one_line(exploring):
    recipe = recipe_of(exploring, seeds=[3])
    entry = gallery.keep(exploring.root, pictures.to_png_bytes(np.zeros((7, 9, 3), np.uint8), recipe=recipe), recipe)
    with pytest.raises(UsageError, match="laid out by another program"):
        next(again.make(exploring, {"key": entry.key}))
