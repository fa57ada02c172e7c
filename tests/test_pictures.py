import base64
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from ddpm_core import pictures
from ddpm_core.errors import DataError


def some(count=5, height=4, width=6, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (count, height, width, channels), dtype=np.uint8)


def test_to_uint8_maps_the_ends_and_rounds():
    x = torch.tensor([-1.0, 1.0, 0.0, -2.0, 3.0, float("nan")]).view(1, 1, 1, 6)
    assert pictures.to_uint8(x).flatten().tolist() == [0, 255, 128, 0, 255, 0]
    assert pictures.to_uint8(x).dtype == np.uint8


def test_to_uint8_is_undone_by_the_training_scale():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = levels.float() / 127.5 - 1
    assert np.array_equal(pictures.to_uint8(x)[0, :, :, 0], levels[0, 0].numpy())
    assert np.array_equal(pictures.to_uint8(x.numpy()), pictures.to_uint8(x))


def test_to_uint8_puts_channels_last_for_any_float_type_and_grad():
    x = torch.stack([torch.full((2, 4), -1.0), torch.zeros(2, 4), torch.ones(2, 4)])[None]
    for tensor in (x, x.bfloat16(), x.double().requires_grad_()):
        result = pictures.to_uint8(tensor)
        assert result.shape == (1, 2, 4, 3) and result[0, 0, 0].tolist() == [0, 128, 255]


def test_pictures_need_no_torch():
    code = "import sys, ddpm_core.pictures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_grid_lays_out_row_by_row_with_white_between():
    tiles = some(count=5)
    image = np.asarray(pictures.grid(tiles, gap=2))
    assert image.shape == (2 + 2 * (4 + 2), 2 + 3 * (6 + 2), 3)  # 5 pictures -> 3 columns, 2 rows
    assert np.array_equal(image[2:6, 2:8], tiles[0])
    assert np.array_equal(image[8:12, 10:16], tiles[4])
    assert (image[8:12, 18:24] == 255).all() and (image[6:8] == 255).all() and (image[:, :2] == 255).all()


def test_grid_takes_columns_one_picture_and_grey():
    assert pictures.grid(some(6), columns=6, gap=0).size == (36, 4)
    assert pictures.grid(some(2), columns=10, gap=1).size == (2 * 7 + 1, 6)
    grey = pictures.grid(some(1, channels=1), gap=0)
    assert grey.mode == "L" and np.array_equal(np.asarray(grey), some(1, channels=1)[0, :, :, 0])


def test_png_is_exact_and_carries_its_recipe(tmp_path):
    path, image = tmp_path / "new" / "folder" / "a.png", pictures.grid(some())
    recipe = {"seed": 3, "model": "模型", "steps": 20}
    pictures.save_png(image, path, recipe)
    with Image.open(path) as loaded:
        assert np.array_equal(np.asarray(loaded), np.asarray(image))
    assert pictures.read_recipe(path) == recipe
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_a_picture_without_our_recipe_has_none(tmp_path):
    plain, text, missing = tmp_path / "plain.png", tmp_path / "text.png", tmp_path / "missing.png"
    pictures.save_png(pictures.grid(some()), plain)
    text.write_text("no picture")
    truncated = tmp_path / "cut.png"
    truncated.write_bytes(plain.read_bytes()[:40])
    assert [pictures.read_recipe(path) for path in (plain, text, missing, truncated, tmp_path)] == [None] * 5


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    pictures.save_png(pictures.grid(some()), path)
    old = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures.atomic, "replace", full)
    with pytest.raises(DataError, match="no space left on device.*choose another folder"):
        pictures.save_png(pictures.grid(some(seed=1)), path)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write"):
        pictures.save_png(pictures.grid(some()), tmp_path / "file" / "a.png")


def test_bytes_and_data_uri_enlarge_pixels_to_squares():
    picture = some(1)[0]
    uri = pictures.to_data_uri(picture, scale=3)
    assert uri.startswith("data:image/png;base64,")
    png = base64.b64decode(uri.split(",")[1])
    assert png == pictures.to_png_bytes(picture, scale=3)
    large = np.asarray(Image.open(io.BytesIO(png)))
    assert np.array_equal(large, picture.repeat(3, axis=0).repeat(3, axis=1))


def test_gif_goes_there_and_back(tmp_path):
    path = tmp_path / "walk.gif"
    shades = np.stack([np.full((4, 4, 3), shade, np.uint8) for shade in (0, 80, 160, 240)])
    pictures.save_gif(shades, path, {"seeds": [0, 1], "model": "模型"}, scale=2)
    assert pictures.read_recipe(path) == {"seeds": [0, 1], "model": "模型"}
    with Image.open(path) as image:
        assert image.size == (8, 8) and image.info["loop"] == 0
        seen = []
        for frame in range(image.n_frames):
            image.seek(frame)
            seen.append(image.convert("RGB").getpixel((0, 0))[0])
    assert seen == [0, 80, 160, 240, 160, 80]


def test_gif_of_one_picture_is_one_frame(tmp_path):
    pictures.save_gif(some(1), tmp_path / "one.gif")
    with Image.open(tmp_path / "one.gif") as image:
        assert image.n_frames == 1
    assert pictures.read_recipe(tmp_path / "one.gif") is None


def test_comparison_brings_every_model_to_one_height():
    image = pictures.comparison([("small, 32 px", some(2, 32, 32, 1)), ("large, 64 px", some(2, 64, 64, 3))], gap=4)
    assert image.mode == "RGB" and image.size == (3 * 4 + 2 * 128, 2 * (22 + 4 + 128 + 4))
    pixels = np.asarray(image).astype(int)
    assert np.array_equal(
        pixels[26 : 26 + 128, 4 : 4 + 128, 0], some(2, 32, 32, 1)[0, :, :, 0].repeat(4, 0).repeat(4, 1)
    )
    assert np.array_equal(pixels[-4 - 128 : -4, 4 : 4 + 128], some(2, 64, 64, 3)[0].repeat(2, 0).repeat(2, 1))
    assert (pixels[:22] < 128).any()  # there is a label


def test_a_picture_larger_than_pillow_opens_or_with_endless_brackets_has_no_recipe(tmp_path, monkeypatch):
    pictures.save_png(pictures.grid(some()), tmp_path / "large.png", {"what": "sample"})
    info = PngImagePlugin.PngInfo()
    info.add_text(pictures.RECIPE_KEY, "[" * 100_000)
    Image.new("L", (4, 4)).save(tmp_path / "deep.png", pnginfo=info)
    assert pictures.read_recipe(tmp_path / "deep.png") is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert pictures.read_recipe(tmp_path / "large.png") is None
