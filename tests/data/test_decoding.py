"""One image file to one square: upright, true in every mode Pillow knows, cropped or padded, never squashed."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from ddpm_core.data import decoding
from ddpm_core.data.decoding import decode, luma
from ddpm_core.data.source import Look

HALVES = np.zeros((20, 20, 3), np.uint8)  # left half red, right half blue
HALVES[:, :10] = (255, 0, 0)
HALVES[:, 10:] = (0, 0, 255)
GREYS = {"white": 255, "black": 0, "grey": 128}


def _save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(HALVES) if image is None else image).save(path, **options)
    return path


def _colour(path, size=8, **look):
    picture = decode(path, size, Look(**look))
    assert picture.shape == (1 if look.get("colour") == "grey" else 3, size, size) and picture.dtype == np.uint8
    return tuple(int(v) for v in np.median(picture.reshape(len(picture), -1), axis=1))


@pytest.fixture(params=["center", "pad"])
def crop(request):
    return request.param


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
def test_modes(tmp_path, mode, value, ending, expected, crop):
    options = {"lossless": True} if ending == "webp" else {}
    path = _save(tmp_path / f"a.{ending}", Image.new(mode, (16, 16), value), **options)
    assert _colour(path, crop=crop) == expected
    red, green, blue = expected
    assert _colour(path, crop=crop, colour="grey") == (round(0.299 * red + 0.587 * green + 0.114 * blue),)


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (0x8000, 128), (65535, 255)])
def test_16_bits_are_scaled_not_cut_off(tmp_path, crop, ending, value, expected):
    image = Image.fromarray(np.full((16, 16), value, np.uint16))
    assert image.mode == "I;16"
    assert _colour(_save(tmp_path / f"a.{ending}", image), crop=crop) == (expected,) * 3


def test_16_bit_colour(tmp_path, crop):
    """Pillow writes no such file, so this one is made by hand."""
    row = b"\0" + struct.pack(">3H", 65535, 0x8000, 0) * 4
    chunks = [(b"IHDR", struct.pack(">2I5B", 4, 4, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row * 4)), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        file += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    (tmp_path / "a.png").write_bytes(file)
    assert _colour(tmp_path / "a.png", crop=crop) == (255, 128, 0)
    assert _colour(tmp_path / "a.png", crop=crop, colour="grey") == (151,)


def test_cmyk_jpeg_and_grey_jpeg(tmp_path, crop):
    cyan = _colour(_save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (255, 0, 0, 0)), quality=95), crop=crop)
    assert cyan[0] < 10 and cyan[1] > 245 and cyan[2] > 245
    assert _colour(_save(tmp_path / "b.jpg", Image.new("L", (16, 16), 60), quality=95), crop=crop) == (60, 60, 60)


def _profile(damage=False) -> bytes:
    """One that means blue where it says red, and red where it says blue: sRGB's, with its two primaries swapped."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tmp ").replace(b"bXYZ", b"rXYZ").replace(b"tmp ", b"bXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "Test".encode("utf-16-be"))
    return swapped[:200] if damage else swapped


@pytest.mark.parametrize(
    ("ending", "mode"), [("png", "RGB"), ("png", "RGBA"), ("jpg", "RGB"), ("tiff", "RGB"), ("webp", "RGB")]
)
def test_colours_are_those_that_the_profile_means(tmp_path, crop, ending, mode):
    red = Image.new(mode, (16, 16), (255, 0, 0))
    options = {"quality": 95} if ending == "jpg" else {"lossless": True} if ending == "webp" else {}
    plain = _colour(_save(tmp_path / f"plain.{ending}", red, **options), crop=crop)
    meant = _colour(_save(tmp_path / f"a.{ending}", red, icc_profile=_profile(), **options), crop=crop)
    assert np.abs(np.subtract(plain, (255, 0, 0))).max() <= 2 and np.abs(np.subtract(meant, (0, 0, 255))).max() <= 2


