"""A recipe comes back from a PNG as it went in; anything else gives None or one line, and never costs much."""

import io
import json
import math
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from ddpm_core import checkpoint, pictures, recipes
from ddpm_core.config import RunConfig
from ddpm_core.errors import CheckpointError, UsageError

MODEL = {"run": "openmoji_32x32", "model": "ddpm_best.pt", "hash": "0123456789ab", "trained_steps": 1482, "size": 32}
HOW = {"sampler": "dpm++2m", "steps": 20}
SAMPLE = {"version": 1, "what": "sample", **MODEL, **HOW, "seeds": [0, 1, 2**63 - 1]}
# One of each kind, with every field somewhere.
OF_EACH_KIND = [
    SAMPLE,
    {**SAMPLE, "spacing": "karras", "eta": 0.5, "guidance": 1.5, "interval": [0.2, 2], "classes": [3, None, 0]},
    {**SAMPLE, "autoguidance": 1.5, "young": 512},
    {**SAMPLE, "what": "interpolate", "seeds": [4, 5], "mix": [[0], [0.1], [1]]},
    {"version": 1, "what": "interpolate", **MODEL, **HOW, "pictures": ["0" * 16, "f" * 16], "mix": [[0.5]]},
    {**SAMPLE, "what": "pad", "seeds": [4, 5, 6, 7], "mix": [[0, 0.25], [1 / 3, 1]]},
    {**SAMPLE, "what": "redraw", "pictures": ["0" * 16], "level": 1.25, "strength": 0.5},
    {**SAMPLE, "what": "fill", "pictures": ["0" * 16], "mask": "a" * 16},
    {"version": 1, "what": "compare", "models": [MODEL, {**MODEL, "size": 64}], **HOW, "seeds": [9]},
    {**SAMPLE, "what": "steps", "sampler": ["ddim", "unipc3"], "steps": [5, 10, 20]},
    {**SAMPLE, "what": "ema", "ema": [0.05, 0.1], "ema_step": 2304},
    {**SAMPLE, "what": "trajectory", "seeds": [9], "stops": [1, 2, 4, 20]},
]


def png_with(recipe, **how):
    return pictures.to_png_bytes(np.zeros((4, 4, 3), np.uint8), recipe=recipe, **how)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_text(text: bytes):
    """A whole PNG with this text as its recipe."""
    png = png_with(None)
    return png[:33] + chunk(b"tEXt", b"ddpm-studio\0" + text) + png[33:]


def refused(call, *given):
    with pytest.raises(UsageError) as caught:
        call(*given)
    line = str(caught.value)
    assert "\n" not in line and line.isprintable() and len(line) < 400 and line.endswith(".")
    return line


class TestThereAndBack:
    @pytest.mark.parametrize("recipe", OF_EACH_KIND, ids=lambda recipe: recipe["what"])
    def test_every_kind(self, recipe):
        assert recipes.check(recipe) == recipe
        assert recipes.read_recipe(png_with(recipe)) == recipe

    def test_all_fields_and_kinds_were_tried(self):
        assert {name for recipe in OF_EACH_KIND for name in recipe} == set(recipes._FIELDS)
        assert {recipe["what"] for recipe in OF_EACH_KIND} == set(recipes.WHATS) == set(recipes._NEEDS)
        assert all(f"{name}" in recipes.__doc__ for name in recipes._FIELDS)

    def test_compose_leaves_out_what_is_not_known_and_makes_lists(self):
        made = recipes.compose("sample", **MODEL, **HOW, seeds=(3, 4), guidance=None, eta=0.1 + 0.2)
        assert made == {"version": 1, "what": "sample", **MODEL, **HOW, "seeds": [3, 4], "eta": 0.1 + 0.2}
        assert recipes.read_recipe(png_with(made)) == made

    def test_ends_and_corners_have_classes_and_any_is_null(self):
        walk = {"seeds": [4, 5], "mix": [[0], [0.5], [1]]}
        made = recipes.compose("interpolate", **MODEL, **HOW, **walk, classes=(3, -1))
        assert recipes.read_recipe(png_with(made))["classes"] == [3, None]
        pad = {"seeds": [4, 5, 6, 7], "mix": [[0, 0.25]]}
        made = recipes.compose("pad", **MODEL, **HOW, **pad, classes=[-1, 0, 3, 3])
        assert recipes.read_recipe(png_with(made))["classes"] == [None, 0, 3, 3]

    def test_a_walk_of_an_older_version_has_a_class_for_each_frame(self):
        walk = {**SAMPLE, "what": "interpolate", "seeds": [4, 5], "mix": [[0], [0.5], [1]], "classes": [3, 3, 3]}
        assert recipes.read_recipe(png_with(walk)) == walk

    def test_a_mix_keeps_every_bit(self):
        mix = [[float(x)] for x in np.linspace(0, 1, 1024)]
        recipe = {**SAMPLE, "what": "interpolate", "seeds": [0, 1], "mix": mix, "classes": [99_999] * 1024}
        assert recipes.read_recipe(png_with(recipe))["mix"] == mix

    def test_how_many_pictures(self):
        assert [recipes.count(recipe) for recipe in OF_EACH_KIND] == [3, 3, 3, 3, 1, 2, 3, 3, 2, 18, 6, 8]

    def test_a_large_enlarged_picture(self):
        assert recipes.read_recipe(png_with(SAMPLE, scale=200)) == SAMPLE


