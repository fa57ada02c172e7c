"""MNIST and Fashion-MNIST in their real layout on the disk, IDX files, and Fashion-MNIST for real where Debian has it."""

import gzip
import struct

import numpy as np
import pytest

from ddpm_core.data import catalogue, idx
from ddpm_core.errors import DataError

RANDOM = np.random.default_rng(0)
CLOTHES = RANDOM.integers(0, 256, (20, 28, 28), dtype=np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 10


def _idx(values: np.ndarray) -> bytes:
    return struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def _write_fashion(folder, *, zipped, images=None, labels=None):
    folder.mkdir(parents=True)
    for name, values in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        content = _idx(values if values is not None else CLOTHES if "images" in name else LABELS)
        path = folder / (name + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture
def no_debian(monkeypatch):
    monkeypatch.setattr(idx.FashionMnist, "elsewhere", ())


@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_from_the_data_folder(tmp_path, no_debian, zipped):
    _write_fashion(tmp_path / "FashionMNIST" / "raw", zipped=zipped)
    pictures = catalogue.load("fashion_mnist", 32, tmp_path)
    assert pictures.images.shape == (20, 1, 32, 32)
    assert np.array_equal(pictures.images[:, 0, 2:30, 2:30], CLOTHES), "padded, not stretched"
    assert pictures.images.sum() == CLOTHES.sum(dtype=int), "the border is black"
    assert np.array_equal(pictures.labels, LABELS) and pictures.classes[9] == "Ankle boot"


def test_mnist_is_read_alike_from_its_own_folder(tmp_path):
    _write_fashion(tmp_path / "MNIST" / "raw", zipped=True)
    pictures = catalogue.load("mnist", 32, tmp_path)
    assert np.array_equal(pictures.images[:, 0, 2:30, 2:30], CLOTHES)
    assert np.array_equal(pictures.labels, LABELS) and pictures.classes == tuple("0123456789")


def test_grey_pictures_may_be_asked_for_in_three_channels(tmp_path, no_debian):
    _write_fashion(tmp_path / "FashionMNIST" / "raw", zipped=True)
    for size in (32, 64):
        grey = catalogue.load("fashion_mnist", size, tmp_path, colour="grey").images
        colour = catalogue.load("fashion_mnist", size, tmp_path, colour="colour").images
        assert grey.shape == (20, 1, size, size) and np.array_equal(colour, grey.repeat(3, axis=1))
    assert grey.filename == catalogue.load("fashion_mnist", 64, tmp_path).images.filename, "grey is what it is anyway"


def test_fashion_mnist_from_debians_folder_is_the_same(tmp_path, monkeypatch):
    _write_fashion(tmp_path / "debian", zipped=True)
    monkeypatch.setattr(idx.FashionMnist, "elsewhere", (tmp_path / "debian",))
    shown = catalogue.peek("fashion_mnist", 32, 3, tmp_path / "data")
    assert shown.shape == (3, 32, 32, 1) and np.array_equal(shown[0, 2:30, 2:30, 0], CLOTHES[0])
    assert not (tmp_path / "data").exists()
    assert len(catalogue.load("fashion_mnist", 32, tmp_path / "data").images) == 20
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["cache"], "nothing is copied"


def test_fashion_mnist_at_other_sizes(tmp_path, no_debian):
    _write_fashion(tmp_path / "FashionMNIST" / "raw", zipped=True, images=np.full((20, 28, 28), 200, np.uint8))
    for size in (16, 64):
        images = catalogue.load("fashion_mnist", size, tmp_path).images[:, 0]
        assert images.shape == (20, size, size)
        assert (images[:, size // 2, size // 2] == 200).all() and (images[:, 0, :] < 20).all()


@pytest.mark.skipif(
    not idx.FashionMnist.elsewhere[0].is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)
def test_the_real_fashion_mnist(tmp_path):
    pictures = catalogue.load("fashion_mnist", 32, tmp_path)
    assert pictures.images.shape == (60_000, 1, 32, 32)
    assert np.bincount(pictures.labels).tolist() == [6000] * 10
    # The published mean of the training pictures is 0.2860 of white, over 28 x 28 pixels.
    assert pictures.images.mean() / 255 * (32 / 28) ** 2 == pytest.approx(0.2860, abs=5e-4)


@pytest.mark.parametrize(
    ("images", "labels"),
    [(CLOTHES[:, :27], LABELS), (CLOTHES, LABELS[:19]), (CLOTHES, LABELS + 1), (LABELS, LABELS)],
)
def test_files_that_are_something_else(tmp_path, no_debian, images, labels):
    _write_fashion(tmp_path / "FashionMNIST" / "raw", zipped=True, images=images, labels=labels)
    with pytest.raises(DataError, match="is not Fashion-MNIST: delete it"):
        catalogue.load("fashion_mnist", 32, tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"<html>" + c, lambda c: c[:10]]
)
def test_damaged_files_are_named(tmp_path, no_debian, zipped, damage):
    raw = tmp_path / "FashionMNIST" / "raw"
    _write_fashion(raw, zipped=zipped)
    path = next(raw.glob("*images*"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="is damaged: delete it") as caught:
        catalogue.load("fashion_mnist", 32, tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("fashion_mnist", r"put train-images-idx3-ubyte\.gz and train-labels"),
        ("mnist", r"put train-images-idx3-ubyte\.gz and train-labels.*MNIST.raw"),
    ],
)
def test_without_network_one_line_says_what_to_do(tmp_path, no_debian, no_network, name, files):
    with pytest.raises(DataError, match=f"{files}.*--dataset=openmoji") as caught:
        catalogue.load(name, 32, tmp_path / "data")
    assert "no network" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=f"not here yet.*{files}"):
        catalogue.peek(name, 32, 4, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