def test_what_is_transparent_stays_so_beside_a_profile(tmp_path, crop):
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    assert _colour(_save(tmp_path / "a.png", clear, icc_profile=_profile()), crop=crop) == (255, 255, 255)
    # One colour that counts as transparent, and palettes.
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    path = _save(tmp_path / "key.png", red, icc_profile=_profile(), transparency=(255, 0, 0))
    assert _colour(path, crop=crop, background="grey") == (128, 128, 128)
    grey = _save(tmp_path / "grey.png", Image.new("L", (16, 16), 60), icc_profile=_profile(), transparency=60)
    assert _colour(grey, crop=crop) == (255, 255, 255)
    palette = _save(tmp_path / "palette.png", red.quantize(4), icc_profile=_profile())
    assert np.abs(np.subtract(_colour(palette, crop=crop), (0, 0, 255))).max() <= 2


def test_grey_and_inks_have_profiles_too(tmp_path, crop):
    """One that does not fit, as sRGB's of three colours beside one grey, counts for nothing."""
    grey = _save(tmp_path / "a.png", Image.new("L", (16, 16), 60), icc_profile=_profile())
    assert _colour(grey, crop=crop) == (60, 60, 60)
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    plain, profiled = (
        _save(tmp_path / f"{name}.jpg", cyan, quality=95, **options)
        for name, options in (("b", {}), ("c", {"icc_profile": _profile()}))
    )
    assert _colour(plain, crop=crop) == _colour(profiled, crop=crop)


def test_a_profile_of_srgb_or_none_at_all_changes_nothing(tmp_path, crop):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    expected = decode(_save(tmp_path / "plain.png", noise), 16, Look(crop=crop))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for number, profile in enumerate((srgb, _profile(damage=True), b"no profile")):
        path = _save(tmp_path / f"{number}.png", noise, icc_profile=profile)
        assert np.array_equal(decode(path, 16, Look(crop=crop)), expected)


def test_white_of_a_float_picture_may_be_a_little_over(tmp_path, crop):
    """As resizing leaves it."""
    ramp = np.linspace(0, 1.02, 256, dtype=np.float32).reshape(16, 16)
    picture = decode(_save(tmp_path / "a.tiff", Image.fromarray(ramp)), 16, Look(crop=crop))
    assert abs(picture.mean() - 128) < 3 and picture.max() == 255


def test_palettes_with_and_without_transparency(tmp_path):
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    opaque = [_save(tmp_path / name, image) for name in ("a.png", "c.gif")]
    clear = [_save(tmp_path / name, image, transparency=1) for name in ("b.png", "d.gif")]
    for background, value in GREYS.items():
        assert [_colour(path, background=background) for path in opaque] == [(10, 200, 30)] * 2
        assert [_colour(path, background=background) for path in clear] == [(value,) * 3] * 2


def test_an_animation_gives_its_first_picture(tmp_path, crop):
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    for ending in ("gif", "webp", "png"):
        path = _save(tmp_path / f"a.{ending}", red, save_all=True, append_images=[blue])
        red_value, green, blue_value = _colour(path, crop=crop)
        assert red_value > 240 and green < 10 and blue_value < 10, ending


@pytest.mark.parametrize(("background", "value"), GREYS.items())
def test_transparency_lies_on_the_chosen_background(tmp_path, crop, background, value):
    look = {"crop": crop, "background": background}
    half = round(value * (1 - 128 / 255))
    for mode, ink, expected in (
        ("RGBA", (90, 60, 30, 0), (value,) * 3),
        ("RGBA", (0, 0, 0, 128), (half,) * 3),
        ("LA", (77, 0), (value,) * 3),
        ("LA", (77, 255), (77,) * 3),
    ):
        path = _save(tmp_path / "a.png", Image.new(mode, (16, 16), ink))
        assert _colour(path, **look) == pytest.approx(expected, abs=1)
    rgb = Image.new("RGB", (16, 16), (1, 2, 3))
    assert _colour(_save(tmp_path / "b.png", rgb, transparency=(1, 2, 3)), **look) == (value,) * 3
    assert _colour(_save(tmp_path / "c.png", rgb, transparency=(3, 2, 1)), **look) == (1, 2, 3)