class TestOtherFiles:
    def test_no_recipe_of_ours_is_none(self, tmp_path):
        jpeg, gif, text = io.BytesIO(), io.BytesIO(), PngImagePlugin.PngInfo()
        image = Image.new("RGB", (8, 8))
        image.save(jpeg, "JPEG")
        image.save(gif, "GIF")
        text.add_text("parameters", "a cat, Steps: 20")
        foreign = io.BytesIO()
        image.save(foreign, "PNG", pnginfo=text)
        for other in (b"", b"\x89PNG", b"%PDF-1.7", b"<html>", jpeg.getvalue(), gif.getvalue(), foreign.getvalue()):
            assert recipes.read_recipe(other) is None
        assert recipes.read_recipe(png_with(None)) is None

    @pytest.mark.parametrize("add", ["add_itxt", "add_text"])
    def test_compressed_texts_are_left_folded(self, add):
        """We never write them, and they may be bombs."""
        info = PngImagePlugin.PngInfo()
        if add == "add_itxt":
            info.add_itxt("ddpm-studio", json.dumps(SAMPLE), zip=True)
        else:
            info.add_text("ddpm-studio", json.dumps(SAMPLE), zip=True)
        file = io.BytesIO()
        Image.new("L", (4, 4)).save(file, "PNG", pnginfo=info)
        assert recipes.read_recipe(file.getvalue()) is None

    def test_cut_short_at_any_byte(self):
        whole = png_with(SAMPLE)
        for end in range(len(whole)):
            try:
                assert recipes.read_recipe(whole[:end]) is None
            except UsageError as error:
                assert "cut short or damaged" in str(error)
        assert "cut short" in refused(recipes.read_recipe, whole[:-1])

    def test_a_changed_byte_in_the_recipe_is_noticed(self):
        whole = png_with(SAMPLE)
        place = whole.index(b"1482")
        assert "damaged" in refused(recipes.read_recipe, whole[:place] + b"9" + whole[place + 1 :])

    def test_fifty_megabytes_of_text(self):
        line = refused(recipes.read_recipe, with_text(b" " * (50 << 20)))
        assert "51200 KB" in line
        foreign = png_with(None)
        assert recipes.read_recipe(foreign[:33] + chunk(b"tEXt", b"x" * (50 << 20)) + foreign[33:]) is None

    def test_a_file_that_is_too_large_is_not_looked_at(self):
        assert "65 MB" in refused(recipes.read_recipe, png_with(SAMPLE) + bytes(65 << 20))

    def test_endless_small_chunks_come_to_an_end(self):
        png = png_with(SAMPLE)
        assert recipes.read_recipe(png[:33] + chunk(b"gAMA", b"") * 5000 + png[33:]) is None

    @pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"\xff\xfe\x00", b'{"version": ' + b"9" * 5000 + b"}"])
    def test_no_json(self, text):
        assert "cannot be read" in refused(recipes.read_recipe, with_text(text))


