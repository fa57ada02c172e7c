"""A kept picture is made again: the same bits, or what differs."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ddpm_core import gallery, pictures, recipes, sheet
from ddpm_core.errors import UsageError
from pages import recall
from pages.explorer import KNOWN, again, inbox, own, pad

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


# ---- what the explorers made


WALK = {"frames": 5}
SOME = {"seed": 5, "samples": 3}
MASK = {"mask": "".join("1" if i % 16 < 8 else "0" for i in range(16 * 16))}
MADE = {
    "steps": {"seed": 7, "counts": [2, 3, 5], "samplers": ["ddim", "heun"]},
    "averages": SOME,
    "own-walk": WALK,
    "own-redraw": {**SOME, "strength": 0.6},
    "own-fill": {**SOME, **MASK},
}


@pytest.fixture
def explored(exploring, toy_snapshots, monkeypatch):
    """explored(name) -> the kept picture that this explorer made."""
    monkeypatch.setattr(own, "WALK_STEPS", 4)
    a, b = (inbox.bring(file_of(seed))["key"] for seed in (1, 2))

    def make(name, **change):
        if name == "averages":
            toy_snapshots(exploring.root, "toys", range(256, 2305, 256))
        asked = {"model": "toys/ddpm_best.pt", **HOW, "a": a, "b": b, **MADE[name], **change}
        for show in KNOWN[name](exploring, asked):
            told = show()
        assert told["done"] == 1
        return gallery.history(exploring.root)[0]

    yield make
    inbox._files.clear()


def file_of(seed):
    noise = np.random.default_rng(seed).integers(0, 255, (20, 30, 3), np.uint8)
    return pictures.to_png_bytes(noise)


@pytest.mark.parametrize("name", MADE)
def test_what_an_explorer_made_is_the_same_bit_for_bit(exploring, explored, name):
    entry = explored(name)
    inbox._files.clear()  # the studio was closed meanwhile
    told = [show() for show in again.make(exploring, {"key": entry.key})]
    assert told[-1]["same"] and told[-1]["says"] == "The same picture, bit for bit."
    done = [each["done"] for each in told]
    assert done == sorted(done) and done[0] > 0 and done[-1] == pytest.approx(1) == done[-2]
    assert any("preview" in each for each in told)


@pytest.mark.parametrize("sampler", ["dpm++2m-sde", "ddpm", "heun"])
@pytest.mark.parametrize("name", ["own-redraw", "own-fill"])
def test_with_samplers_that_add_noise_or_ask_twice_too(exploring, explored, name, sampler):
    assert last(exploring, explored(name, sampler=sampler))["same"]


@pytest.mark.parametrize("name", MADE)
def test_what_differs_from_it_is_shown_in_its_layout(exploring, explored, name):
    entry = explored(name)
    png = entry.path.read_bytes()
    recipe, was = recipes.read_recipe(png), gallery.pixels(png).copy()
    was[5, 5, 1] ^= 255
    entry.path.write_bytes(pictures.to_png_bytes(was, recipe=recipe))
    told = last(exploring, entry)
    assert not told["same"] and told["says"].startswith("Not the same picture: 1 of ")
    shown = pixels(told["difference"])
    assert sheet.layout(recipe, shown)[0] == sheet.layout(recipe, was)[0] == sheet.columns_of(recipe)
    (difference,) = sheet.cut(recipe, shown)
    assert np.count_nonzero(difference) == 1 and difference[0, 3, 3, 1] == 255


@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("own-walk", "pictures", "the first picture that this was made from is not here"),
        ("own-redraw", "pictures", "the picture that this was made from is not here"),
        ("own-fill", "mask", "the mask that this was made from is not here"),
    ],
)
def test_an_own_picture_that_is_gone_is_one_line_that_names_its_file(exploring, explored, name, field, words):
    entry = explored(name)
    digest = recipes.read_recipe(entry.path.read_bytes())[field]
    path = exploring.root / "samples/toys/own" / f"{digest[0] if field == 'pictures' else digest}.png"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(UsageError, match=words) as caught:
        next(again.make(exploring, {"key": entry.key}))
    assert f"put {path} back" in str(caught.value) and "\n" not in str(caught.value)
    path.write_bytes(content)
    assert last(exploring, entry)["same"]


def test_after_a_run_was_renamed_by_hand_its_own_pictures_are_found(exploring, explored):
    entry = explored("own-fill")
    for folder in ("checkpoints", "samples", "training_progress"):
        (exploring.root / folder / "toys").rename(exploring.root / folder / "renamed")
    renamed = gallery.find(exploring.root, f"renamed/{entry.path.name}")
    assert last(exploring, renamed)["same"]
    recipe = gallery.at_home(renamed, recipes.read_recipe(renamed.path.read_bytes()))
    told = recall.with_own(exploring.root, recipe, recall.settings(exploring.root, recipe))
    assert "src" in told["room"]["a"] and "mask" in told["room"]


def test_averages_of_a_run_that_trained_on_are_one_line(exploring, explored, toy_snapshots):
    entry = explored("averages")
    toy_snapshots(exploring.root, "toys", range(256, 2817, 256))
    with pytest.raises(UsageError, match="has trained on since: these averages end at step 2,304.* at step 2,816 now"):
        last(exploring, entry)


def test_given_up_in_the_middle_the_turn_is_free(exploring, explored, listen):
    for name in MADE:
        shown = again.make(exploring, {"key": explored(name).key})
        next(shown), next(shown)
        shown.close()
        assert listen.turn_is_free(exploring)


# ---- what the command line made


@pytest.mark.parametrize(
    "flags",
    [
        ["--samples=6", "--grid=4"],
        ["--samples=6", "--grid=1", "--scale=3"],
        ["--samples=5", "--grid=5", "--sampler=ddim", "--eta=1"],
        ["--interpolate", "--frames=7"],
        ["--interpolate", "--frames=30", "--sampler=dpm++2m-sde"],
        ["--samples=3", "--trajectory"],
        ["--samples=1", "--trajectory", "--steps=20", "--sampler=heun", "--scale=2"],
        ["--compare", "checkpoints/toys/ddpm_best.pt", "checkpoints/toys/ddpm_best.pt", "--samples=2"],
    ],
)
def test_what_the_command_line_wrote_is_the_same_bit_for_bit(exploring, monkeypatch, capsys, flags):
    from inference_high_res import main

    monkeypatch.chdir(exploring.root)
    model = [] if "--compare" in flags else ["--model=checkpoints/toys/ddpm_best.pt"]
    assert main([*model, "--steps=3", *flags, "--device=cpu"]) == 0
    written = sorted((exploring.root / "samples/toy_16x16").glob("*.png")) or sorted(
        (exploring.root / "samples").rglob("*.png")
    )
    assert len(written) == 1 + ("--trajectory" in flags)
    for path in written:
        png = path.read_bytes()
        entry = gallery.keep(exploring.root, png, recipes.read_recipe(png))
        told = last(exploring, entry)
        assert told["same"], told["says"]
