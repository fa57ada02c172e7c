"""A studio's session as the explorers need it: a folder with one model, the shelf, and no training."""

from pathlib import Path

import pytest

from ddpm_core.shelf import Shelf
from ddpm_core.turns import Turns


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
