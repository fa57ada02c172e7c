"""Files to save and entries of the gallery: they open again elsewhere, and say how they were made."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from ddpm_core import gallery, pictures, recipes, shelf
from pages.explorer import files

MODEL = {"run": "toys", "model": "ddpm_best.pt", "hash": "0123456789ab", "trained_steps": 9, "size": 16}


def recipe(count=4):
    return recipes.compose("sample", **MODEL, seeds=list(range(count)), sampler="ddim", steps=5)


def batch(count=4, size=16, channels=3):
    return np.random.default_rng(0).integers(0, 255, (count, size, size, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "scale"), [(16, 8), (32, 4), (100, 1), (256, 1)])
def test_a_png_opens_again_with_its_recipe_and_every_pixel(listen, channels, size, scale):
    made = batch(size=size, channels=channels)
    (file,) = files.saved("name", made, recipe())
    assert (file["name"], file["kind"]) == ("name.png", "png") and file["href"].startswith("data:image/png;base64,")
    assert recipes.read_recipe(listen.content(file["href"])) == recipe()
    assert (listen.tiles(listen.pixels(file["href"]), size, gap=2, scale=scale) == made).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "width"), [(16, 256), (96, 192), (256, 256)])
def test_a_walk_is_also_a_gif_there_and_back_and_an_mp4(listen, channels, size, width):
    av = pytest.importorskip("av")

    made = batch(5, size, channels) // 64  # calm, so that the encoder has little to do
    png, gif, mp4 = files.saved("walk", made, recipe(5), film=True)
    assert [file["name"] for file in (png, gif, mp4)] == ["walk.png", "walk.gif", "walk.mp4"]
    with Image.open(io.BytesIO(listen.content(gif["href"]))) as image:
        assert (image.n_frames, image.width) == (8, width)
        assert json.loads(image.info["comment"])[pictures.RECIPE_KEY] == recipe(5)
    assert mp4["href"].startswith("data:video/mp4;base64,")
    with av.open(io.BytesIO(listen.content(mp4["href"]))) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 5 and frames[0].shape[0] >= 256


def test_without_pyav_the_picture_and_the_gif_are_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert [file["kind"] for file in files.saved("walk", batch(), recipe(), film=True)] == ["png", "gif"]


def test_columns_are_as_many_as_asked_for(listen):
    made = batch(6)
    (file,) = files.saved("name", made, recipe(6), columns=2)
    height, width = listen.pixels(file["href"]).shape[:2]
    assert (height // 8, width // 8) == (3 * 16 + 8, 2 * 16 + 6)


def test_what_is_kept_lies_in_its_runs_gallery_pixel_by_pixel(session):
    made = batch(6)
    assert files.kept(session, made, recipe(6), "Done.", columns=3) == "Done."
    (entry,) = gallery.history(session.root)
    content = entry.path.read_bytes()
    assert (gallery.pixels(content) == np.asarray(pictures.grid(made, 3))).all()
    assert recipes.read_recipe(content) == recipe(6)


def test_a_gallery_that_is_full_says_so_after_what_was_said(session, monkeypatch):
    monkeypatch.setattr(gallery, "MOST_KEPT", 0)
    line = files.kept(session, batch(), recipe(), "Done.")
    assert line.startswith("Done. The gallery of toys is full") and "\n" not in line
    assert gallery.history(session.root) == []


def test_the_model_is_named_as_the_list_names_it(session, toy_run):
    """Also if somebody copied a run's folder: the file inside still has the old name."""
    path = session.root / "checkpoints/toys/ddpm_best.pt"
    other = toy_run(session.root, "copied")
    other.write_bytes(path.read_bytes())
    card = shelf.find(session.root, "copied/ddpm_best.pt")
    told = files.made_by(session.shelf.take(card.path), card)
    assert told == {
        "run": "copied",
        "model": "ddpm_best.pt",
        "hash": recipes.model_hash(path),
        "trained_steps": 1482,
        "size": 16,
    }
