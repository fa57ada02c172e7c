"""Any folder of images: the right files, in the right classes; broken ones left out, changed ones noticed."""

import contextlib
import errno
import os
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ddpm_core.data import catalogue, decoding, image_files
from ddpm_core.data.image_folder import ImageFolder
from ddpm_core.data.source import Broken
from ddpm_core.errors import DataError

HALVES = np.zeros((20, 20, 3), np.uint8)  # left half red, right half blue
HALVES[:, :10] = (255, 0, 0)
HALVES[:, 10:] = (0, 0, 255)


def _save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(HALVES) if image is None else image).save(path, **options)
    return path


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
    assert source.names == ["Zo/é.png", "a/x.JPG", "b/2.PNG", "b/deep/1.jpeg"]
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
    (tmp_path / "a" / "itself.png").symlink_to(tmp_path / "a" / "itself.png")
    _save(tmp_path.parent / f"{tmp_path.name}_else" / "2.png")
    (tmp_path / "b").symlink_to(tmp_path.parent / f"{tmp_path.name}_else", target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.png")
    os.mkdir(tmp_path / "folder.png")
    assert ImageFolder(str(tmp_path)).names == ["a/1.png", "b/2.png"]


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


def test_the_search_tells_its_progress_and_can_be_cancelled(tmp_path):
    for i in range(5):
        _save(tmp_path / f"{i}.png")
    told = []
    assert catalogue.describe(str(tmp_path), "nowhere", lambda *now: told.append(now)).pictures == 5
    assert told[-1] == (f"Looking through {tmp_path}", 5, 0)

    def stop(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalogue.describe(str(tmp_path), "nowhere", stop)


def test_the_search_asks_for_no_files_details(tmp_path, monkeypatch):
    """On a network disk each question takes a millisecond: a million of them would take a quarter of an hour."""
    for i in range(20):
        _save(tmp_path / f"{i % 3}" / f"{i}.png")
    asked: list = []

    def counted(question):
        return lambda path, *rest, **more: asked.append(path) or question(path, *rest, **more)

    class Listed:
        """An entry of a folder, which answers what the listing knew already."""

        def __init__(self, entry):
            self.entry, self.name, self.path = entry, entry.name, entry.path
            self.is_dir, self.is_file, self.stat = (
                entry.is_dir,
                entry.is_file,
                lambda: asked.append(entry.path) or entry.stat(),
            )

    @contextlib.contextmanager
    def listing(path, scandir=os.scandir):
        with scandir(path) as entries:
            yield map(Listed, entries)

    for name in ("stat", "lstat", "access"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    monkeypatch.setattr(os, "scandir", listing)
    info = catalogue.describe(str(tmp_path), "nowhere")
    assert info.pictures == 20 and not [path for path in asked if str(path).endswith(".png")]


def test_the_look_reaches_the_pictures(tmp_path):
    _save(tmp_path / "photos" / "a.png", Image.new("RGB", (40, 20), "red"))
    looks = {
        "center": {},
        "pad": {"crop": "pad"},
        "black": {"crop": "pad", "background": "black"},
        "grey": {"crop": "pad", "background": "black", "colour": "grey"},
    }
    shown = {
        name: catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data", **look).images
        for name, look in looks.items()
    }
    assert shown["center"][0, :, 0, 0].tolist() == [255, 0, 0]
    assert shown["pad"][0, :, 0, 0].tolist() == [255, 255, 255] and shown["pad"][0, :, 4, 4].tolist() == [255, 0, 0]
    assert shown["black"][0, :, 0, 0].tolist() == [0, 0, 0] and shown["black"][0, :, 4, 4].tolist() == [255, 0, 0]
    assert shown["grey"].shape == (1, 1, 8, 8) and shown["grey"][0, 0, [0, 4], 4].tolist() == [0, 76]
    assert len(list((tmp_path / "data" / "cache").glob("*.npy"))) == 4, "each look has a cache of its own"
    for name, look in looks.items():
        again = catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data", **look).images
        assert again.filename == shown[name].filename
        peeked = catalogue.peek(str(tmp_path / "photos"), 8, 1, tmp_path / "data", **look)
        assert np.array_equal(peeked[0].transpose(2, 0, 1), shown[name][0])
    assert catalogue.describe(str(tmp_path / "photos"), "nowhere", colour="grey").channels == 1


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
    assert [file for file, _ in pictures.skipped] == ["003.png", "050.png", "051.png"]
    assert pictures.skipped[2] == ("051.png", "not an image")
    assert all("\n" not in why and str(tmp_path) not in why for _, why in pictures.skipped)


@pytest.mark.parametrize("times", [1, 99])
def test_a_disk_that_is_away_for_a_moment_costs_no_picture(tmp_path, monkeypatch, times):
    """It would be left out of every later run as well: the cache knows only what a file is, not what its disk was."""
    for i in range(40):
        _save(tmp_path / "photos" / f"{i:02}.png")
    decode, failures = decoding.decode, []

    def fails(file, *more):
        if file.name == "07.png" and len(failures) < times:
            failures.append(file)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return decode(file, *more)

    monkeypatch.setattr(decoding, "decode", fails)
    monkeypatch.setattr(image_files, "_PAUSE", 0.0)
    if times > 2:
        with pytest.raises(DataError, match=r"07\.png cannot be read now \(.*\): see whether its disk is there"):
            catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data")
        monkeypatch.undo()
    pictures = catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data")
    assert len(pictures.images) == 40 and pictures.skipped == () and failures


def test_mostly_broken_stops_in_one_line(tmp_path):
    _save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"b\.png: not an image") as caught:
        catalogue.load(str(tmp_path / "photos"), 8, tmp_path / "data")
    (listed,) = (tmp_path / "data").iterdir()
    assert "\n" not in str(caught.value) and str(listed) in str(caught.value)
    assert re.fullmatch(r"skipped_photos-\w{8}\.csv", listed.name)
    assert listed.read_text("utf-8-sig").splitlines() == ["file,reason", "b.png,not an image"]


def test_a_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 399)
    _save(tmp_path / "a.png")
    (item,) = ImageFolder(str(tmp_path)).draw(8)
    assert item == Broken("a.png", "20 x 20 pixels, more than 399")
    header = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    assert isinstance(list(ImageFolder(str(tmp_path)).draw(8))[1], Broken)


def test_other_formats_are_not_opened_whatever_their_name(tmp_path):
    _save(tmp_path / "a.png", format="PPM")
    assert list(ImageFolder(str(tmp_path)).draw(8)) == [Broken("a.png", "not an image")]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_untidy_exif_does_not_lose_the_picture(tmp_path):
    _save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*" + b"\xff" * 30)
    ((picture, _),) = ImageFolder(str(tmp_path)).draw(8)
    assert picture.shape == (3, 8, 8)


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


def test_a_file_that_is_opened_to_us_later_is_read_then(tmp_path, monkeypatch):
    _save(tmp_path / "photos" / "a.png")
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("a.png") and allowed(path, mode))
    closed = ImageFolder(str(tmp_path / "photos")).version()
    monkeypatch.undo()
    assert ImageFolder(str(tmp_path / "photos")).version() != closed


def test_folders_of_the_same_name_do_not_share_a_cache(tmp_path):
    for parent, colour in (("x", "red"), ("y", "blue")):
        _save(tmp_path / parent / "photos" / "a.png", Image.new("RGB", (8, 8), colour))
    red, blue = (catalogue.load(str(tmp_path / parent / "photos"), 8, tmp_path / "data") for parent in "xy")
    assert red.images[0, 0, 0, 0] == 255 and blue.images[0, 2, 0, 0] == 255
    assert len(list((tmp_path / "data" / "cache").glob("*.npy"))) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match="permissions"):
        catalogue.describe(str(tmp_path / "locked"), "nowhere")
