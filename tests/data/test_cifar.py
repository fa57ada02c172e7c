"""CIFAR-10 and CIFAR-100 in their real layout: pickled batches in a .tar.gz, unpickled only where the checksums are right."""

import pickle

import numpy as np
import pytest
from PIL import Image

from ddpm_core.data import catalogue
from ddpm_core.data.torchvision_sets import datasets
from ddpm_core.errors import DataError

PHOTOS = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
HUNDRED = PHOTOS[::-1].copy()


@pytest.fixture
def small_cifar(known_archive):
    """CIFAR-10's archive with 12 pictures in its five and one batches."""
    batches = {
        f"data_batch_{k + 1}": {"data": PHOTOS[2 * k : 2 * k + 2].reshape(2, -1), "labels": [k, 9 - k]}
        for k in range(5)
    }
    test = {"data": PHOTOS[10:].reshape(2, -1), "labels": [0, 0]}
    return known_archive(
        datasets().CIFAR10,
        {
            "train_list": {name: pickle.dumps(batch) for name, batch in batches.items()},
            "test_list": {"test_batch": pickle.dumps(test)},
            "meta": {"batches.meta": pickle.dumps({"label_names": list("abcdefghij")})},
        },
    )


@pytest.fixture
def small_cifar100(known_archive):
    """CIFAR-100's: one file each for training and test, fine labels beside coarse ones."""

    def pack(photos, labels):
        coarse = [label // 5 for label in labels]
        return pickle.dumps({"data": photos.reshape(len(photos), -1), "fine_labels": labels, "coarse_labels": coarse})

    return known_archive(
        datasets().CIFAR100,
        {
            "train_list": {"train": pack(HUNDRED[:3], [99, 0, 50])},
            "test_list": {"test": pack(HUNDRED[3:], list(range(9)))},
            "meta": {"meta": pickle.dumps({"fine_label_names": ["x"] * 100, "coarse_label_names": ["y"] * 20})},
        },
    )


def test_cifar10_from_an_archive_put_there_by_hand(tmp_path, small_cifar, no_network):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_cifar)
    with pytest.raises(DataError, match="training unpacks it"):
        catalogue.peek("cifar10", 64, 4, tmp_path)
    told = []
    pictures = catalogue.load("cifar10", 32, tmp_path, lambda *now: told.append(now))
    assert {"Checking cifar-10-python.tar.gz (bytes)", "Unpacking cifar-10-python.tar.gz (bytes)"} < {
        t[0] for t in told
    }
    assert np.array_equal(pictures.images, PHOTOS[:10])
    assert pictures.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5] and pictures.classes[3] == "cat"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cache",
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
    ]
    larger = catalogue.peek("cifar10", 64, 4, tmp_path)
    expected = Image.fromarray(PHOTOS[0].transpose(1, 2, 0)).resize((64, 64), Image.Resampling.BICUBIC)
    assert larger.shape == (4, 64, 64, 3) and np.array_equal(larger[0], np.asarray(expected))


def test_unpacking_can_be_cancelled_and_leaves_nothing(tmp_path, small_cifar, no_network):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_cifar)

    def stop(what, done, total):
        if what.startswith("Unpacking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalogue.load("cifar10", 32, tmp_path, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-python.tar.gz"]


def test_cifar100_has_its_hundred_fine_classes(tmp_path, small_cifar100, no_network):
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(small_cifar100)
    pictures = catalogue.load("cifar100", 32, tmp_path)
    assert np.array_equal(pictures.images, HUNDRED[:3]) and len(pictures.classes) == 100
    assert [pictures.classes[label] for label in pictures.labels] == ["worm", "apple", "mouse"]


def test_grey_is_the_luma_of_the_colours(tmp_path, small_cifar, no_network):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_cifar)
    for size in (16, 32, 64):
        colour = catalogue.load("cifar10", size, tmp_path).images
        grey = catalogue.load("cifar10", size, tmp_path, colour="grey").images
        assert grey.shape == (10, 1, size, size)
        for one, other in zip(colour, grey, strict=True):
            assert np.array_equal(np.asarray(Image.fromarray(one.transpose(1, 2, 0)).convert("L")), other[0])
    assert np.array_equal(catalogue.peek("cifar10", 64, 3, tmp_path, colour="grey")[0, ..., 0], grey[0, 0])


def test_what_does_not_matter_for_squares_makes_no_second_cache(tmp_path, small_cifar, no_network):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_cifar)
    first = catalogue.load("cifar10", 32, tmp_path)
    same = catalogue.load("cifar10", 32, tmp_path, crop="pad", background="black", colour="colour")
    assert same.images.filename == first.images.filename


def test_a_damaged_cifar10_is_never_unpickled(tmp_path, small_cifar, no_network):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_cifar)
    catalogue.load("cifar10", 32, tmp_path)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(f"cos\nsystem\n(S'touch {tmp_path / 'hacked'}'\ntR.".encode())
    with pytest.raises(DataError, match="cifar-10-batches-py is damaged, delete it") as caught:
        catalogue.load("cifar10", 64, tmp_path)
    assert "\n" not in str(caught.value) and not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda whole: whole[:-50], "cut off or damaged"),
        (lambda whole: b"", "cut off or damaged"),
        (lambda whole: b"<!DOCTYPE html><html>Too many users</html>", "a web page"),
    ],
)
def test_a_damaged_archive_is_told(tmp_path, small_cifar, no_network, damage, why):
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(damage(small_cifar))
    with pytest.raises(DataError, match=rf"{why}.*delete it.*put cifar-10-python\.tar\.gz") as caught:
        catalogue.load("cifar10", 32, tmp_path)
    assert "\n" not in str(caught.value)
    assert archive.read_bytes() == damage(small_cifar), "a person's file is not overwritten"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar-10-python.tar.gz"]


@pytest.mark.parametrize(("name", "archive"), [("cifar10", "cifar-10"), ("cifar100", "cifar-100")])
def test_without_network_one_line_says_what_to_do(tmp_path, no_network, name, archive):
    with pytest.raises(DataError, match=rf"no network.*put {archive}-python\.tar\.gz.*--dataset=openmoji") as caught:
        catalogue.load(name, 32, tmp_path / "data")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=rf"not here yet.*put {archive}-python\.tar\.gz"):
        catalogue.peek(name, 32, 4, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
