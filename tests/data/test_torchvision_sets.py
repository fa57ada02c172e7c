"""Fashion-MNIST and CIFAR-10 in their real layouts on the disk, and what is said when they cannot be had."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from ddpm_core.data import catalogue, torchvision_sets
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
def no_debian(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision_sets, "_DEBIAN", tmp_path / "no debian here")


@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_from_the_data_folder(tmp_path, no_debian, zipped):
    _write_fashion(tmp_path / "FashionMNIST" / "raw", zipped=zipped)
    pictures = catalogue.load("fashion_mnist", 32, tmp_path)
    assert pictures.images.shape == (20, 1, 32, 32)
    assert np.array_equal(pictures.images[:, 0, 2:30, 2:30], CLOTHES), "padded, not stretched"
    assert pictures.images.sum() == CLOTHES.sum(dtype=int), "the border is black"
    assert np.array_equal(pictures.labels, LABELS) and pictures.classes[9] == "Ankle boot"


def test_fashion_mnist_from_debians_folder_is_the_same(tmp_path, monkeypatch):
    _write_fashion(tmp_path / "debian", zipped=True)
    monkeypatch.setattr(torchvision_sets, "_DEBIAN", tmp_path / "debian")
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
    not torchvision_sets._DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
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


@pytest.fixture
def no_network(monkeypatch):
    import urllib.request

    def refuse(*_, **__):
        raise urllib.request.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("fashion_mnist", r"put train-images-idx3-ubyte\.gz and train-labels"),
        ("cifar10", r"put cifar-10-python\.tar\.gz"),
    ],
)
def test_without_network_one_line_says_what_to_do(tmp_path, no_debian, no_network, name, files):
    with pytest.raises(DataError, match=f"{files}.*--dataset=openmoji") as caught:
        catalogue.load(name, 32, tmp_path / "data")
    assert "no network" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=f"not here yet.*{files}"):
        catalogue.peek(name, 32, 4, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


PHOTOS = RANDOM.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def small_cifar(monkeypatch):
    """CIFAR-10's archive in its real layout with 12 pictures, known to torchvision by its checksums."""
    cifar = torchvision_sets._torchvision_datasets().CIFAR10
    files = {f"data_batch_{k + 1}": (PHOTOS[2 * k : 2 * k + 2], [k, 9 - k]) for k in range(5)}
    files["test_batch"] = (PHOTOS[10:], [0, 0])
    content = {name: pickle.dumps({"data": p.reshape(2, -1), "labels": n}) for name, (p, n) in files.items()}
    content["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in content.items()}
    monkeypatch.setattr(cifar, "tgz_md5", hashlib.md5(packed.getvalue()).hexdigest())
    monkeypatch.setattr(cifar, "train_list", [[f"data_batch_{k}", md5[f"data_batch_{k}"]] for k in range(1, 6)])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5["batches.meta"]})
    return packed.getvalue()


def test_cifar10_from_an_archive_put_there_by_hand(tmp_path, small_cifar, no_network):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_cifar)
    pictures = catalogue.load("cifar10", 32, tmp_path)
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


def test_a_damaged_cifar10_is_never_unpickled(tmp_path, small_cifar, no_network):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(small_cifar)
    catalogue.load("cifar10", 32, tmp_path)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(DataError, match="cifar-10-batches-py is damaged, delete it") as caught:
        catalogue.load("cifar10", 64, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_archive_is_told(tmp_path, small_cifar, no_network):
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(small_cifar[:-50])
    with pytest.raises(DataError, match=r"put cifar-10-python\.tar\.gz"):
        catalogue.load("cifar10", 32, tmp_path)
    assert archive.read_bytes() == small_cifar[:-50], "a person's file is not overwritten"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar-10-python.tar.gz"]