def test_an_invisible_colour_does_not_shine_through_at_an_edge(tmp_path):
    """Red that is wholly transparent beside opaque white: resized before it was laid on white, the edge would be pink."""
    pixels = np.full((32, 32, 4), 255, np.uint8)
    pixels[:, :15] = (255, 0, 0, 0)
    path = _save(tmp_path / "a.png", Image.fromarray(pixels))
    for crop in ("center", "pad"):
        assert (decode(path, 8, Look(crop)) == 255).all()


def test_grey_pictures_beside_colour_ones_are_alike(tmp_path):
    grey = _save(tmp_path / "a.png", Image.new("L", (16, 16), 99))
    colour = _save(tmp_path / "b.png", Image.new("RGB", (16, 16), (200, 100, 50)))
    assert _colour(grey) == _colour(grey, colour="colour") == (99, 99, 99)
    assert _colour(grey, colour="grey") == (99,)
    assert _colour(colour, colour="grey") == (124,), "0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2"


def test_luma_is_exact_for_grey_and_pillows_for_colours():
    values = np.arange(256, dtype=np.uint8)
    assert np.array_equal(luma(np.broadcast_to(values, (3, 1, 256)))[0, 0], values)
    rgb = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    assert np.array_equal(luma(rgb.transpose(2, 0, 1))[0], np.asarray(Image.fromarray(rgb).convert("L")))
    corners = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8).T[:, None]
    assert luma(corners)[0, 0].tolist() == [76, 150, 29]


def test_a_file_in_memory_is_as_good_as_one_on_the_disk(tmp_path):
    path = _save(tmp_path / "a.png")
    assert np.array_equal(decode(io.BytesIO(path.read_bytes()), 8), decode(path, 8))


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
    for crop in ("center", "pad"):
        picture = decode(path, 8, Look(crop)).astype(int)
        assert picture[0, 1, 1] > 200 and picture[1, 1, 6] > 200 and picture[2, 6, 1] > 200
        assert picture[1:, 1, 1].max() < 60 and picture[:, 6, 6].max() < 60


