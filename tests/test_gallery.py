"""What was made is kept and found again, quickly, and nothing else can be reached through the gallery."""

import builtins
import io
import os
import shutil
import zlib
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_core import atomic, checkpoint, gallery, pictures, recipes
from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.errors import DataError, UsageError
from ddpm_core.generator import Generator
from ddpm_core.network.unet import UNet

MODEL = {"run": "openmoji_32x32", "model": "ddpm_best.pt", "hash": "0123456789ab", "trained_steps": 1482, "size": 32}


def made(seed=0, shade=0, **fields):
    """(png, recipe) of a picture."""
    given = {"what": "sample", **MODEL, "sampler": "dpm++2m", "steps": 20, "seeds": [seed], **fields}
    recipe = recipes.compose(**given)
    return pictures.to_png_bytes(np.full((4, 4, 3), shade, np.uint8), recipe=recipe), recipe


def kept(root, count, run="a", start=0):
    return [gallery.keep(root, *made(seed, run=run)) for seed in range(start, start + count)]


class TestKeep:
    def test_the_file_is_the_picture_with_its_recipe(self, tmp_path):
        png, recipe = made(seed=7)
        entry = gallery.keep(tmp_path, png, recipe)
        assert entry.path.parent == tmp_path / "samples" / "openmoji_32x32" / "made"
        assert entry.path.read_bytes() == png and gallery.read_recipe(entry.path.read_bytes()) == recipe
        assert list(entry.path.parent.iterdir()) == [entry.path]  # and nothing half-written

    def test_the_entry_tells_what_a_list_shows(self, tmp_path, monkeypatch):
        monkeypatch.setattr(gallery.time, "time", lambda: 1_795_444_202.123456)
        entry = gallery.keep(tmp_path, *made(seeds=[7, 8, 9]))
        told = (entry.key, entry.run, entry.what, entry.seed, entry.count, entry.sampler, entry.steps)
        assert told == (f"openmoji_32x32/{entry.path.name}", "openmoji_32x32", "sample", 7, 3, "dpm++2m", 20)
        assert entry.made == 1_795_444_202.123456
        assert entry.path.name.startswith("20261123T143002123456Z_sample_7_3_dpm++2m_20_")

    def test_several_samplers_and_own_pictures_have_a_name_too(self, tmp_path):
        steps = gallery.keep(tmp_path, *made(what="steps", sampler=["ddim", "unipc3"], steps=[5, 10]))
        assert (steps.sampler, steps.steps, steps.count) == ("several", None, 4)
        own = {"what": "interpolate", "seeds": None, "pictures": ["0" * 16, "1" * 16], "mix": [[0], [0.5], [1]]}
        assert [(e.seed, e.count) for e in [gallery.keep(tmp_path, *made(**own))]] == [(None, 3)]
        assert len(gallery.history(tmp_path)) == 2

    def test_a_comparison_lies_with_its_first_model(self, tmp_path):
        models = [{**MODEL, "run": run} for run in ("b", "a")]
        recipe = recipes.compose("compare", models=models, sampler="ddim", steps=20, seeds=[1])
        png = pictures.to_png_bytes(np.zeros((4, 4, 3), np.uint8), recipe=recipe)
        assert gallery.keep(tmp_path, png, recipe).run == "b"

    def test_the_same_picture_twice_is_two_entries(self, tmp_path):
        assert len({gallery.keep(tmp_path, *made()).key for _ in range(3)}) == 3

    def test_two_pictures_of_one_microsecond_are_both_kept(self, tmp_path, monkeypatch):
        monkeypatch.setattr(gallery.time, "time", lambda: 1.8e9)
        for shade in (0, 1):
            gallery.keep(tmp_path, *made(shade=shade))
        assert len(gallery.history(tmp_path)) == 2

    def test_a_png_with_another_recipe_or_none_is_a_mistake_of_the_program(self, tmp_path):
        (png, recipe), (other, _) = made(1), made(2)
        for wrong in (other, pictures.to_png_bytes(np.zeros((4, 4, 3), np.uint8)), b"no picture"):
            with pytest.raises(ValueError, match="does not carry this recipe"):
                gallery.keep(tmp_path, wrong, recipe)
        with pytest.raises(UsageError, match="has run"):
            gallery.keep(tmp_path, png, {**recipe, "run": "../../elsewhere"})
        assert list(tmp_path.iterdir()) == []

    def test_a_full_gallery_says_so_and_deletes_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(gallery, "MOST_KEPT", 2)
        kept(tmp_path, 2)
        with pytest.raises(UsageError, match="the gallery of a is full, 2 pictures: delete or move some from .*made"):
            kept(tmp_path, 1)
        assert len(gallery.history(tmp_path)) == 2
        kept(tmp_path, 1, run="b")  # each run has its own

    def test_the_last_of_the_disk_is_left_to_training(self, tmp_path, monkeypatch):
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 0, atomic.RESERVE))
        with pytest.raises(DataError, match="less than 512 mb are left.*free some space"):
            kept(tmp_path, 1)
        assert gallery.history(tmp_path) == []

    def test_a_disk_that_refuses_leaves_nothing_behind(self, tmp_path, monkeypatch):
        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(atomic, "replace", full)
        with pytest.raises(DataError, match=r"cannot keep the picture in .*made \(no space left on device\)"):
            kept(tmp_path, 1)
        assert list((tmp_path / "samples" / "a" / "made").iterdir()) == []

    @pytest.mark.parametrize("what", ["run", "made"])
    def test_links_are_not_followed(self, tmp_path, what):
        elsewhere, run = tmp_path / "elsewhere", tmp_path / "root" / "samples" / "a"
        (elsewhere / "made").mkdir(parents=True)
        run.parent.mkdir(parents=True)
        if what == "run":
            run.symlink_to(elsewhere)
        else:
            run.mkdir()
            (run / "made").symlink_to(elsewhere / "made")
        with pytest.raises(UsageError, match="is a link"):
            kept(tmp_path / "root", 1)
        file = kept(tmp_path / "other", 1)[0].path
        shutil.copy(file, elsewhere / "made" / file.name)
        assert gallery.history(tmp_path / "root") == []
        with pytest.raises(UsageError, match="not there any more"):
            gallery.find(tmp_path / "root", f"a/{file.name}")


