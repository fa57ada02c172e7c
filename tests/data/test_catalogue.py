"""The catalogue: names, mistakes, and the peek."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ddpm_core.data import catalogue
from ddpm_core.errors import DataError, UsageError


def test_every_name_in_the_menu_is_known():
    names = catalogue.names()
    keys = [key for key, _ in names]
    assert len(set(keys)) == len({title for _, title in names}) == len(names) == 18
    assert keys[0] == "openmoji"
    assert keys[11:] == ["fashion_mnist", "mnist", "cifar10", "cifar100", "stl10", "stl10:labelled", "celeba"]
    for key, what in names:
        info = catalogue.describe(key, "nowhere")
        assert info.key == key and what.startswith(info.title)
        assert info.pictures > 50 and info.channels == (1 if "mnist" in key else 3)
        assert bool(info.classes) == (key not in ("stl10", "celeba"))
    assert "imagenet" in dict(names)["stl10"]


def test_imagenet_is_stl10():
    assert catalogue.describe("imagenet", "nowhere") == catalogue.describe("stl10", "nowhere")
    assert catalogue.describe("ImageNet:labelled", "nowhere") == catalogue.describe("stl10:labelled", "nowhere")


@pytest.mark.parametrize(("colour", "channels"), [("auto", (1, 3)), ("colour", (3, 3)), ("grey", (1, 1))])
def test_the_colour_decides_the_channels(colour, channels):
    for key, _ in catalogue.names():
        expected = channels[0] if "mnist" in key else channels[1]
        assert catalogue.describe(key, "nowhere", colour=colour).channels == expected


@pytest.mark.parametrize("wrong", [{"crop": "squash"}, {"background": "blue"}, {"colour": "color"}])
def test_an_unknown_look_is_told(wrong, tmp_path):
    (word,) = wrong
    for ask in (catalogue.load, lambda dataset, size, where, **look: catalogue.peek(dataset, size, 4, where, **look)):
        with pytest.raises(UsageError, match=f"{word} is .*: choose one of"):
            ask("openmoji", 8, tmp_path, **wrong)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("openmoij", "did you mean openmoji?"),
        ("Fashion-MNIST", "did you mean fashion_mnist?"),
        ("cifar", "did you mean cifar10?"),
        ("cifar_100", "did you mean cifar100?"),
        ("stl-10", "did you mean stl10?"),
        ("celebA-hq", "did you mean celeba?"),
        ("zebra", "choose one of openmoji"),
        ("stl10:zebra", "write stl10, or stl10:labelled"),
        ("openmoji:zebra", "choose one of smileys-emotion"),
        ("a\nb", "choose one of"),
    ],
)
def test_an_unknown_name_is_told_with_a_hint(name, hint, tmp_path):
    for ask in (
        catalogue.describe,
        lambda d, where: catalogue.load(d, 8, where),
        lambda d, where: catalogue.peek(d, 8, 4, where),
    ):
        with pytest.raises(UsageError) as caught:
            ask(name, tmp_path / "data")
        assert hint in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_are_known_in_any_case():
    assert catalogue.describe(" OpenMoji:Flags ", "nowhere").key == "openmoji:flags"
    assert catalogue.describe("CIFAR10", "nowhere").key == "cifar10"


def test_peek_shows_what_load_gives_and_writes_nothing(tmp_path):
    shown = catalogue.peek("openmoji:activities", 16, 5, tmp_path / "data")
    assert shown.shape == (5, 16, 16, 3) and shown.dtype == np.uint8
    assert list(tmp_path.iterdir()) == []
    images = catalogue.load("openmoji:activities", 16, tmp_path / "data").images
    assert np.array_equal(shown, images[[0, 21, 42, 63, 84]].transpose(0, 2, 3, 1))
    assert np.array_equal(shown, catalogue.peek("openmoji:activities", 16, 5, tmp_path / "data")), "now from the cache"
    assert len(catalogue.peek("openmoji:activities", 16, 1000, tmp_path / "data")) == 85


def test_no_torch_is_imported():
    program = (
        "import sys; from ddpm_core.data import catalogue\n"
        "catalogue.names(); catalogue.describe('openmoji', '.'); catalogue.peek('openmoji:flags', 16, 2, '.')\n"
        "print('torch' in sys.modules, 'torchvision' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10", "celeba", "mnist"])
def test_a_data_folder_that_cannot_even_be_asked_about_is_one_line(tmp_path, no_network, name):
    data = tmp_path / ("x" * 300)  # too long a name; a folder that is closed to us is answered in the same way
    catalogue.describe(name, data)
    for ask in (lambda: catalogue.load(name, 32, data), lambda: catalogue.peek(name, 32, 4, data)):
        with pytest.raises(DataError) as caught:
            ask()
        assert "\n" not in str(caught.value) and str(data) in str(caught.value)
