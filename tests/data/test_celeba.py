"""CelebA as people have it: torchvision's layout with its lists, a plain folder of jpgs, or the zip; and its damage."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from ddpm_core.data import catalogue
from ddpm_core.errors import DataError

COUNT = 40


def _face(number: int) -> Image.Image:
    return Image.new("RGB", (178, 218), (number * 5, 100, 50))


def _jpgs(folder):
    folder.mkdir(parents=True)
    for number in range(1, COUNT + 1):
        _face(number).save(folder / f"{number:06}.jpg", quality=95)
    return folder


def _lists(home):
    """The five lists as they come, of which the one that names every file is enough for us."""
    names = [f"{number:06}.jpg" for number in range(1, COUNT + 1)]
    home.mkdir(parents=True, exist_ok=True)
    (home / "list_eval_partition.txt").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    (home / "identity_CelebA.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(names)))
    rows = "".join(f"{name}  1 -1\n" for name in names)
    (home / "list_attr_celeba.txt").write_text(f"{COUNT}\nMale Smiling\n{rows}")
    (home / "list_bbox_celeba.txt").write_text(f"{COUNT}\nimage_id x_1 y_1\n{rows}")
    (home / "list_landmarks_align_celeba.txt").write_text(f"{COUNT}\nlefteye_x lefteye_y\n{rows}")


def _zip(path, folder):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:  # stored and in a folder, as the real one
        for file in sorted(folder.iterdir()):
            archive.write(file, f"img_align_celeba/{file.name}")


def _as_torchvision(data, jpgs):
    _lists(data / "celeba")
    jpgs.rename(data / "celeba" / "img_align_celeba")


def _as_folder_in_celeba(data, jpgs):
    data.mkdir()
    jpgs.rename(data / "celeba")


def _as_folder(data, jpgs):
    data.mkdir()
    jpgs.rename(data / "img_align_celeba")


def _as_zip_in_celeba(data, jpgs):
    _zip(data / "celeba" / "img_align_celeba.zip", jpgs)


def _as_zip(data, jpgs):
    _zip(data / "img_align_celeba.zip", jpgs)


@pytest.mark.parametrize(
    "lay", [_as_torchvision, _as_folder_in_celeba, _as_folder, _as_zip_in_celeba, _as_zip], ids=lambda f: f.__name__
)
def test_it_is_found_wherever_people_put_it(tmp_path, lay):
    data = tmp_path / "data"
    lay(data, _jpgs(tmp_path / "jpgs"))
    before = sorted(path for path in data.rglob("*"))
    info = catalogue.describe("celeba", data)
    assert info.key == "celeba" and info.pictures == COUNT and info.classes == ()
    shown = catalogue.peek("celeba", 32, COUNT, data)
    assert sorted(path for path in data.rglob("*")) == before, "nothing is unpacked"
    pictures = catalogue.load("celeba", 32, data)
    assert pictures.images.shape == (COUNT, 3, 32, 32) and pictures.labels is None
    assert np.array_equal(shown, pictures.images.transpose(0, 2, 3, 1))
    reds = pictures.images[:, 0, 16, 16].astype(int)
    assert abs(reds - 5 * np.arange(1, COUNT + 1)).max() <= 3, "in the order of their numbers"
    padded = catalogue.load("celeba", 32, data, crop="pad", background="black").images
    assert padded[0, :, 16, :2].max() == 0 and padded[0, 1, 0, 16] > 90, "all of the face, black at its sides"
    assert {path.name.split("_")[0] for path in (data / "cache").iterdir()} == {"celeba", "celeba-pad-black"}


def test_where_it_is_not_one_line_says_which_file_to_put_where(tmp_path):
    for ask in (lambda d, where: catalogue.load(d, 32, where), lambda d, where: catalogue.peek(d, 32, 4, where)):
        with pytest.raises(DataError, match=r"get img_align_celeba\.zip \(1\.4 GB\).*put it into .*celeba") as caught:
            ask("celeba", tmp_path / "data")
        assert "--dataset=imagenet --size=96" in str(caught.value) and "--dataset=openmoji" in str(caught.value)
        assert "\n" not in str(caught.value) and str(tmp_path / "data" / "celeba") in str(caught.value)
    assert catalogue.describe("celeba", tmp_path / "data").pictures == 202_599
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda whole: whole[: len(whole) // 2], "is cut off or damaged"),
        (lambda whole: b"<!DOCTYPE html><html>Google Drive: quota exceeded</html>", "is a web page"),
    ],
)
def test_a_zip_that_is_none_is_told_unless_a_folder_lies_beside_it(tmp_path, damage, why):
    jpgs = _jpgs(tmp_path / "jpgs")
    _zip(tmp_path / "celeba" / "img_align_celeba.zip", jpgs)
    path = tmp_path / "celeba" / "img_align_celeba.zip"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{why}.*--dataset=imagenet --size=96") as caught:
        catalogue.load("celeba", 32, tmp_path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    jpgs.rename(tmp_path / "celeba" / "img_align_celeba")
    assert catalogue.describe("celeba", tmp_path).pictures == COUNT


def test_a_folder_that_was_unpacked_by_half_is_noticed(tmp_path):
    _as_torchvision(tmp_path, _jpgs(tmp_path / "jpgs"))
    folder = tmp_path / "celeba" / "img_align_celeba"
    (folder / "000040.jpg").unlink()
    (folder / "000039.jpg").unlink()
    assert catalogue.describe("celeba", tmp_path).pictures == 38, "5 % may be missing"
    (folder / "000038.jpg").unlink()
    with pytest.raises(DataError, match=r"only 37 of the 40 pictures.*unpack img_align_celeba\.zip again"):
        catalogue.describe("celeba", tmp_path)
    _zip(tmp_path / "celeba" / "img_align_celeba.zip", folder)
    assert catalogue.describe("celeba", tmp_path).pictures == 37, "the zip is whole, as far as one can see"


@pytest.mark.parametrize("page", [True, False], ids=["the list is a web page", "the pictures are png"])
def test_a_whole_folder_is_whole_whatever_lies_beside_it(tmp_path, page):
    _as_torchvision(tmp_path, _jpgs(tmp_path / "jpgs"))
    folder = tmp_path / "celeba" / "img_align_celeba"
    if page:  # as Google Drive sends it instead of the list
        quota = "<!DOCTYPE html>\n<html>\n<p class=x>Quota exceeded, error 2\n</html>\n"
        (tmp_path / "celeba" / "list_eval_partition.txt").write_text(quota)
    else:  # img_align_celeba_png, the same faces without loss
        for file in sorted(folder.iterdir()):
            file.rename(file.with_suffix(".png"))
    assert catalogue.describe("celeba", tmp_path).pictures == COUNT
