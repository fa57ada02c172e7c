"""The history's routes: what was made and nothing else, and a dropped PNG's settings."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ddpm_core import gallery, pictures, recipes, sheet
from ddpm_core.generator import Generator
from ddpm_core.trajectory import Frame, Trails, Trajectory
from pages import drawing, made
from pages.made import Made


class FakeSession:
    def __init__(self, root: Path):
        self.root = root
        self.trails = Trails()


@pytest.fixture
def session(tmp_path, toy_run):
    toy_run(tmp_path, "toys")
    return FakeSession(tmp_path)


@pytest.fixture
def model(session):
    return Generator.load(session.root / "checkpoints/toys/ddpm_best.pt", "cpu")


@pytest.fixture
def client(session):
    return TestClient(Starlette(routes=Made(session).routes()))


def kept(session, model, seed=0, count=4, **fields):
    recipe = model.recipe("sample", seeds=list(range(seed, seed + count)), **{"steps": 5, "sampler": "ddim", **fields})
    drawn = np.random.default_rng(seed).integers(0, 256, (count, model.size, model.size, 3), dtype=np.uint8)
    return gallery.keep(session.root, pictures.to_png_bytes(sheet.draw(recipe, [drawn]), recipe=recipe), recipe)


def image(answer):
    import io

    assert answer.headers["content-type"] == "image/png" and "immutable" in answer.headers["cache-control"]
    return Image.open(io.BytesIO(answer.content))


class TestHistory:
    def test_nothing_yet(self, client):
        assert client.get("/studio/history").json() == {"entries": [], "more": False}

    def test_newest_first_and_in_pages(self, client, session, model, monkeypatch):
        monkeypatch.setattr(made, "PAGE", 3)
        entries = [kept(session, model, seed) for seed in range(7)]
        seen, before = [], ""
        while True:
            told = client.get("/studio/history" + before).json()
            seen += told["entries"]
            if not told["more"]:
                break
            before = f"?before={told['entries'][-1]['key'].replace('+', '%2B')}"
        assert [entry["key"] for entry in seen] == [entry.key for entry in reversed(entries)]
        assert seen[0]["what"] == "Grid" and (seen[0]["run"], seen[0]["seed"], seen[0]["count"]) == ("toys", 6, 4)

    @pytest.mark.parametrize("before", ["nonsense", "../x", "toys/ddpm_best.pt", "%00"])
    def test_a_page_that_is_none_is_one_line(self, client, before):
        answer = client.get(f"/studio/history?before={before}")
        assert answer.status_code == 409 and "\n" not in answer.json()["error"]

    def test_the_recipe_in_words(self, client, session, model):
        entry = kept(session, model, seed=3)
        told = client.get(f"/studio/recipe/{entry.key}").json()
        assert told["title"] == "Grid by toys" and ["Seeds", "3 to 6"] in told["words"] and told["problem"] == ""

    def test_settings_that_cannot_come_back_say_why(self, client, session, model, toy_run):
        entry = kept(session, model)
        toy_run(session.root, "toys", seed=1)
        told = client.get(f"/studio/recipe/{entry.key}").json()
        assert told["words"] and told["problem"].startswith("The model toys/ddpm_best.pt has changed since")
        answer = client.get(f"/studio/recall/{entry.key}")
        assert answer.status_code == 409 and answer.json()["error"] == told["problem"]

    def test_settings_come_back(self, client, session, model):
        told = client.get(f"/studio/recall/{kept(session, model, seed=3).key}").json()
        assert told["mode"] == "grid" and told["fields"]["gen_seed"]["value"] == 3

    def test_deleting_needs_post_and_takes_one(self, client, session, model):
        one, other = kept(session, model), kept(session, model)
        assert client.get(f"/studio/forget/{one.key}").status_code == 405 and one.path.exists()
        assert client.post(f"/studio/forget/{one.key}").status_code == 200
        assert not one.path.exists() and other.path.exists()
        answer = client.post(f"/studio/forget/{one.key}")
        assert answer.status_code == 409 and "not there any more" in answer.json()["error"]


class TestPictures:
    def test_the_file_as_it_is(self, client, session, model):
        entry = kept(session, model)
        answer = client.get(f"/studio/made/{entry.key}")
        assert image(answer).size == (2 * 18 * 8 + 16, 2 * 18 * 8 + 16)
        assert answer.content == entry.path.read_bytes()

    def test_a_thumbnail_is_never_large(self, client, session, model):
        entry = kept(session, model, count=64)
        assert max(image(client.get(f"/studio/thumbnail/{entry.key}")).size) == made.THUMBNAIL
        small = image(client.get(f"/studio/thumbnail/{kept(session, model, count=1).key}"))
        assert small.size == (160, 160)

    def test_a_file_that_is_no_picture_is_one_line(self, client, session, model):
        entry = kept(session, model)
        entry.path.write_bytes(b"<script>")
        answer = client.get(f"/studio/thumbnail/{entry.key}")
        assert answer.status_code == 409 and "no whole PNG" in answer.json()["error"]
        assert client.get(f"/studio/recipe/{entry.key}").status_code == 409

    OUT = (
        "toys/..%2f..%2f..%2fsecret.png",
        "..%2f..%2f/secret.png",
        "toys/secret.png",
        "toys/ddpm_best.pt",
        "../../../secret.png",
        "%2e%2e/secret.png",
    )

    @pytest.mark.parametrize("key", OUT)
    @pytest.mark.parametrize("route", ["made", "thumbnail", "recipe", "recall"])
    def test_nothing_else_is_handed_out(self, client, session, route, key):
        for folder in (session.root, session.root / "samples/toys/made", session.root / "samples"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "secret.png").write_bytes(b"secret")
        answer = client.get(f"/studio/{route}/{key}")
        assert answer.status_code >= 400 and answer.content != b"secret"

    def test_links_lead_nowhere(self, client, session, model):
        entry = kept(session, model)
        elsewhere = session.root / "elsewhere.png"
        elsewhere.write_bytes(entry.path.read_bytes())
        entry.path.unlink()
        entry.path.symlink_to(elsewhere)
        assert client.get(f"/studio/made/{entry.key}").status_code == 409
        assert client.post(f"/studio/forget/{entry.key}").status_code == 409 and elsewhere.exists()

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
    def test_a_file_that_cannot_be_read_is_one_line(self, client, session, model):
        entry = kept(session, model)
        entry.path.chmod(0)
        assert "cannot read" in client.get(f"/studio/made/{entry.key}").json()["error"].lower()


class TestDropped:
    def test_settings_and_where_it_is_kept(self, client, session, model):
        entry = kept(session, model, seed=3)
        told = client.post("/studio/dropped", content=entry.path.read_bytes()).json()
        assert told["mode"] == "grid" and told["fields"]["gen_seed"]["value"] == 3 and told["key"] == entry.key

    def test_one_that_is_not_kept_here_brings_its_settings_too(self, client, session, model):
        recipe = model.recipe("sample", seeds=[3], steps=5, sampler="ddim")
        png = pictures.to_png_bytes(np.zeros((4, 4, 3), np.uint8), recipe=recipe)
        told = client.post("/studio/dropped", content=png).json()
        assert told["mode"] == "grid" and told["key"] is None

    @pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"x" * 5000])
    def test_a_foreign_file_is_one_line(self, client, content):
        answer = client.post("/studio/dropped", content=content)
        assert answer.status_code == 409
        assert answer.json()["error"] == "This file has no recipe inside: choose a PNG that this studio made."

    def test_one_of_ours_that_is_damaged_is_one_line(self, client, session, model):
        png = kept(session, model).path.read_bytes()
        assert "cut short or damaged" in client.post("/studio/dropped", content=png[:-7]).json()["error"]

    def test_a_model_that_is_not_here_is_one_line(self, client, session, model, toy_run):
        png = kept(session, model).path.read_bytes()
        toy_run(session.root, "toys", seed=1)
        assert "has changed since" in client.post("/studio/dropped", content=png).json()["error"]

    def test_no_more_is_read_than_a_picture_has(self, client, monkeypatch):
        monkeypatch.setattr(recipes, "MOST_BYTES", 1 << 20)
        answer = client.post("/studio/dropped", content=bytes(3 << 20))
        assert answer.status_code == 409 and "larger than 1 MB" in answer.json()["error"]

    def test_one_that_is_enlarged_is_the_one_in_the_gallery(self, client, session, model):
        """As an explorer's saved file is, or one that the command line made of the same pictures."""
        entry = kept(session, model, seed=3)
        recipe = recipes.read_recipe(entry.path.read_bytes())
        (made_then,) = sheet.cut(recipe, gallery.pixels(entry.path.read_bytes()))
        other = pictures.to_png_bytes(sheet.draw(recipe, [made_then], 3, columns=4), recipe=recipe)
        assert client.post("/studio/dropped", content=other).json()["key"] == entry.key
        made_then = made_then.copy()
        made_then[0, 0, 0, 0] ^= 1
        changed = pictures.to_png_bytes(sheet.draw(recipe, [made_then], 3), recipe=recipe)
        assert client.post("/studio/dropped", content=changed).json()["key"] is None

    def test_a_grey_one_saved_from_the_page_is_the_one_in_the_gallery(self, client, session, toy_run):
        """The page's sheets have four channels: the paper between the pictures can be seen through."""
        grey = Generator.load(toy_run(session.root, "grey", channels=1), "cpu")
        drawn = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)
        recipe = grey.recipe("sample", seeds=list(range(5)), steps=5, sampler="ddim")
        entry = gallery.keep(session.root, pictures.to_png_bytes(sheet.draw(recipe, [drawn]), recipe=recipe), recipe)
        saved = pictures.to_png_bytes(drawing.grid(drawn), recipe=recipe)
        assert client.post("/studio/dropped", content=saved).json()["key"] == entry.key
        drawn[2, 3, 4] ^= 1
        changed = pictures.to_png_bytes(drawing.grid(drawn), recipe=recipe)
        assert client.post("/studio/dropped", content=changed).json()["key"] is None

    def test_where_the_form_has_no_place_it_can_be_kept_all_the_same(self, client, session, model):
        entry = kept(session, model, eta=0.5)
        told = client.post("/studio/dropped", content=entry.path.read_bytes())
        assert told.status_code == 409 and told.json()["ours"] and told.json()["key"] == entry.key
        gallery.remove(session.root, entry.key)