class TestHistory:
    def test_newest_first_over_all_runs_page_by_page(self, tmp_path):
        entries = [gallery.keep(tmp_path, *made(seed, run="ab"[seed % 2])) for seed in range(7)][::-1]
        assert gallery.history(tmp_path) == entries
        pages, before = [], None
        while page := gallery.history(tmp_path, limit=3, before=before):
            pages.append(page)
            before = page[-1].key
        assert [len(page) for page in pages] == [3, 3, 1] and sum(pages, []) == entries

    def test_a_page_does_not_move_when_newer_pictures_come_or_its_last_is_deleted(self, tmp_path):
        entries = kept(tmp_path, 6)[::-1]
        kept(tmp_path, 2, start=10)
        gallery.remove(tmp_path, entries[2].key)
        assert gallery.history(tmp_path, before=entries[2].key) == entries[3:]

    def test_thousands_are_listed_without_opening_one(self, tmp_path, monkeypatch):
        folder = tmp_path / "samples" / "a" / "made"
        folder.mkdir(parents=True)
        for i in range(2000):
            name = f"20261123T{i:012d}Z_sample_{i}_16_dpm++2m_20_00000000.png" if i < 1200 else f"other{i}.png"
            (folder / name).touch()

        asked = []

        def counted(call):
            return lambda *given, **how: asked.append(given) or call(*given, **how)

        with monkeypatch.context() as watched:
            for place, name in ((builtins, "open"), (io, "open"), (os, "open"), (Image, "open"), (os, "stat")):
                watched.setattr(place, name, counted(getattr(place, name)))
            page = gallery.history(tmp_path, limit=50)
        assert [entry.seed for entry in page] == list(range(1199, 1149, -1))
        assert len(asked) <= 1  # whether the run's folder is a link

    def test_what_else_lies_there_is_passed_over(self, tmp_path):
        (entry,) = kept(tmp_path, 1)
        folder = entry.path.parent
        for name in ("notes.txt", "20261123T143002123456Z_sample_7_3_ddim_20.png", entry.path.name + ".tmp"):
            (folder / name).write_text("x")
        (folder / entry.path.name.replace("_sample_", "_nothing_")).write_text("x")
        (folder / entry.path.name.replace("T", "9T")).write_text("x")
        (folder / ("20269999T143002123456Z" + entry.path.name[22:])).write_text("x")  # no such day
        (folder / ("20250101T143002123456Z" + entry.path.name[22:])).mkdir()
        (folder / ("20240101T143002123456Z" + entry.path.name[22:])).symlink_to(entry.path)
        (tmp_path / "samples" / "not a run" / "made").mkdir(parents=True)
        shutil.copy(entry.path, tmp_path / "samples" / "not a run" / "made")
        (tmp_path / "samples" / "file").write_text("x")
        assert gallery.history(tmp_path) == [entry]

    def test_no_folder_is_no_history(self, tmp_path):
        assert gallery.history(tmp_path) == gallery.history(tmp_path / "missing") == []

    def test_a_gallery_outlives_its_run_and_may_be_copied(self, tmp_path):
        (entry,) = kept(tmp_path / "one", 1)
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        (copied,) = gallery.history(tmp_path / "two")
        assert (copied.key, copied.made) == (entry.key, entry.made)


