"""Any folder of images: the right files, upright, square, and true in every mode Pillow knows."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ddpm_core.data import catalogue, image_folder
from ddpm_core.data.image_folder import ImageFolder, decode
from ddpm_core.data.source import Broken
from ddpm_core.errors import DataError

HALVES = np.zeros((20, 20, 3), np.uint8)  # left half red, right half blue
HALVES[:, :10] = (255, 0, 0)
HALVES[:, 10:] = (0, 0, 255)


def _save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(HALVES) if image is None else image).save(path, **options)
    return path


def _colour(path, size=8):
    picture = decode(path, size)
    assert picture.shape == (3, size, size) and picture.dtype == np.uint8
    return tuple(int(v) for v in np.median(picture.reshape(3, -1), axis=1))


# ---- modes: each must come out at its true colour -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "value", "ending", "expected"),
    [
        ("RGB", (200, 100, 50), "png", (200, 100, 50)),
        ("L", 77, "png", (77, 77, 77)),
        ("1", 1, "png", (255, 255, 255)),
        ("LA", (0, 0), "png", (255, 255, 255)),
        ("LA", (100, 255), "png", (100, 100, 100)),
        ("RGBA", (0, 0, 0, 0), "png", (255, 255, 255)),
        ("RGBA", (0, 0, 0, 128), "png", (127, 127, 127)),
        ("RGBA", (200, 100, 50, 255), "webp", (200, 100, 50)),
        ("RGB", (200, 100, 50), "bmp", (200, 100, 50)),
        ("RGB", (200, 100, 50), "tiff", (200, 100, 50)),
        ("CMYK", (0, 255, 255, 0), "tif", (255, 0, 0)),
        ("F", 0.5, "tiff", (128, 128, 128)),
        ("F", 200.0, "tiff", (200, 200, 200)),
        ("F", float("nan"), "tiff", (0, 0, 0)),
        ("I", 51, "tiff", (51, 51, 51)),
        ("I", 0x8000, "tiff", (128, 128, 128)),
    ],
)
def test_modes(tmp_path, mode, value, ending, expected):
    options = {"lossless": True} if ending == "webp" else {}
    path = _save(tmp_path / f"a.{ending}", Image.new(mode, (16, 16), value), **options)
    assert _colour(path) == expected


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (0x8000, 128), (65535, 255)])
def test_16_bits_are_scaled_not_cut_off(tmp_path, ending, value, expected):
    image = Image.fromarray(np.full((16, 16), value, np.uint16))
    assert image.mode == "I;16"
    assert _colour(_save(tmp_path / f"a.{ending}", image)) == (expected,) * 3


def test_16_bit_colour(tmp_path):
    """Pillow writes no such file, so this one is made by hand."""
    row = b"\0" + struct.pack(">3H", 65535, 0x8000, 0) * 4
    chunks = [(b"IHDR", struct.pack(">2I5B", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row * 4)), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        file += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    (tmp_path / "a.png").write_bytes(file)
    assert _colour(tmp_path / "a.png") == (255, 128, 0)


def test_cmyk_jpeg_and_grey_jpeg(tmp_path):
    cyan = _colour(_save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (255, 0, 0, 0)), quality=95))
    assert cyan[0] < 10 and cyan[1] > 245 and cyan[2] > 245
    assert _colour(_save(tmp_path / "b.jpg", Image.new("L", (16, 16), 60), quality=95)) == (60, 60, 60)


def test_palettes_with_and_without_transparency(tmp_path):
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    assert _colour(_save(tmp_path / "a.png", image)) == (10, 200, 30)
    assert _colour(_save(tmp_path / "b.png", image, transparency=1)) == (255, 255, 255)
    assert _colour(_save(tmp_path / "c.gif", image)) == (10, 200, 30)
    assert _colour(_save(tmp_path / "d.gif", image, transparency=1)) == (255, 255, 255)


def test_an_animation_gives_its_first_picture(tmp_path):
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    for ending in ("gif", "webp", "png"):
        path = _save(tmp_path / f"a.{ending}", red, save_all=True, append_images=[blue])
        red_value, green, blue_value = _colour(path)
        assert red_value > 240 and green < 10 and blue_value < 10, ending


# ---- geometry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "jpg", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_every_picture_upright(tmp_path, ending, orientation):
    # Red marks the corner that must end up at the top left.
    upright = np.zeros((40, 40, 3), np.uint8)
    upright[:20, :20] = (255, 0, 0)
    upright[:20, 20:] = (0, 255, 0)
    upright[20:, :20] = (0, 0, 255)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # FLIP_LEFT_RIGHT=0 FLIP_TOP_BOTTOM=1 ROTATE_90=2 180=3 270=4 ...
    image = Image.fromarray(upright)
    if orientation in undo:
        image = image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _save(tmp_path / f"a.{ending}", image, exif=exif, **({} if ending in ("png", "tiff") else {"quality": 95}))
    picture = decode(path, 8).astype(int)
    assert picture[0, 1, 1] > 200 and picture[1, 1, 6] > 200 and picture[2, 6, 1] > 200
    assert picture[1:, 1, 1].max() < 60 and picture[:, 6, 6].max() < 60


@pytest.mark.parametrize("shape", [(20, 60), (60, 20)])
def test_the_middle_square_is_taken(tmp_path, shape):
    values = np.zeros((*shape, 3), np.uint8)
    middle = [slice((side - 20) // 2, (side + 20) // 2) for side in shape]
    values[tuple(middle)] = 255
    assert (decode(_save(tmp_path / "a.png", Image.fromarray(values)), 10) == 255).all()


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_reduction_is_antialiased_and_keeps_the_mean(tmp_path, ending):
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    picture = decode(_save(tmp_path / f"a.{ending}", Image.fromarray(stripes)), 16)
    assert abs(picture.astype(float) - 127.5).max() < 4


def test_one_pixel_is_enlarged_and_odd_sizes_work(tmp_path):
    assert _colour(_save(tmp_path / "a.png", Image.new("RGB", (1, 1), (9, 8, 7))), 32) == (9, 8, 7)
    assert decode(_save(tmp_path / "b.jpg", Image.new("RGB", (333, 77))), 96).shape == (3, 96, 96)
    assert decode(_save(tmp_path / "c.png", Image.new("RGB", (3000, 1))), 8).shape == (3, 8, 8)


# ---- which files --------------------------------------------------------------------------------------------------


def test_files_classes_and_order(tmp_path):
    for name in (
        "b/2.PNG",
        "b/deep/1.jpeg",
        "a/x.JPG",
        "a/.hidden.png",
        "__MACOSX/a/x.png",
        ".trash/1.png",
        "Zo/é.png",
    ):
        _save(tmp_path / name, format="PNG")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "a" / "notes.txt").write_text("x")
    source = ImageFolder(str(tmp_path))
    assert source._files == ["Zo/é.png", "a/x.JPG", "b/2.PNG", "b/deep/1.jpeg"]
    assert source.info.classes == ("Zo", "a", "b") and source.info.pictures == 4 and source.info.channels == 3
    assert [label for _, label in source.draw(8)] == [0, 1, 2, 2]
    _save(tmp_path / "top.png")
    mixed = ImageFolder(str(tmp_path))
    assert mixed.info.classes == ("(top folder)", "Zo", "a", "b")
    assert [mixed.info.classes[label] for _, label in mixed.draw(8)] == ["Zo", "a", "b", "b", "(top folder)"]


def test_a_flat_folder_has_no_classes(tmp_path):
    _save(tmp_path / "a.png")
    pictures = catalogue.load(str(tmp_path), 8, tmp_path / "data")
    assert pictures.classes == () and pictures.labels is None and pictures.images.shape == (1, 3, 8, 8)


@pytest.mark.skipif(os.name == "nt", reason="Windows needs rights for links and has no pipes among files")
def test_links_in_circles_and_pipes_do_no_harm(tmp_path):
    _save(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    _save(tmp_path.parent / f"{tmp_path.name}_else" / "2.png")
    (tmp_path / "b").symlink_to(tmp_path.parent / f"{tmp_path.name}_else", target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.png")
    os.mkdir(tmp_path / "folder.png")
    assert ImageFolder(str(tmp_path))._files == ["a/1.png", "b/2.png"]


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname == "Darwin", reason="file names are text on this system")
def test_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xff\n"
    os.mkdir(folder)
    with open(folder + b"/\xfe.png", "wb") as file:
        Image.fromarray(HALVES).save(file, "PNG")
    (tmp_path / "broken.png").write_bytes(b"x")
    pictures = list(ImageFolder(str(tmp_path)).draw(8))
    assert ImageFolder(str(tmp_path)).info.classes == ("(top folder)", "\ufffd?")
    assert isinstance(pictures[0], Broken) and pictures[1][1] == 1
    assert catalogue.peek(str(tmp_path), 8, 4, tmp_path / "data").shape == (1, 8, 8, 3)


# ---- damage -------------------------------------------------------------------------------------------------------


def test_broken_files_are_skipped_and_named(tmp_path):
    for i in range(100):
        _save(tmp_path / "photos" / f"{i:03}.png")
    whole = (tmp_path / "photos" / "000.png").read_bytes()
    (tmp_path / "photos" / "003.png").write_bytes(b"")
    (tmp_path / "photos" / "050.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "photos" / "051.png").write_bytes(b"<html>not found</html>")
    pictures = catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data")
    assert len(pictures.images) == 97
    assert [entry.split(":")[0] for entry in pictures.skipped] == ["003.png", "050.png", "051.png"]
    assert pictures.skipped[2] == "051.png: not an image"
    assert all("\n" not in entry and str(tmp_path) not in entry for entry in pictures.skipped)


def test_mostly_broken_stops_in_one_line(tmp_path):
    _save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"b\.png: not an image") as caught:
        catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "MAX_PIXELS", 399)
    _save(tmp_path / "a.png")
    (item,) = ImageFolder(str(tmp_path)).draw(8)
    assert item == Broken("a.png: 20 x 20 pixels, more than 399")
    header = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    assert isinstance(list(ImageFolder(str(tmp_path)).draw(8))[1], Broken)


def test_other_formats_are_not_opened_whatever_their_name(tmp_path):
    _save(tmp_path / "a.png", format="PPM")
    assert list(ImageFolder(str(tmp_path)).draw(8)) == [Broken("a.png: not an image")]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_untidy_exif_does_not_lose_the_picture(tmp_path):
    path = _save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*" + b"\xff" * 30)
    assert decode(path, 8).shape == (3, 8, 8)


# ---- the cache follows the folder ---------------------------------------------------------------------------------


def test_a_changed_folder_is_read_anew(tmp_path):
    path = _save(tmp_path / "photos" / "a.png")
    first = catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data")
    again = catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data")
    assert again.images.filename == first.images.filename
    os.utime(path, (1, 1))
    assert catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data").images.filename != first.images.filename
    _save(tmp_path / "photos" / "b.png", Image.new("RGB", (8, 8), "white"))
    assert len(catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data").images) == 2
    assert len(list((tmp_path / "data" / "cache").glob("*.npy"))) == 1


def test_folders_of_the_same_name_do_not_share_a_cache(tmp_path):
    for parent, colour in (("x", "red"), ("y", "blue")):
        _save(tmp_path / parent / "photos" / "a.png", Image.new("RGB", (8, 8), colour))
    red, blue = (catalogue.load(str(tmp_path / parent / "photos"), 8, tmp_path / "data") for parent in "xy")
    assert red.images[0, 0, 0, 0] == 255 and blue.images[0, 2, 0, 0] == 255
    assert len(list((tmp_path / "data" / "cache").glob("*.npy"))) == 2


# ---- paths as people write them -----------------------------------------------------------------------------------


def test_quotes_tilde_blanks_and_prefix(tmp_path, monkeypatch):
    _save(tmp_path / "my photos" / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    plain = str(tmp_path / "my photos")
    for written in (plain, f'"{plain}"', f"'{plain}'", f" {plain}/ ", "~/my photos", "./my photos", "my photos", "folder:my photos", "folder:~/my photos"):  # fmt: skip
        assert catalogue.describe(written, "nowhere").pictures == 1, written


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "holds no images: put png"),
        ("texts", r"only 2 \.heic"),
        ("photoz", r"there is no folder .*photoz.*there is .*photos"),
        ("missing/deeper/still", "there is no folder"),
        ("photos/a.png", "one image: name the folder that holds it"),
        ("texts/a.heic", "a file, not a folder"),
        ("null\0byte", "there is no folder"),
        ("line\nbreak", "there is no folder"),
        ("x" * 5000, "there is no folder"),
    ],
)
def test_wrong_paths_are_told_in_one_line_with_the_fix(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    for file in ("a.heic", "b.heic"):
        (tmp_path / "texts" / file).write_bytes(b"x")
    _save(tmp_path / "photos" / "a.png")
    for ask in (
        catalogue.describe,
        lambda d, where: catalogue.load(d, 8, where),
        lambda d, where: catalogue.peek(d, 8, 4, where),
    ):
        with pytest.raises(DataError, match=message) as caught:
            ask(f"{tmp_path}/{name}", tmp_path / "data")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 800
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match="permissions"):
        catalogue.describe(str(tmp_path / "locked"), "nowhere")
