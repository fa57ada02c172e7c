"""Paths as people write them, to a folder or a .zip; wrong ones answered in one line with the fix."""

import zipfile

import pytest
from PIL import Image

from ddpm_core.data import catalogue
from ddpm_core.errors import DataError


def _save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), "red").save(path)
    return path


def test_quotes_tilde_blanks_and_prefix(tmp_path, monkeypatch):
    _save(tmp_path / "my photos" / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    plain = str(tmp_path / "my photos")
    for written in (plain, f'"{plain}"', f"'{plain}'", f" {plain}/ ", "~/my photos", "./my photos", "my photos", "folder:my photos", "folder:~/my photos"):  # fmt: skip
        assert catalogue.describe(written, "nowhere").pictures == 1, written


def test_a_zip_is_named_like_a_folder(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "my photos.ZIP", "w") as archive:
        archive.write(_save(tmp_path / "a.png"), "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    plain = str(tmp_path / "my photos.ZIP")
    for written in (plain, f'"{plain}"', "~/my photos.ZIP", "my photos.ZIP", "folder:my photos.ZIP"):
        assert catalogue.describe(written, "nowhere").title == "my photos.ZIP", written
        assert catalogue.absolute(written) == plain, written
    (tmp_path / "folder.zip").mkdir()
    _save(tmp_path / "folder.zip" / "b.png")
    assert catalogue.describe("folder.zip", "nowhere").pictures == 1


def test_a_zip_that_is_a_link_keeps_its_name(tmp_path):
    """As in a cache whose files are named by their hashes."""
    (tmp_path / "blobs").mkdir()
    with zipfile.ZipFile(tmp_path / "blobs" / "0a1b", "w") as archive:
        archive.write(_save(tmp_path / "a.png"), "a.png")
    link = tmp_path / "cats.zip"
    link.symlink_to(tmp_path / "blobs" / "0a1b")
    assert catalogue.absolute(str(link)) == str(link)
    assert catalogue.describe(catalogue.absolute(str(link)), "nowhere").pictures == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "holds no images: put png"),
        ("texts", r"only 2 \.heic"),
        ("photoz", r"there is no folder .*photoz.*there is .*photos"),
        ("missing/deeper/still", "there is no folder"),
        ("photos/a.png", "one image: name the folder that holds it"),
        ("texts/a.heic", "a file, not a folder or a .zip: unpack it"),
        ("photo.zip", "there is no file .*photo.zip.*there is .*photos"),
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


@pytest.mark.parametrize("name", ["folder:", "folder: ", "folder:''"])
def test_a_folder_without_a_name_is_told(tmp_path, name):
    with pytest.raises(DataError, match="no folder is named: write its path"):
        catalogue.describe(name, tmp_path)
