"""A folder with pictures to learn from beside an empty one to train in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder, with 40 little pictures in another one beside it, and nothing in a third."""
    pictures, work = tmp_path / "dots", tmp_path / "work"
    for folder in (pictures, work, tmp_path / "empty"):
        folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(pictures / f"{number:02}.png")
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def one_thread():
    """Sums come out the same only on the same number of threads; one is also the quickest for a network this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
