"""The models that the command lines name, and an empty folder to write into."""

from pathlib import Path

import pytest

from ddpm_core import checkpoint
from ddpm_core.config import NetworkConfig, RunConfig
from tests.untrained import untrained


def save_a_model(root: Path, name: str, size: int, channels: int = 3, classes: tuple[str, ...] = ()) -> Path:
    """An untrained model, whose output is no longer all zero, where a training run would put it."""
    shape = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, classes=len(classes))
    network = untrained(shape, channels, seed=size)
    config = RunConfig(dataset="toy", name=name, size=size, network=shape)
    path = root / "checkpoints" / name / "ddpm_best.pt"
    path.parent.mkdir(parents=True)
    checkpoint.save_model(path, checkpoint.Model(config, channels, classes, 7, 448, 1, 0.5, dict(network.state_dict())))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with models of different sizes, one of them grey; the last three know classes, and one numbers them otherwise."""
    root = tmp_path_factory.mktemp("trained")
    for size, channels in ((32, 3), (64, 3), (16, 1)):
        save_a_model(root, f"toy_{size}x{size}", size, channels)
    save_a_model(root, "animals", 16, classes=("cat", "dog", "horse"))
    save_a_model(root, "animals_32x32", 32, classes=("cat", "dog", "horse"))
    save_a_model(root, "vehicles", 16, classes=("car", "cat", "ship"))
    return root


@pytest.fixture
def here(trained, tmp_path, monkeypatch) -> Path:
    """An empty current folder in which the guide's relative paths to the models work."""
    (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
    monkeypatch.chdir(tmp_path)
    return tmp_path
