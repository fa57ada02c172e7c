"""Eight little pictures on the disk, and settings for a network that learns them in seconds."""

import numpy as np
import pytest
from PIL import Image

from ddpm_core.config import NetworkConfig, RunConfig

SIDE = 16


@pytest.fixture
def eight_pictures() -> np.ndarray:
    """uint8 (8, SIDE, SIDE, 3): a square, a cross, a triangle and stripes, each in two colourings, all clearly different."""
    y, x = np.mgrid[:SIDE, :SIDE]
    shapes = [
        (abs(x - 7.5) < 5) & (abs(y - 7.5) < 5),
        (abs(x - 7.5) < 2) | (abs(y - 7.5) < 2),
        x < y,
        y % 8 < 4,
    ]
    colours = [((230, 40, 40), (250, 250, 250)), ((30, 60, 200), (250, 220, 60))]
    return np.stack([np.where(shape[..., None], *pair) for shape in shapes for pair in colours]).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, eight_pictures):
    """A folder with the eight pictures as PNG files."""
    path = tmp_path / "pictures"
    path.mkdir()
    for number, picture in enumerate(eight_pictures):
        Image.fromarray(picture).save(path / f"{number}.png")
    return path


@pytest.fixture
def tiny(folder):
    """Settings for a few quick steps on the eight pictures; name what should differ."""

    def make(**settings) -> RunConfig:
        defaults = {
            "dataset": str(folder),
            "size": SIDE,
            "name": "tiny",
            "network": NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, attention=(1,), dropout=0.1),
            "batch_size": 4,
            "epochs": 6,
            "warmup_steps": 5,
            "sample_every": 1000,
            "checkpoint_every": 10,
            "device": "cpu",
        }
        return RunConfig(**{**defaults, **settings})

    return make
