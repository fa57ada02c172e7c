"""The pad: its corners are the seeds' own pictures, its path is a film, and no question can do harm."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from ddpm_core import gallery, pictures, recipes
from pages.explorer import pad

HOW = {"model": "toys/ddpm_best.pt", "seeds": [3, 1, 4, 15], "steps": 4, "sampler": "ddim"}
CORNERS = [(0, 0), (1, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize("corner", range(4))
def test_at_a_corner_the_point_is_its_seeds_own_picture_bit_for_bit(session, made, listen, corner):
    u, v = CORNERS[corner]
    point = listen.last(pad.make_point(session, {**HOW, "u": u, "v": v}))["point"]
    assert (point["u"], point["v"]) == (u, v)
    assert (listen.pixels(point["src"]) == made([HOW["seeds"][corner]])[0]).all()


def test_a_points_picture_carries_its_recipe(session, listen):
    src = listen.last(pad.make_point(session, {**HOW, "u": 0.25, "v": 1}))["point"]["src"]
    recipe = recipes.read_recipe(listen.content(src))
    assert (recipe["what"], recipe["seeds"], recipe["mix"]) == ("pad", [3, 1, 4, 15], [[0.25, 1.0]])
    assert (recipe["run"], recipe["steps"], recipe["sampler"], recipe["size"]) == ("toys", 4, "ddim", 16)
    assert recipe["hash"] == recipes.model_hash(session.root / "checkpoints/toys/ddpm_best.pt")


@pytest.mark.parametrize(("size", "channels", "side"), [(16, 3, 7), (16, 1, 7), (128, 3, 5)])
def test_the_map_is_a_square_of_small_pictures_with_the_seeds_at_its_corners(
    empty, toy_run, listen, monkeypatch, size, channels, side
):
    monkeypatch.setattr(pad, "MAP_STEPS", 2)
    path = toy_run(empty.root, "toys", size=size, channels=channels)
    told = listen.last(pad.make_map(empty, HOW))
    tile = min(size, pad.TILE)
    image = listen.pixels(told["map"]["src"])
    assert told["map"]["side"] == side and told["done"] == 1
    assert image.shape == (side * tile, side * tile, channels)
    *_, own = empty.shelf.take(path).sample(HOW["seeds"], steps=pad.MAP_STEPS, sampler="ddim")
    for (u, v), picture in zip(CORNERS, own.pictures, strict=True):
        corner = image[v * (side - 1) * tile :, u * (side - 1) * tile :][:tile, :tile]
        if size <= pad.TILE:
            assert (corner == picture).all()
        else:  # two by two pixels in one
            means = picture.reshape(tile, 2, tile, 2, channels).mean((1, 3))
            assert np.abs(corner - means).max() <= 1


def test_the_largest_seed_and_the_same_seed_at_all_corners_are_seeds_like_others(session, made, listen):
    asked = {**HOW, "seeds": [2**53 - 1] * 4}
    assert (
        listen.pixels(listen.last(pad.make_point(session, {**asked, "u": 0, "v": 0}))["point"]["src"])
        == made([2**53 - 1])[0]
    ).all()
    inside = listen.pixels(listen.last(pad.make_point(session, {**asked, "u": 0.3, "v": 0.8}))["point"]["src"])
    assert np.abs(inside.astype(int) - made([2**53 - 1])[0]).max() <= 1  # rounding


def test_every_state_of_the_map_can_be_shown(session, listen):
    shown = list(pad.make_map(session, HOW))
    assert len(shown) >= pad.MAP_STEPS
    done = [show()["done"] for show in (shown[0], shown[len(shown) // 2], shown[-1])]
    assert done == sorted(done) and done[-1] == 1


def test_a_path_becomes_a_film_that_opens_and_an_entry_of_the_gallery(session, made, listen):
    av = pytest.importorskip("av")

    asked = {**HOW, "path": [[0, 0], [1, 0], [1, 1]], "frames": 5}
    told = listen.last(pad.make_film(session, asked))
    assert told["done"] == 1 and "5 frames" in told["line"]
    assert [listen.pixels(frame).shape for frame in told["frames"]] == [(16, 16, 3)] * 5
    files = {file["kind"]: file for file in told["files"]}
    assert {kind: file["name"] for kind, file in files.items()} == {
        kind: f"toys_pad_3_1_4_15.{kind}" for kind in ("png", "gif", "mp4")
    }
    png = listen.content(files["png"]["href"])
    recipe = recipes.read_recipe(png)
    assert recipe["mix"] == [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1]] and recipes.count(recipe) == 5
    frames = listen.tiles(listen.pixels(files["png"]["href"]), 16, gap=2, scale=8)[:5]
    own = made(HOW["seeds"])
    for frame, corner in ((0, 0), (2, 1), (4, 3)):
        assert (frames[frame] == own[corner]).all()
    with Image.open(io.BytesIO(listen.content(files["gif"]["href"]))) as gif:
        assert gif.n_frames == 8 and gif.width == 256  # there and back
    with av.open(io.BytesIO(listen.content(files["mp4"]["href"]))) as film:
        assert sum(1 for _ in film.decode(video=0)) == 5
    (entry,) = gallery.history(session.root)
    assert (entry.run, entry.what, entry.seed, entry.count) == ("toys", "pad", 3, 5)
    kept = entry.path.read_bytes()
    assert recipes.read_recipe(kept) == recipe
    grid = pictures.grid(frames)
    assert (gallery.pixels(kept) == np.asarray(grid)).all()


def test_where_the_gallery_takes_nothing_the_film_is_there_and_the_line_says_so(session, listen):
    (session.root / "samples/toys/made").write_text("a file where the folder should be")
    told = listen.last(pad.make_film(session, {**HOW, "path": [[0, 0], [1, 1]], "frames": 2}))
    assert [file["kind"] for file in told["files"]] == ["png", "gif", "mp4"]
    assert "2 frames" in told["line"] and "Cannot keep the picture" in told["line"]


def test_the_recipe_names_the_model_that_drew_also_if_training_replaced_it_meanwhile(session, toy_run, listen):
    path = session.root / "checkpoints/toys/ddpm_best.pt"
    drew = recipes.model_hash(path)
    shown = pad.make_film(session, {**HOW, "path": [[0, 0], [1, 1]], "frames": 2})
    next(shown)
    toy_run(session.root, "toys", seed=5)
    assert recipes.model_hash(path) != drew
    png = next(file for file in listen.last(shown)["files"] if file["kind"] == "png")
    assert recipes.read_recipe(listen.content(png["href"]))["hash"] == drew


def test_a_point_is_given_up_between_two_of_its_steps(session, listen):
    """The pointer asks ten times a second: what nobody waits for any more must not be drawn to its end."""
    shown = pad.make_point(session, {**HOW, "steps": 1000})
    assert "point" not in next(shown)()
    shown.close()
    assert listen.turn_is_free(session)


class TestAlong:
    def test_both_ends_are_there_and_the_stops_are_equally_far_apart(self):
        stops = pad.along([[0, 0], [0.9, 0], [1, 0], [1, 1]], 9)
        assert stops[0] == [0, 0] and stops[-1] == [1, 1]
        assert np.allclose([math.dist(a, b) for a, b in zip(stops, stops[1:], strict=False)], 0.25)

    def test_a_path_that_does_not_move_stays(self):
        assert pad.along([[0.3, 0.7]], 3) == [[0.3, 0.7]] * 3
        assert pad.along([[0.3, 0.7]] * 5, 2) == [[0.3, 0.7]] * 2


class TestClasses:
    HOW = {**HOW, "model": "animals/ddpm_best.pt", "classes": ["2", "any", "0", "2"]}

    @pytest.fixture
    def animals(self, session, toy_run):
        return session.shelf.take(toy_run(session.root, "animals", classes=3))

    def point(self, session, listen, **asked):
        return listen.last(pad.make_point(session, {**self.HOW, **asked}))["point"]["src"]

    def test_at_a_corner_the_point_is_its_seeds_own_picture_of_its_class(self, session, animals, listen):
        *_, own = animals.sample([3, 1, 4, 15], steps=4, sampler="ddim", classes=[2, -1, 0, 2])
        for (u, v), picture in zip(CORNERS, own.pictures, strict=True):
            assert (listen.pixels(self.point(session, listen, u=u, v=v)) == picture).all()

    def test_between_them_classes_mix_and_the_recipe_knows_the_corners(self, session, animals, listen):
        src = self.point(session, listen, u=0.5, v=0.25, guidance=2)
        recipe = recipes.read_recipe(listen.content(src))
        assert recipe["classes"] == [2, None, 0, 2] and recipe["guidance"] == 2
        *_, made = animals.pad([3, 1, 4, 15], [(0.5, 0.25)], 4, "ddim", classes=(2, -1, 0, 2), guidance=2.0)
        assert (listen.pixels(src) == made.pictures[0]).all()
        for other in ({"classes": ["any"] * 4}, {"classes": ["2"] * 4}, {"guidance": 1}):
            assert (
                listen.pixels(self.point(session, listen, u=0.5, v=0.25, **{"guidance": 2, **other}))
                != made.pictures[0]
            ).any()

    def test_the_map_and_the_film_have_them_too(self, session, animals, listen, monkeypatch):
        monkeypatch.setattr(pad, "MAP_STEPS", 4)
        tiles = listen.tiles(listen.pixels(listen.last(pad.make_map(session, self.HOW))["map"]["src"]), 16)
        told = listen.last(pad.make_film(session, {**self.HOW, "path": [[0, 0], [1, 0.5]], "frames": 3}))
        assert (listen.pixels(told["frames"][0]) == tiles[0]).all()
        centre = listen.pixels(self.point(session, listen, u=0.5, v=0.5))
        assert (tiles[24] == centre).all() and (
            listen.pixels(self.point(session, listen, u=1, v=0.5)) == tiles[27]
        ).all()
        (entry,) = gallery.history(session.root)
        assert recipes.read_recipe(entry.path.read_bytes())["classes"] == [2, None, 0, 2]

    def test_any_at_all_four_corners_is_as_without_classes(self, session, animals, listen):
        asked = {"classes": ["any", None, "", "any"], "guidance": 3, "u": 0.5, "v": 0.25}
        src = self.point(session, listen, **asked)
        recipe = recipes.read_recipe(listen.content(src))
        assert "classes" not in recipe and "guidance" not in recipe
        assert (listen.pixels(src) == listen.pixels(self.point(session, listen, **{**asked, "classes": None}))).all()

    @pytest.mark.parametrize("make", [pad.make_map, pad.make_point, pad.make_film])
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"classes": ["0"] * 3}, "four classes"),
            ({"classes": "0012"}, "four classes"),
            ({"classes": {"0": "0"}}, "four classes"),
            ({"classes": ["0", "1", "2", "3"]}, "class 3 is not one of this model's: choose 0 to 2"),
            ({"classes": ["0", "1", "2", "cat"]}, "no class 'cat'"),
            ({"classes": ["0", "1", "2", "-1"]}, "no class '-1'"),
            ({"classes": ["0", "1", "2", ["0"]]}, "no class ['0']"),
            ({"guidance": 21}, "the guidance is 21"),
            ({"guidance": "2"}, "the guidance is '2'"),
            ({"model": "toys/ddpm_best.pt"}, "this model knows no classes"),
        ],
    )
    def test_classes_that_cannot_be_are_one_line(self, session, animals, listen, make, change, words):
        asked = {**self.HOW, "path": [[0, 0], [1, 1]], "frames": 2, **change}
        assert words.lower() in listen.refused(make(session, asked)).lower()


@pytest.mark.parametrize("make", [pad.make_map, pad.make_point, pad.make_film])
@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (None, "four seeds"),
        ("1234", "four seeds"),
        ([0, 1, 2], "four seeds"),
        ([0, 1, 2, 3, 4], "four seeds"),
        ({"0": 0}, "four seeds"),
        ([0, 1, 2, "3"], "the seed is '3'"),
        ([0, 1, 2, -1], "the seed is -1"),
        ([0, 1, 2, float("inf")], "the seed is inf"),  # how JSON's 1e400 arrives
        ([0, 1, 2, True], "the seed is True"),
        ([0, 1, 2, 2**53], "the seed is 9007199254740992"),
        ([0, 1, 2, 1.5], "the seed is 1.5"),
        ([0, 1, 2, [3]], "the seed is [3]"),
        ([0, 1, 2, None], "the seed is empty"),
    ],
)
def test_seeds_that_are_none(session, listen, make, seeds, words):
    assert words in listen.refused(make(session, {**HOW, "path": [[0, 0]], "seeds": seeds}))


@pytest.mark.parametrize("name", ["u", "v"])
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, "0.5", True, None, [0.5]])
def test_places_outside_the_pad(session, listen, name, value):
    assert "choose a number from 0 to 1" in listen.refused(pad.make_point(session, {**HOW, name: value}))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (None, "the path is empty"),
        ([], "the path is empty"),
        ("0,0", "the path is empty"),
        ([[0, 0]] * (pad.MOST_POINTS + 1), "too long"),
        ([[0, math.nan]], "the place down is nan"),
        ([[-0.1, 0]], "the place across is -0.1"),
        ([[0]], "none at all"),
        ([[0, 0], 7], "none at all"),
        ([[0, [0]]], "the place down is [0]"),
    ],
)
def test_paths_that_are_none(session, listen, path, words):
    assert words in listen.refused(pad.make_film(session, {**HOW, "path": path})).lower()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 1}, "the number of frames is 1"),
        ({"frames": pad.MOST_FRAMES + 1}, "the number of frames is 97"),
        ({"frames": [8]}, "the number of frames is [8]"),
        ({"steps": 0}, "the number of steps is 0"),
        ({"steps": 1001}, "the number of steps is 1001"),
        ({"steps": [20]}, "the number of steps is [20]"),
        ({"sampler": "rk45"}, "no sampler 'rk45'"),
        ({"sampler": None}, "no sampler none"),
        ({"sampler": ["ddim"]}, "no sampler ['ddim']"),
    ],
)
def test_settings_that_cannot_work(session, listen, change, words):
    line = listen.refused(pad.make_film(session, {**HOW, "path": [[0, 0], [1, 1]], "frames": 2, **change}))
    assert words in line.lower()


def test_what_is_told_is_json(session, listen):
    for make in (pad.make_map, pad.make_point, pad.make_film):
        for show in make(session, {**HOW, "path": [[0, 0], [1, 1]], "frames": 2}):
            json.dumps(show(), allow_nan=False)