class TestStrict:
    def read(self, recipe):
        return refused(recipes.read_recipe, with_text(json.dumps(recipe).encode()))

    @pytest.mark.parametrize("recipe", [[], 3, None, "x", {}, {"version": "1"}, {"version": True}, {"version": 0}])
    def test_no_version(self, recipe):
        assert "no known version" in self.read(recipe)

    def test_a_newer_version_is_told_before_anything_else(self):
        assert "newer version" in self.read({"version": 2, "anything": "goes"})

    @pytest.mark.parametrize("what", ["video", None, ["sample"], "compare "])
    def test_an_unknown_kind(self, what):
        assert "it must be one of sample, " in self.read({**SAMPLE, "what": what})

    def test_a_setting_that_is_none_of_ours(self):
        line = self.read({**SAMPLE, "<script>\n\u202e": 1})
        assert r"'<script>\n\u202e'" in line

    @pytest.mark.parametrize("name", sorted({*MODEL, *HOW, "seeds"}))
    def test_a_missing_setting(self, name):
        assert f"lacks {name}." in self.read({key: value for key, value in SAMPLE.items() if key != name})

    WRONG = [
        ("run", ["..", "a/b", "a\\b", "", "con", 7, None, "x" * 65]),
        ("model", ["../../etc/passwd", "/tmp/a.pt", "a.exe", "", 3, "a" * 200 + ".pt"]),
        ("hash", ["0123456789AB", "0123", 12, "0123456789ab\n"]),
        ("trained_steps", [-1, 1.0, True, "3", 2**60]),
        ("size", [0, 10**9, 32.0]),
        ("sampler", ["", "a b", "x" * 30, ["ddim"], 3, "ddim\n"]),
        ("steps", [0, 1001, 20.0, True, [5], "20"]),
        ("spacing", [3, "", "a/b"]),
        ("eta", [-0.1, math.nan, math.inf, "1", True, 10**400]),
        ("guidance", [-1, 101, math.nan, None]),
        ("autoguidance", [-1, 101, math.nan, "2"]),
        ("young", [-1, 1.5, None]),
        ("interval", [[1], [1, 2, 3], 1, [1, math.nan], [-1, 1]]),
        ("classes", [[-1], [100_000], 3, ["cat"], []]),
        ("seeds", [[], [-1], [2**63], [1.0], 3, [0] * 1025, [True]]),
        ("mix", [[[2]], [0.5], [[]], [[0, 0, 0]], "x", [[math.nan]]]),
        ("ema", [-0.1, 1.5, [0.1], "x"]),
        ("pictures", [[], ["0" * 15], ["0" * 16] * 3, "0" * 16]),
        ("mask", ["g" * 16, ["0" * 16]]),
        ("level", [-1, math.inf, "1"]),
        ("strength", [-0.1, 1.1, math.nan, "1"]),
        ("ema_step", [-1, 1.0, "1"]),
        ("stops", [[], [0], [2001], 3, [1] * 65]),
        ("models", [[], {}, [{}], [MODEL] * 33, [{**MODEL, "size": 0}], [{**MODEL, "more": 1}]]),
    ]

    @pytest.mark.parametrize("name, value", [(name, value) for name, values in WRONG for value in values])
    def test_a_wrong_value_names_its_field(self, name, value):
        assert f"has {name} " in self.read({**SAMPLE, name: value})

    def test_every_field_was_tried(self):
        assert {name for name, _ in self.WRONG} | {"version", "what"} == set(recipes._FIELDS)

    def test_a_long_value_is_shown_short(self):
        assert len(self.read({**SAMPLE, "sampler": "x" * 100_000})) < 250

    def test_lists_are_for_what_spreads_them(self):
        steps = {**SAMPLE, "what": "steps", "sampler": ["ddim"], "steps": [5]}
        assert recipes.check(steps) == steps
        assert "it must be a list" in self.read({**steps, "steps": 5})
        assert "it must be a list" in self.read({**SAMPLE, "what": "ema", "ema": 0.1})

    def test_a_mix_fits_its_corners(self):
        walk = {**SAMPLE, "what": "interpolate", "seeds": [0, 1]}
        assert "rows of 1 between 2" in self.read({**walk, "mix": [[0], [0, 1]]})
        assert "rows of 1 between 2" in self.read({**walk, "seeds": [0, 1, 2], "mix": [[0]]})
        assert "rows of 2 between 4" in self.read({**walk, "what": "pad", "mix": [[0, 1]]})
        for classes in ([1], [1, 2, 3, 4], [1, 2, 3, 4, 5]):
            assert "one for each of the 2 ends" in self.read({**walk, "mix": [[0], [0.5], [1]], "classes": classes})
        pad = {**walk, "what": "pad", "seeds": [0, 1, 2, 3], "mix": [[0, 0], [1, 1]]}
        for classes in ([1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5]):
            assert "one for each of the 4 ends" in self.read({**pad, "classes": classes})
        own = {**walk, "seeds": [0], "pictures": ["0" * 16, "1" * 16], "mix": [[0.5]]}  # noise for two photographs
        assert recipes.check(own) == own and "between 2" in self.read({**own, "pictures": ["0" * 16]})

    def test_what_says_how_many_pictures_there_are_is_for_its_own_kinds(self):
        """A grid of two seeds with a mix of one would be cut up as one picture."""
        assert "has mix, which is for interpolate and pad" in self.read({**SAMPLE, "mix": [[0.5]]})
        assert "has models, which is for compare" in self.read({**SAMPLE, "models": [MODEL, MODEL]})
        compared = {"version": 1, "what": "compare", "models": [MODEL], **HOW, "seeds": [9]}
        assert recipes.check(compared) == compared and "has mix" in self.read({**compared, "mix": [[0], [1]]})

    def test_compose_is_as_strict(self):
        assert "has steps 0" in refused(lambda: recipes.compose("sample", **MODEL, sampler="ddim", steps=0, seeds=[1]))


