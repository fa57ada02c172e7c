"""A person's own pictures: how they arrive, what is made of them, and everything that is no picture, mask or number."""

import io
import json
import math
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ddpm_core import gallery, recipes
from ddpm_core.config import preset
from pages.explorer import inbox, own

HOW = {"model": "toys/ddpm_best.pt", "steps": 4, "sampler": "ddim", "seed": 5, "samples": 2}
HALF = "".join("1" if i % 16 < 8 else "0" for i in range(16 * 16))


@pytest.fixture(autouse=True)
def quick_and_forgetful(monkeypatch):
    monkeypatch.setattr(own, "WALK_STEPS", 6)
    yield
    inbox._files.clear()


@pytest.fixture
def client():
    return TestClient(Starlette(routes=inbox.routes()))


@pytest.fixture
def bring(client):
    """bring(image) -> its key, after it was sent as a file."""

    def send(image, kind="PNG"):
        answer = client.post("/studio/own", content=file_of(image, kind))
        assert answer.status_code == 200, answer.text
        return answer.json()["key"]

    return send


def file_of(image, kind="PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def coloured(seed=0, size=(40, 30)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


class TestArriving:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
    def test_a_picture_is_shown_and_named_by_its_content(self, client, listen, kind):
        content = file_of(coloured(), kind)
        one, again = (client.post("/studio/own", content=content).json() for _ in range(2))
        assert one == again and len(one["key"]) == 32
        assert listen.pixels(one["src"]).shape == (256, 256, 3)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "I", "F"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_every_kind_of_picture_fits_every_model(self, bring, mode, channels):
        image = Image.fromarray(np.full((20, 20), 40000, np.uint16)) if mode == "I;16" else coloured().convert("RGB")
        image = image if mode == "I;16" else (image.convert("L") if mode in "IF" else image).convert(mode)
        key = bring(image, "TIFF" if mode in "IF" else "PNG")
        seen = inbox.picture(key, 16, channels)
        assert seen.shape == (16, 16, channels) and seen.dtype == np.uint8

    @pytest.mark.parametrize(
        "content",
        [b"", b"hello, I am a text file\n", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"<svg/>", b"%PDF-1.7", b"\xff\xd8\xff", b"\0" * 99],
    )  # fmt: skip
    def test_what_is_no_picture_is_one_line(self, client, content):
        answer = client.post("/studio/own", content=content)
        assert answer.status_code == 415 and not inbox._files
        assert answer.json()["error"].startswith("This file is no picture that can be read")

    def test_a_picture_that_is_cut_off_is_one_line(self, client):
        noise = Image.effect_noise((200, 200), 60).convert("RGB")
        for kind in ("PNG", "JPEG", "GIF", "WEBP"):
            content = file_of(noise, kind)
            assert client.post("/studio/own", content=content[: len(content) // 2]).status_code == 415, kind

    def test_a_small_file_with_a_huge_picture_is_refused_before_it_fills_the_memory(self, client):
        rows, columns = 60_000, 60_000

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 1, 0, 0, 0, 0))
        bomb += chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")
        assert client.post("/studio/own", content=bomb).status_code == 415

    def test_a_file_of_31_mb_is_heard_to_its_end_and_refused(self, client):
        content = file_of(coloured())
        answer = client.post("/studio/own", content=content + bytes((31 << 20) - len(content)))
        assert answer.status_code == 413 and not inbox._files
        assert answer.json()["error"] == "The file is larger than 30 MB: choose a smaller one."
        most = content + bytes(inbox.LARGEST_FILE - len(content))
        assert client.post("/studio/own", content=most).status_code == 200

    def test_the_last_few_are_remembered_and_those_in_use_longest(self, session, bring):
        first = bring(coloured(0))
        for seed in range(1, inbox.MOST_KEPT):
            bring(coloured(seed))
        inbox.picture(first, 16, 3)
        bring(coloured(99))
        assert len(inbox._files) == inbox.MOST_KEPT
        assert inbox.picture(first, 16, 3).shape == (16, 16, 3)


class TestWalk:
    def test_frames_errors_files_and_an_entry_of_the_gallery(self, session, bring, listen):
        av = pytest.importorskip("av")

        a, b = bring(coloured(1)), bring(coloured(2))
        told = listen.last(own.make_walk(session, {**HOW, "a": a, "b": b, "frames": 5}))
        assert told["done"] == 1 and told["line"].startswith("5 frames between your pictures.")
        frames = [listen.pixels(frame) for frame in told["frames"]]
        assert len(frames) == 5 and all(frame.shape == (16, 16, 3) for frame in frames)
        for error, key, frame in zip(told["errors"], (a, b), (frames[0], frames[-1]), strict=True):
            off = np.abs(inbox.picture(key, 16, 3).astype(float) - frame).mean()
            assert error["mean"] == pytest.approx(off, abs=0.01) and 0 < error["psnr"] <= 99
        files = {file["kind"]: listen.content(file["href"]) for file in told["files"]}
        recipe = recipes.read_recipe(files["png"])
        assert (recipe["what"], recipe["sampler"], recipe["steps"]) == ("interpolate", "ddim", own.WALK_STEPS)
        assert recipe["mix"] == [[0.0], [0.25], [0.5], [0.75], [1.0]]
        assert recipe["pictures"] == [recipes.picture_hash(inbox.picture(key, 16, 3)) for key in (a, b)]
        with Image.open(io.BytesIO(files["gif"])) as gif:
            assert gif.n_frames == 8
        with av.open(io.BytesIO(files["mp4"])) as film:
            assert sum(1 for _ in film.decode(video=0)) == 5
        (entry,) = gallery.history(session.root)
        assert (entry.what, entry.seed, entry.count) == ("interpolate", None, 5)
        assert recipes.read_recipe(entry.path.read_bytes()) == recipe

    @pytest.mark.parametrize("channels", [1, 3])
    def test_blank_and_equal_pictures_are_walked_like_others(self, session, toy_run, bring, listen, channels):
        toy_run(session.root, "toys", channels=channels)
        white = bring(Image.new("RGB", (9, 9), "white"))
        for b in (white, bring(Image.new("L", (9, 9), 0))):
            for show in own.make_walk(session, {**HOW, "a": white, "b": b, "frames": 2}):
                told = json.loads(json.dumps(show(), allow_nan=False))
            assert len(told["frames"]) == 2

    def test_half_of_the_way_up_is_half_of_the_bar(self, session, bring):
        key = bring(coloured())
        told = [show() for show in own.make_walk(session, {**HOW, "a": key, "b": key, "frames": 2})]
        done = [each["done"] for each in told]
        assert done == sorted(done) and 0.5 in done and done[-1] == 1
        assert told[0]["line"].startswith("Looking for the noise") and told[-2]["line"].startswith("Drawing the walk")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"a": None}, "Drop in your picture first"),
            ({"b": None}, "Drop in your picture first"),
            ({"b": ""}, "Drop in your picture first"),
            ({"a": "0" * 32}, "has forgotten this picture"),
            ({"a": ["x"]}, "has forgotten this picture"),
            ({"frames": 1}, "number of frames is 1"),
            ({"frames": 49}, "number of frames is 49"),
            ({"frames": "9"}, "number of frames is '9'"),
            ({"frames": None}, "number of frames is empty"),
        ],
    )
    def test_what_cannot_be_walked(self, session, bring, listen, change, words):
        key = bring(coloured())
        assert words in listen.refused(own.make_walk(session, {**HOW, "a": key, "b": key, **change}))