class TestKeep:
    def png(self, model, **fields):
        recipe = model.recipe("sample", **{"seeds": [3], "steps": 5, "sampler": "ddim", **fields})
        return pictures.to_png_bytes(sheet.draw(recipe, [np.zeros((1, 16, 16, 3), np.uint8)], 2), recipe=recipe)

    def test_it_lies_in_the_gallery_byte_for_byte_and_once(self, client, session, model):
        run = {"run": "toys"}
        png = self.png(model, **run)
        keys = [client.post("/studio/keep", content=png).json()["key"] for _ in range(2)]
        (entry,) = gallery.history(session.root)
        assert keys == [entry.key] * 2 and entry.path.read_bytes() == png

    def test_one_of_a_run_that_is_not_here_makes_no_folder(self, client, session, model):
        answer = client.post("/studio/keep", content=self.png(model, run="elsewhere"))
        assert (
            answer.status_code == 409
            and "The run elsewhere that made this picture is not here" in answer.json()["error"]
        )
        assert not (session.root / "samples/elsewhere").exists()

    @pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"x" * 5000])
    def test_a_foreign_file_is_one_line(self, client, session, content):
        answer = client.post("/studio/keep", content=content)
        assert answer.status_code == 409 and "no recipe inside" in answer.json()["error"]
        assert not gallery.history(session.root)

    def test_one_without_pixels_is_one_line(self, client, session, model):
        png = self.png(model, run="toys")
        start = png.index(b"IDAT") - 4
        hollow = png[:start] + png[png.index(b"IEND") - 4 :]
        answer = client.post("/studio/keep", content=hollow)
        assert answer.status_code == 409 and "no whole PNG" in answer.json()["error"]
        assert not gallery.history(session.root)

    def test_it_needs_post(self, client):
        assert client.get("/studio/keep").status_code == 405


class TestTrail:
    def test_every_frame_has_both_pictures(self, client, session):
        trail = Trajectory()
        trail.steps = 9
        black, white = np.zeros((4, 8, 8, 1), np.uint8), np.full((4, 8, 8, 1), 255, np.uint8)
        trail.frames = [Frame(1, 80.0, white, black), Frame(9, 0.1, black, white)]
        told = client.get(f"/studio/trail/{session.trails.put(trail)}").json()
        assert told["steps"] == 9 and [frame["step"] for frame in told["frames"]] == [1, 9]
        assert all(
            frame[which].startswith("data:image/png") for frame in told["frames"] for which in ("noisy", "belief")
        )

    def test_one_that_is_gone_is_told(self, client):
        answer = client.get("/studio/trail/nothing")
        assert answer.status_code == 404 and "generate them again" in answer.json()["error"]
