"""What the explorers' tests share: a session with a tiny model, and the ways in which an explorer is listened to."""

import base64
import io
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ddpm_core.errors import StudioError
from ddpm_core.shelf import Shelf
from ddpm_core.trajectory import Trails
from ddpm_core.turns import Turns


@pytest.fixture
def empty(tmp_path):
    """A session without any model: the folder, the turns, the shelf. Afterwards the turn must be free."""
    turns = Turns()
    session = SimpleNamespace(
        root=tmp_path, data_dir=tmp_path, turns=turns, shelf=Shelf(turns, "cpu"), trails=Trails(), waited=0.0,
        current=lambda: (None, None),
    )  # fmt: skip
    yield session
    assert turn_is_free(session), "somebody still holds the device's turn"


@pytest.fixture
def session(empty, toy_run):
    toy_run(empty.root, "toys")
    return empty


@pytest.fixture
def made(session):
    """made(seeds, steps=4, sampler="ddim") -> uint8 (N, H, W, C): what the model itself draws."""

    def pictures(seeds, steps=4, sampler="ddim", model="toys"):
        generator = session.shelf.take(session.root / f"checkpoints/{model}/ddpm_best.pt")
        *_, last = generator.sample(list(seeds), steps=steps, sampler=sampler)
        return last.pictures

    return pictures


def turn_is_free(session) -> bool:
    took = threading.Event()

    def take():
        with session.turns():
            took.set()

    threading.Thread(target=take, daemon=True).start()
    return took.wait(20)


def last(shown) -> dict:
    """What a watcher hears who was away all the time: only the last state."""
    *_, show = shown
    return show()


def refused(shown) -> str:
    """The one line with which it refuses, as the page gets it."""
    with pytest.raises(StudioError) as caught:
        last(shown)
    line = str(caught.value)
    assert line and "\n" not in line and len(line) < 250
    return line


def content(uri: str) -> bytes:
    head, _, text = uri.partition(";base64,")
    assert head.startswith("data:")
    return base64.b64decode(text)


def pixels(uri: str) -> np.ndarray:
    """uint8 (H, W, C) of a data: address."""
    array = np.asarray(Image.open(io.BytesIO(content(uri))))
    return array if array.ndim == 3 else array[..., None]


def tiles(image: np.ndarray, size: int, gap: int = 0, scale: int = 1) -> np.ndarray:
    """The pictures of a grid, row by row: uint8 (N, size, size, C)."""
    image = image[::scale, ::scale]
    step = size + gap
    rows, columns = (image.shape[0] - gap) // step, (image.shape[1] - gap) // step
    return np.stack(
        [image[gap + r * step :, gap + c * step :][:size, :size] for r in range(rows) for c in range(columns)]
    )


@pytest.fixture
def listen():
    """The functions above, for test files: a conftest cannot be imported."""
    return SimpleNamespace(
        last=last, refused=refused, content=content, pixels=pixels, tiles=tiles, turn_is_free=turn_is_free
    )


class Exploring:
    def __init__(self, root: Path):
        self.root, self.data_dir = root, root / "data"
        self.turns = Turns()
        self.shelf = Shelf(self.turns, "cpu")
        self.waited = 0.0

    def current(self):
        return None, None


@pytest.fixture
def exploring(tmp_path, toy_run):
    toy_run(tmp_path, "toys")
    return Exploring(tmp_path)