class TestHashes:
    def test_of_a_model_is_the_beginning_of_its_seal(self, tmp_path):
        path = self.saved(tmp_path / "a.pt", 0.0)
        hashed = recipes.model_hash(path)
        assert path.read_bytes()[-64:].decode().startswith(hashed) and len(hashed) == 12
        recipes.check({**SAMPLE, "hash": hashed})

    def test_of_another_model_is_another(self, tmp_path):
        one, same, other = (
            recipes.model_hash(self.saved(tmp_path / f"{i}.pt", weight)) for i, weight in enumerate((0.0, 0.0, 1.0))
        )
        assert one == same != other

    def saved(self, path, weight):
        weights = {"weight": torch.full((2,), weight)}
        checkpoint.save_model(path, checkpoint.Model(RunConfig(), 3, (), 1482, 94848, 21, 0.1, weights))
        return path

    def test_a_file_without_a_seal_is_told(self, tmp_path):
        for content in (b"", b"short", bytes(500), b"ddpm-studio sha256:" + b"0" * 64 + b"\n"):
            (tmp_path / "a.pt").write_bytes(content)
            with pytest.raises(CheckpointError, match="a.pt has no seal: choose"):
                recipes.model_hash(tmp_path / "a.pt")
        for missing in (tmp_path / "no.pt", tmp_path):
            with pytest.raises(CheckpointError, match="cannot read .*: choose"):
                recipes.model_hash(missing)

    def test_of_a_persons_picture_is_of_its_pixels_and_shape(self):
        picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        hashed = recipes.picture_hash(picture)
        assert hashed == recipes.picture_hash(picture.transpose(1, 0, 2).copy().transpose(1, 0, 2))
        others = [picture.reshape(2, 8, 3), picture[::-1], picture + 1]
        assert hashed not in map(recipes.picture_hash, others)
        recipes.check({**SAMPLE, "pictures": [hashed]})


def test_recipes_need_no_torch():
    code = "import sys, ddpm_core.recipes, ddpm_core.gallery; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