class TestRedraw:
    def test_without_noise_it_is_the_picture_as_the_model_sees_it(self, session, bring, listen):
        key = bring(coloured())
        told = listen.last(own.make_redraw(session, {**HOW, "a": key, "strength": 0}))
        seen = inbox.picture(key, 16, 3)
        assert (listen.pixels(told["original"]) == seen).all()
        assert (listen.tiles(listen.pixels(told["src"]), 16, gap=1) == seen).all()

    @pytest.mark.parametrize("samples", [1, 2, 4, 9])
    def test_under_nothing_but_noise_it_is_the_models_own_picture_bit_for_bit(
        self, session, bring, made, listen, samples
    ):
        told = listen.last(own.make_redraw(session, {**HOW, "a": bring(coloured()), "strength": 1, "samples": samples}))
        drawn = listen.tiles(listen.pixels(told["src"]), 16, gap=1)[:samples]
        says = f"Your picture, drawn {samples} times anew." if samples > 1 else "Your picture, drawn anew."
        assert told["line"] == says
        assert (drawn == made(range(5, 5 + samples))).all()

    def test_a_seed_gives_the_same_picture_alone_and_among_others(self, session, bring, listen):
        asked = {**HOW, "a": bring(coloured()), "strength": 0.5}
        many, one = (
            listen.pixels(listen.last(own.make_redraw(session, {**asked, **change}))["src"])
            for change in ({"seed": 5, "samples": 6}, {"seed": 10, "samples": 1})
        )
        assert (listen.tiles(many, 16, gap=1)[5] == listen.tiles(one, 16, gap=1)[0]).all()

    def test_file_and_gallery_carry_its_recipe(self, session, bring, listen):
        key = bring(coloured())
        told = listen.last(own.make_redraw(session, {**HOW, "a": key, "strength": 0.5}))
        (file,) = told["files"]
        assert file["name"] == "toys_redraw_seed5.png" and told["line"] == "Your picture, drawn 2 times anew."
        recipe = recipes.read_recipe(listen.content(file["href"]))
        assert (recipe["what"], recipe["seeds"]) == ("redraw", [5, 6]) and 0 < recipe["level"] < 100
        (entry,) = gallery.history(session.root)
        assert (entry.what, entry.seed, entry.count) == ("redraw", 5, 2)
        assert recipes.read_recipe(entry.path.read_bytes()) == recipe

    @pytest.mark.parametrize("kind", ["cpu", "standard", "classic"])
    def test_the_noise_level_of_every_preset_fits_into_a_recipe(self, kind):
        from ddpm_core.diffusion import schedule

        config = preset(preset=kind)
        for steps in (1, 20, 1000):
            alpha, sigma = schedule.by_name(config.schedule).levels(steps, config.sigma_max)[0].tolist()
            assert sigma / alpha < 1e6

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"a": None}, "drop in your picture first"),
            ({"a": "0" * 32}, "has forgotten this picture"),
            ({"strength": 2}, "the noise is 2: choose a number from 0 to 1"),
            ({"strength": -0.1}, "the noise is -0.1"),
            ({"strength": math.nan}, "the noise is nan"),
            ({"strength": "0.5"}, "the noise is '0.5'"),
            ({"strength": True}, "the noise is True"),
            ({"strength": None}, "the noise is None"),
            ({"samples": 0}, "number of samples is 0"),
            ({"samples": 10}, "number of samples is 10"),
            ({"samples": [2]}, "number of samples is [2]"),
            ({"seed": -1}, "the seed is -1"),
            ({"seed": "7"}, "the seed is '7'"),
            ({"seed": math.inf}, "the seed is inf"),
            ({"seed": True}, "the seed is True"),
            ({"steps": 0}, "number of steps is 0"),
            ({"sampler": "rk45"}, "no sampler 'rk45'"),
            ({"sampler": {}}, "no sampler {}"),
        ],
    )
    def test_what_cannot_be_redrawn(self, session, bring, listen, change, words):
        line = listen.refused(own.make_redraw(session, {**HOW, "a": bring(coloured()), "strength": 0.5, **change}))
        assert words.lower() in line.lower()