def test_a_photo_taken_upright_is_padded_at_its_sides(tmp_path):
    """Its pixels lie 60 wide and 20 high, its EXIF note says to turn them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = _save(tmp_path / "a.png", Image.new("RGB", (60, 20), "red"), exif=exif)
    picture = decode(path, 30, Look("pad", "black"))
    assert (picture[0, :, 10:20] == 255).all() and picture[0, :, :10].max() == picture[0, :, 20:].max() == 0


@pytest.mark.parametrize("shape", [(20, 60), (60, 20)])
def test_the_middle_square_is_taken(tmp_path, shape):
    values = np.zeros((*shape, 3), np.uint8)
    middle = [slice((side - 20) // 2, (side + 20) // 2) for side in shape]
    values[tuple(middle)] = 255
    assert (decode(_save(tmp_path / "a.png", Image.fromarray(values)), 10) == 255).all()


@pytest.mark.parametrize(("background", "value"), GREYS.items())
@pytest.mark.parametrize(("shape", "inner"), [((16, 64), (8, 32)), ((64, 16), (32, 8)), ((64, 64), (32, 32))])
def test_padding_shows_the_whole_picture_and_squashes_nothing(tmp_path, shape, inner, background, value):
    pixels = np.zeros((*shape, 3), np.uint8)  # four even quarters
    pixels[: shape[0] // 2, : shape[1] // 2] = (200, 0, 0)
    pixels[shape[0] // 2 :, shape[1] // 2 :] = (0, 0, 200)
    picture = decode(_save(tmp_path / "a.png", Image.fromarray(pixels)), 32, Look("pad", background)).astype(int)
    top, left = ((32 - side) // 2 for side in inner)
    middle = picture[:, top : top + inner[0], left : left + inner[1]]
    high, wide = inner[0] // 2, inner[1] // 2
    assert middle[0, :high, :wide].mean() > 195 and middle[2, high:, wide:].mean() > 195
    assert middle[:, :high, wide:].mean() < 5 and middle[:, high:, :wide].mean() < 5
    around = np.ones((32, 32), bool)
    around[top : top + inner[0], left : left + inner[1]] = False
    assert (picture[:, around] == value).all()


def test_a_round_thing_stays_round(tmp_path):
    y, x = np.mgrid[:90, :200]
    disc = ((y - 44.5) ** 2 + (x - 99.5) ** 2 < 40**2).astype(np.uint8) * 255
    path = _save(tmp_path / "a.png", Image.fromarray(disc))
    for crop in ("center", "pad"):
        ink = decode(path, 64, Look(crop, "black", "grey"))[0] > 127
        assert abs(int(ink.any(axis=0).sum()) - int(ink.any(axis=1).sum())) <= 1 and ink.any()


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_reduction_is_antialiased_and_keeps_the_mean(tmp_path, ending, crop):
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    picture = decode(_save(tmp_path / f"a.{ending}", Image.fromarray(stripes)), 16, Look(crop))
    assert abs(picture.astype(float) - 127.5).max() < 4


def test_one_pixel_is_enlarged_and_odd_sizes_work(tmp_path):
    for crop in ("center", "pad"):
        assert _colour(_save(tmp_path / "a.png", Image.new("RGB", (1, 1), (9, 8, 7))), 32, crop=crop) == (9, 8, 7)
        assert decode(_save(tmp_path / "b.jpg", Image.new("RGB", (333, 77))), 96, Look(crop)).shape == (3, 96, 96)
    red = _save(tmp_path / "c.png", Image.new("RGB", (3000, 1), "red"))
    assert (decode(red, 8)[0] == 255).all() and decode(red, 8)[1:].max() == 0
    line = decode(red, 8, Look("pad", "black"))[0]
    assert (line[3] == 255).all() and line.sum() == 8 * 255, "a line of one pixel, as thin as can be"
    tall = decode(_save(tmp_path / "d.png", Image.new("L", (1, 3000), 255)), 8, Look("pad", "black", "grey"))[0]
    assert (tall[:, 3] == 255).all() and tall.sum() == 8 * 255


def test_a_large_photo_is_decoded_small_and_is_the_same(tmp_path):
    y, x = np.mgrid[:600, :900]
    smooth = np.stack([x * 255 // 899, y * 255 // 599, (x + y) * 255 // 1498], axis=2).astype(np.uint8)
    photo = _save(tmp_path / "a.jpg", Image.fromarray(smooth), quality=97)
    exact = _save(tmp_path / "a.png", Image.fromarray(smooth))
    for crop in ("center", "pad"):
        difference = decode(photo, 32, Look(crop)).astype(int) - decode(exact, 32, Look(crop)).astype(int)
        assert abs(difference).max() <= 6


def test_a_photo_counts_as_large_as_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100 * 80)
    photo = _save(tmp_path / "a.jpg", Image.new("RGB", (800, 640), "red"))
    assert decode(photo, 8).shape == (3, 8, 8), "of 800 x 640 pixels an eighth is decoded"
    with pytest.raises(ValueError, match="800 x 640 pixels"):
        decode(_save(tmp_path / "a.png", Image.new("RGB", (800, 640))), 8)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 399)
    with pytest.raises(ValueError, match="20 x 20 pixels, more than 399"):
        decode(_save(tmp_path / "a.png"), 8)
