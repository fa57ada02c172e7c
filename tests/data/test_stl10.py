"""STL-10 in its real layout: raw binary files, planes column by column, labels from 1, in one .tar.gz."""

import numpy as np
import pytest
from PIL import Image

from ddpm_core.data import catalogue, stl10
from ddpm_core.data.torchvision_sets import datasets
from ddpm_core.errors import DataError, UsageError

RANDOM = np.random.default_rng(0)
TRAIN, TEST, UNLABELLED = (RANDOM.integers(0, 256, (n, 3, 96, 96), dtype=np.uint8) for n in (3, 2, 4))


def _binary(pictures: np.ndarray) -> bytes:
    """(N, 3, row, column) as the files have it: for each colour one column after the other."""
    return pictures.transpose(0, 1, 3, 2).tobytes()


@pytest.fixture
def archive(known_archive):
    return known_archive(
        datasets().STL10,
        {
            "train_list": {
                "train_X.bin": _binary(TRAIN),
                "train_y.bin": bytes([1, 10, 4]),
                "unlabeled_X.bin": _binary(UNLABELLED),
            },
            "test_list": {"test_X.bin": _binary(TEST), "test_y.bin": bytes([7, 8])},
            "": {"class_names.txt": b"airplane\n", "fold_indices.txt": b"0 1\n"},
        },
    )


@pytest.fixture
def here(tmp_path, archive, no_network):
    (tmp_path / "stl10_binary.tar.gz").write_bytes(archive)
    return tmp_path


def test_it_is_torchvisions_train_and_unlabelled_part(here):
    pictures = catalogue.load("imagenet", 96, here)
    assert np.array_equal(pictures.images, np.concatenate([TRAIN, UNLABELLED]))
    assert pictures.labels is None and pictures.classes == ()
    torchvisions = datasets().STL10(here, split="train+unlabeled")
    assert np.array_equal(pictures.images, torchvisions.data)
    assert catalogue.load("stl10", 96, here).images.filename == pictures.images.filename


def test_the_labelled_part_has_classes(here):
    pictures = catalogue.load("stl10:labelled", 96, here)
    assert np.array_equal(pictures.images, np.concatenate([TRAIN, TEST]))
    assert [pictures.classes[label] for label in pictures.labels] == ["airplane", "truck", "cat", "horse", "monkey"]


def test_other_sizes_peeks_and_grey_agree(here):
    catalogue.load("stl10", 96, here)
    whole = np.concatenate([TRAIN, UNLABELLED])
    for size, method in ((32, Image.Resampling.LANCZOS), (128, Image.Resampling.BICUBIC)):
        expected = [np.asarray(Image.fromarray(p.transpose(1, 2, 0)).resize((size, size), method)) for p in whole]
        before = catalogue.peek("stl10", size, 2, here)
        assert np.array_equal(before, [expected[0], expected[-1]])
        assert np.array_equal(catalogue.load("stl10", size, here).images.transpose(0, 2, 3, 1), expected)
        assert np.array_equal(catalogue.peek("stl10", size, 7, here), expected), "now from the cache"
    grey = catalogue.load("stl10", 96, here, colour="grey").images
    assert np.array_equal(grey[2, 0], np.asarray(Image.fromarray(whole[2].transpose(1, 2, 0)).convert("L")))


def test_only_the_rows_that_are_asked_for_are_read(here):
    catalogue.load("stl10", 32, here)
    rows = stl10._Files([here / "stl10_binary" / name for name in ("train_X.bin", "unlabeled_X.bin")])
    assert all(isinstance(part, np.memmap) for part in rows._parts) and len(rows) == 7
    assert np.array_equal(rows[np.array([6, 0, 3])].transpose(0, 3, 1, 2), [UNLABELLED[3], TRAIN[0], UNLABELLED[0]])


@pytest.mark.parametrize(
    ("file", "damage", "why"),
    [
        ("unlabeled_X.bin", lambda content: content[:-1] + b"x", "missing or damaged, delete"),
        ("train_X.bin", lambda content: content[:-100], "missing or damaged, delete"),
        ("unlabeled_X.bin", lambda content: None, "missing or damaged, delete"),
    ],
)
def test_damaged_files_are_named(here, file, damage, why):
    catalogue.load("stl10", 32, here)
    path = here / "stl10_binary" / file
    content = damage(path.read_bytes())
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises(DataError, match=f"{file} is {why}") as caught:
        catalogue.load("stl10", 64, here)
    assert "\n" not in str(caught.value)
    if content is None or len(content) % 27648:
        with pytest.raises(DataError, match="is damaged, delete it"):
            catalogue.peek("stl10", 64, 4, here)


def test_without_network_one_line_says_what_to_do(tmp_path, no_network):
    for name in ("stl10", "imagenet", "stl10:labelled"):
        with pytest.raises(
            DataError, match=r"no network.*put stl10_binary\.tar\.gz into .*--dataset=openmoji"
        ) as caught:
            catalogue.load(name, 32, tmp_path / "data")
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"not here yet; training downloads it \(2\.6 GB\)"):
        catalogue.peek("imagenet", 32, 4, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_another_part_is_a_mistake():
    with pytest.raises(UsageError, match="no part 'cats'"):
        catalogue.describe("imagenet:cats", "nowhere")