class TestByKey:
    def test_finds_what_it_names(self, tmp_path):
        entries = kept(tmp_path, 3)
        assert [gallery.find(tmp_path, entry.key) for entry in entries] == entries

    @pytest.mark.parametrize(
        "key", ["", "a", "a/b.png", "../secret.png", "a/../../secret.png", None, 7, "a/made/x.png"]
    )
    def test_names_nothing_else(self, tmp_path, key):
        (entry,) = kept(tmp_path, 1)
        for call in (gallery.find, gallery.remove):
            with pytest.raises(UsageError, match="no picture of the gallery"):
                call(tmp_path, key)
        with pytest.raises(UsageError):
            gallery.history(tmp_path, before=key or "")
        for run in ("..", "../samples/a", "b", "A/.."):
            with pytest.raises(UsageError):
                gallery.find(tmp_path, f"{run}/{entry.path.name}")

    def test_removes_one_because_it_was_asked_to(self, tmp_path):
        first, second = kept(tmp_path, 2)
        gallery.remove(tmp_path, first.key)
        assert gallery.history(tmp_path) == [second]
        with pytest.raises(UsageError, match="not there any more"):
            gallery.remove(tmp_path, first.key)


class TestAgain:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_pixels_come_back_exactly(self, channels):
        picture = np.random.default_rng(0).integers(0, 256, (5, 6, channels), dtype=np.uint8)
        image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
        assert np.array_equal(gallery.pixels(pictures.to_png_bytes(image)), picture)

    def test_equal_is_said_and_a_difference_is_measured(self):
        a = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        b = a.copy()
        assert gallery.difference(a, b) == gallery.Difference(0, 192, 0) and gallery.difference(a, b).equal
        b[0, 0, 0], b[5, 5] = 255 - b[0, 0, 0], b[5, 5] ^ 1
        told = gallery.difference(a, b)
        assert (told.differing, told.largest, told.equal) == (4, abs(255 - 2 * int(a[0, 0, 0])), False)
        assert gallery.difference(np.zeros(1, np.uint8), np.full(1, 255, np.uint8)).largest == 255

    def test_two_sizes_are_told(self):
        with pytest.raises(UsageError, match="are 4 x 4 x 3 and 8 x 8 x 3: only"):
            gallery.difference(np.zeros((4, 4, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))

    def test_no_whole_png_is_told_in_one_line(self, tmp_path):
        jpeg = io.BytesIO()
        Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
        whole = pictures.to_png_bytes(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        for broken in (b"", b"text", jpeg.getvalue(), whole[:40], whole[: len(whole) // 2]):
            with pytest.raises(UsageError, match="no whole PNG") as caught:
                gallery.pixels(broken)
            assert "\n" not in str(caught.value)

    def test_a_bomb_is_not_unfolded(self):
        bomb = io.BytesIO()
        Image.new("1", (13_000, 13_000)).save(bomb, "PNG")
        assert len(bomb.getvalue()) < 30_000
        with pytest.raises(UsageError, match="13000 x 13000"):
            gallery.pixels(bomb.getvalue())
        header = pictures.to_png_bytes(np.zeros((4, 4, 1), np.uint8))
        wide = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + header[24:29]
        with pytest.raises(UsageError):
            gallery.pixels(header[:12] + wide + zlib.crc32(wide).to_bytes(4, "big") + header[33:])

    def test_what_a_kept_recipe_makes_again_is_equal_bit_for_bit(self, tmp_path):
        path = trained(tmp_path)

        def make(recipe):
            """What the page would do: a fresh model, and nothing known but the recipe."""
            generator = Generator.load(path, "cpu")
            *_, last = generator.sample(recipe["seeds"], recipe["steps"], recipe["sampler"])
            return np.asarray(pictures.grid(last.pictures))

        model = {"run": "toy", "model": path.name, "hash": recipes.model_hash(path), "trained_steps": 3, "size": 32}
        recipe = recipes.compose("sample", **model, sampler="dpm++2m", steps=3, seeds=[5, 6, 7])
        png = pictures.to_png_bytes(Image.fromarray(make(recipe)), recipe=recipe)
        entry = gallery.keep(tmp_path, png, recipe)

        dropped = gallery.find(tmp_path, entry.key).path.read_bytes()
        back = gallery.read_recipe(dropped)
        assert back["hash"] == recipes.model_hash(path)  # the model has not changed since
        assert gallery.difference(gallery.pixels(dropped), make(back)).equal
        other = gallery.difference(gallery.pixels(dropped), make({**back, "seeds": [5, 6, 8]}))
        assert not other.equal and other.differing <= 32 * 32 * 3  # only the third picture


def trained(root):
    """A model that was never trained, but whose pictures differ."""
    generator = torch.Generator().manual_seed(0)
    config = RunConfig(dataset="toy", size=32, name="toy", network=NetworkConfig(16, (1, 2), attention=()))
    network = UNet(config.network, 3)
    weights = {
        name: torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5 if weight.ndim > 1 else weight
        for name, weight in network.state_dict().items()
    }
    path = root / "checkpoints" / "toy" / "ddpm_best.pt"
    path.parent.mkdir(parents=True)
    checkpoint.save_model(path, checkpoint.Model(config, 3, (), 3, 96, 1, 0.1, weights))
    return path