class TestFill:
    @pytest.mark.parametrize("samples", [1, 5])
    def test_outside_the_mask_it_stays_exactly_as_it_was(self, session, bring, listen, samples):
        key = bring(coloured())
        told = listen.last(own.make_fill(session, {**HOW, "a": key, "mask": HALF, "samples": samples}))
        seen = inbox.picture(key, 16, 3)
        for drawn in listen.tiles(listen.pixels(told["src"]), 16, gap=1)[:samples]:
            assert (drawn[:, 8:] == seen[:, 8:]).all()
            assert (drawn[:, :8] != seen[:, :8]).mean() > 0.5

    def test_file_and_gallery_carry_its_recipe(self, session, bring, listen):
        key = bring(coloured())
        told = listen.last(own.make_fill(session, {**HOW, "a": key, "mask": HALF}))
        recipe = recipes.read_recipe(listen.content(told["files"][0]["href"]))
        mask = np.array([int(letter) for letter in HALF], np.uint8).reshape(16, 16, 1)
        assert (recipe["what"], recipe["mask"]) == ("fill", recipes.picture_hash(mask))
        (entry,) = gallery.history(session.root)
        assert (entry.what, entry.count) == ("fill", 2) and told["line"] == "2 ways to fill it in."

    @pytest.mark.parametrize(
        ("mask", "words"),
        [
            (None, "the mask fits no picture"),
            ("", "the mask fits no picture"),
            ([0, 1], "the mask fits no picture"),
            (5, "the mask fits no picture"),
            ("01" * 100, "the mask fits no picture"),  # no square
            ("x" * 256, "the mask fits no picture"),
            ("²" * 256, "the mask fits no picture"),
            ("01" * (32 * 16), "the mask is 32 x 32, but the picture is 16 x 16"),
            ("0" * 256, "the mask is empty"),
            ("1" * 256, "the mask covers the whole picture"),
        ],
    )
    def test_masks_that_are_none(self, session, bring, listen, mask, words):
        assert words in listen.refused(own.make_fill(session, {**HOW, "a": bring(coloured()), "mask": mask})).lower()


