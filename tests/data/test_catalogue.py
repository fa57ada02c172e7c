"""The catalogue: names, mistakes, and the peek."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ddpm_core.data import catalogue
from ddpm_core.errors import UsageError


def test_every_name_in_the_menu_is_known():
    names = catalogue.names()
    assert len(names) == len({key for key, _ in names}) == 13
    assert [names[0][0], names[-2][0], names[-1][0]] == ["openmoji", "fashion_mnist", "cifar10"]
    for key, title in names:
        info = catalogue.describe(key, "nowhere")
        assert (info.key, info.title) == (key, title)
        assert info.pictures > 50 and info.channels in (1, 3) and info.classes


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("openmoij", "did you mean openmoji?"),
        ("Fashion-MNIST", "did you mean fashion_mnist?"),
        ("cifar", "did you mean cifar10?"),
        ("zebra", "choose one of openmoji"),
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
