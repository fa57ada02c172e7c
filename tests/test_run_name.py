"""What a run may be called, and what it is called where nobody chose."""

import pytest

from ddpm_core import run_name
from ddpm_core.config import RunConfig
from ddpm_core.errors import UsageError


def refused(name) -> str:
    with pytest.raises(UsageError) as caught:
        run_name.check(name)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


@pytest.mark.parametrize(
    ("dataset", "size", "name"),
    [
        ("cifar10", 64, "cifar10_64x64"),
        ("openmoji:food-drink", 32, "openmoji-food-drink_32x32"),
        ("/home/me/My Cats/", 64, "my-cats_64x64"),
        ("C:\\Pictures\\Cats", 64, "cats_64x64"),
        ("猫", 64, "pictures_64x64"),
        ("..", 32, "pictures_32x32"),
        ("x" * 300, 256, "x" * 48 + "_256x256"),
        ("con", 32, "con_32x32"),
    ],
)
def test_a_run_is_named_after_its_data(dataset, size, name):
    assert run_name.default(dataset, size) == name
    run_name.check(name)
    assert RunConfig(dataset=dataset, size=size).name == name


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 64, "9", "console", "com10"])
def test_good_names(name):
    run_name.check(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "-x",
        "x.",
        "CON",
        "nul.txt",
        "com1",
        "x" * 65,
        "a b",
        "a\n",
        "<b>",
        "é",
        None,
        7,
    ],
)
def test_bad_names(name):
    assert "cannot name a run" in refused(name)


def test_a_bad_name_gets_a_good_proposal():
    assert "'my-cats'" in refused("my cats")
    assert "for example" not in refused("///")
    assert "for example" not in refused("con")