def test_large_models_are_asked_for_few_pictures_at_once(session, bring, monkeypatch, listen):
    """A call for nine large pictures would hold the device for seconds: training waits, and Cancel too."""
    from ddpm_core import generator

    monkeypatch.setattr(generator, "_most_at_once", lambda *_: 1)
    asked = {**HOW, "a": bring(coloured()), "strength": 0.7, "samples": 3, "mask": HALF}
    for make in (own.make_redraw, own.make_fill):
        shown = list(make(session, asked))
        calls = len(shown) - 1
        assert calls >= 3 * 3 and calls % 3 == 0
        done = [show()["done"] for show in shown]
        assert done == sorted(done) and "src" not in shown[0]() and "src" in shown[2]()
        assert listen.pixels(shown[-1]()["src"]).shape == (2 * 16 + 3, 2 * 16 + 3, 3)


def test_the_recipe_names_the_model_that_drew_also_if_training_replaced_it_meanwhile(session, toy_run, bring, listen):
    path = session.root / "checkpoints/toys/ddpm_best.pt"
    drew, key = recipes.model_hash(path), bring(coloured())
    asked = {**HOW, "a": key, "b": key, "mask": HALF, "frames": 2}
    for seed, make in enumerate((own.make_walk, own.make_redraw, own.make_fill), start=1):
        shown = make(session, asked)
        next(shown)
        toy_run(session.root, "toys", seed=seed)
        recipe = recipes.read_recipe(listen.content(listen.last(shown)["files"][0]["href"]))
        assert recipe["hash"] == drew
        drew = recipes.model_hash(path)


def test_every_explorer_of_this_room_is_known():
    from pages.explorer import KNOWN

    assert SimpleNamespace(**own.EXPLORERS).__dict__.items() <= KNOWN.items()
