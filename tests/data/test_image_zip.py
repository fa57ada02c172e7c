"""A .zip of images: read where it lies, with the classes of its folders; damage, locks and bombs told in one line."""

import errno
import io
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_core.data import catalogue, decoding, image_zip
from ddpm_core.data.image_folder import ImageFolder
from ddpm_core.data.image_zip import ImageZip
from ddpm_core.data.source import Broken
from ddpm_core.errors import DataError


@pytest.fixture
def photos(tmp_path):
    """A folder of 2 classes with 3 pictures, and junk as macOS and Windows leave it."""
    folder = tmp_path / "photos"
    for i, name in enumerate(("cats/1.png", "cats/deep/2.PNG", "dögs/3.jpg")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), (i * 100, 0, 0)).save(folder / name)
    for junk in ("__MACOSX/cats/._1.png", "cats/.DS_Store", ".hidden/4.png", "cats/Thumbs.db", "notes.txt"):
        (folder / junk).parent.mkdir(parents=True, exist_ok=True)
        (folder / junk).write_bytes(b"junk")
    return folder


def _pack(folder, target, *, start="", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.write(path, start + str(path.relative_to(folder)))
    return target


@pytest.mark.parametrize("start", ["", "photos/", "deeper/photos/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_it_is_what_the_folder_is(tmp_path, photos, start, method):
    archive = _pack(photos, tmp_path / "photos.zip", start=start, method=method)
    packed, plain = ImageZip(str(archive)), ImageFolder(str(photos))
    assert packed.info.classes == plain.info.classes == ("cats", "dögs")
    assert packed.info.pictures == 3 and packed.info.channels == 3
    for (one, label), (other, same) in zip(packed.draw(16), plain.draw(16), strict=True):
        assert np.array_equal(one, other) and label == same


def test_loading_peeking_and_the_look(tmp_path, photos):
    archive = str(_pack(photos, tmp_path / "photos.zip"))
    pictures = catalogue.load(archive, 8, tmp_path / "data")
    assert pictures.labels.tolist() == [0, 0, 1] and pictures.images[:, 0, 4, 4].tolist()[:2] == [0, 100]
    assert np.array_equal(catalogue.peek(archive, 8, 3, tmp_path / "data"), pictures.images.transpose(0, 2, 3, 1))
    padded = catalogue.load(archive, 8, tmp_path / "data", crop="pad", background="grey", colour="grey")
    assert padded.images.shape == (3, 1, 8, 8) and padded.images[0, 0, [0, 4], 4].tolist() == [128, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "photos", "photos.zip"], "nothing is unpacked"
    assert len(os.listdir(tmp_path / "data" / "cache")) == 4


def test_a_flat_zip_has_no_classes_and_backslashes_are_slashes(tmp_path, photos):
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        archive.write(photos / "cats" / "1.png", "1.png")
    assert ImageZip(str(tmp_path / "flat.zip")).info.classes == ()
    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as archive:
        archive.write(photos / "cats" / "1.png", "all\\cats\\1.png")
        archive.write(photos / "dögs" / "3.jpg", "all\\dogs\\3.jpg")
        archive.write(photos / "dögs" / "3.jpg", "/4.jpg")
    source = ImageZip(str(tmp_path / "windows.zip"))
    assert source.info.classes == ("(top folder)", "all")
    assert [label for _, label in source.draw(8)] == [0, 1, 1]


def test_two_files_of_one_name_are_one_picture_the_last(tmp_path, photos):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        warnings.simplefilter("ignore")  # zipfile's own, about the name
        for name, colour in (("x.png", "red"), ("./y.png", "red"), ("x.png", "blue"), ("y.png", "blue")):
            content = io.BytesIO()
            Image.new("RGB", (8, 8), colour).save(content, "PNG")
            archive.writestr(name, content.getvalue())
    source = ImageZip(str(tmp_path / "twice.zip"))
    assert source.info.pictures == 2
    assert [picture[:, 0, 0].tolist() for picture, _ in source.draw(8)] == [[0, 0, 255]] * 2


def test_a_changed_zip_is_noticed_and_an_untouched_one_is_known_by_its_content(tmp_path, photos):
    archive = _pack(photos, tmp_path / "photos.zip")
    first = catalogue.load(str(archive), 8, tmp_path / "data").images.filename
    os.utime(archive, (1, 1))
    assert catalogue.load(str(archive), 8, tmp_path / "data").images.filename == first, "the same bytes, only touched"
    Image.new("RGB", (40, 20), (9, 9, 9)).save(photos / "cats" / "1.png")
    _pack(photos, archive)
    changed = catalogue.load(str(archive), 8, tmp_path / "data").images
    assert changed.filename != first and (changed[0] == 9).all()


# ---- what cannot be read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "is cut off or damaged"),
        (lambda whole: whole[:-10], "is cut off or damaged"),
        (lambda whole: b"", "is empty"),
        (lambda whole: b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded", "is a web page"),
        (lambda whole: b"\n\n<HTML>Sign in</HTML>", "is a web page"),
        (lambda whole: b"Rar!\x1a\x07\x00" + whole[50:200], "is no .zip, whatever its name"),
        (lambda whole: b"PK\x05\x06" + bytes(18), "holds no images"),
    ],
)
def test_what_is_no_whole_zip_is_told_in_one_line(tmp_path, photos, damage, message):
    archive = _pack(photos, tmp_path / "photos.zip")
    archive.write_bytes(damage(archive.read_bytes()))
    for ask in (
        catalogue.describe,
        lambda d, where: catalogue.load(d, 8, where),
        lambda d, where: catalogue.peek(d, 8, 4, where),
    ):
        with pytest.raises(DataError, match=message) as caught:
            ask(str(archive), tmp_path / "data")
        assert str(archive) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_zip_that_goes_away_meanwhile_is_told(tmp_path, photos):
    archive = _pack(photos, tmp_path / "photos.zip")
    source = ImageZip(str(archive))
    archive.unlink()
    with pytest.raises(DataError, match="cannot be read .*: put it back"):
        list(source.draw(8))


@pytest.mark.parametrize("opening", ["builtins.open", "zipfile.io.open"])  # of its first bytes, and of its list
def test_a_zip_on_a_disk_that_fails_is_one_line(tmp_path, photos, monkeypatch, opening):
    archive, real_open = _pack(photos, tmp_path / "photos.zip"), open

    def failing(path, *more, **named):
        if Path(path) == archive:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real_open(path, *more, **named)

    monkeypatch.setattr(opening, failing)
    with pytest.raises(DataError, match=r"cannot be read \(.*\): see whether its disk is there"):
        ImageZip(str(archive))


def test_an_encrypted_zip_and_a_strange_packing_are_told(tmp_path, photos):
    archive = _pack(photos, tmp_path / "photos.zip")
    whole = archive.read_bytes()
    for offset, byte, message in ((8, 1, "is encrypted: unpack it"), (10, 9, r"cannot be read here \(method 9\)")):
        content = bytearray(whole)
        at = content.find(b"PK\x01\x02")
        while at >= 0:  # the flags, or the method, of every entry in the archive's list
            content[at + offset] |= byte
            at = content.find(b"PK\x01\x02", at + 1)
        archive.write_bytes(content)
        os.utime(archive, ns=(byte, byte))
        with pytest.raises(DataError, match=message) as caught:
            catalogue.describe(str(archive), "nowhere")
        assert "\n" not in str(caught.value)


def test_a_damaged_picture_inside_is_skipped_and_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(40):
            Image.new("RGB", (20, 20), (i, 0, 0)).save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", f"photos/{i:02}.png")
        archive.writestr("photos/text.jpg", "no picture")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.find(b"photos/07.png") + 60] ^= 255  # inside that picture: its checksum is wrong now
    (tmp_path / "a.zip").write_bytes(content)
    pictures = catalogue.load(str(tmp_path / "a.zip"), 8, tmp_path / "data")
    assert len(pictures.images) == 39
    assert [file for file, _ in pictures.skipped] == ["photos/07.png", "photos/text.jpg"]
    assert "CRC" in pictures.skipped[0][1] and pictures.skipped[1][1] == "not an image"


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    Image.new("1", (3000, 3000)).save(tmp_path / "large.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(3_000_000))
        archive.write(tmp_path / "large.png", "large.png")
    monkeypatch.setattr(image_zip, "MAX_BYTES", 2_999_999)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 8_999_999)
    assert list(ImageZip(str(tmp_path / "a.zip")).draw(8)) == [
        Broken("large.png", "3000 x 3000 pixels, more than 8,999,999"),
        Broken("zeros.png", "3,000,000 bytes when unpacked, more than 2,999,999"),
    ]


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_beyond_it(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(50_000_000))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for at in (content.find(b"PK\x01\x02") + 24, content.find(b"PK\x03\x04") + 22):
        content[at : at + 4] = (1000).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    read = []
    real = zipfile.ZipExtFile._read1

    def watched(self, n):
        data = real(self, n)
        read.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "_read1", watched)
    (item,) = ImageZip(str(tmp_path / "a.zip")).draw(8)
    assert isinstance(item, Broken) and sum(read) <= 1000
