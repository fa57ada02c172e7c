"""Before any test imports torch: one thread. The tests' networks are tiny, and two threads that wait for each other by
spinning make them ten times slower when something else (a browser, another test run) wants a core as well."""

import os
import shutil
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

os.environ["OMP_NUM_THREADS"] = "1"
# Where there is no card, its kernels are interpreted (tests/kernels.py). Triton must know that before it is imported.
if shutil.which("nvidia-smi") is None and not os.path.exists("/dev/nvidia0"):
    os.environ["TRITON_INTERPRET"] = "1"
# What test files import from one another says as much as they do when it fails.
pytest.register_assert_rewrite("tests.browser.hands", "tests.inference_cli.line")


def pytest_xdist_auto_num_workers():
    """How many files are tested at a time: one more than there are cores, as tests in a browser mostly wait."""
    return (os.cpu_count() or 1) + 1


def pytest_xdist_make_scheduler(config, log):
    return BrowserTogether(config, log)


class BrowserTogether(LoadFileScheduling):
    """A file is one worker's, and so are all files of tests/browser: they share one studio and one Chromium."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/browser" if file.startswith("tests/browser/") else file


@pytest.fixture(autouse=True, scope="session")
def nobody_waits_for_the_disk():
    """test_checkpoint.py is about power cuts; everywhere else fsync only costs time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def toy_run():
    """toy_run(root, name, size=16, channels=3, seed=0, classes=0): a run with a model that was never trained, but whose pictures
    differ; from class to class too."""
    return make_toy_run


@pytest.fixture(scope="session")
def toy_snapshots():
    """toy_snapshots(root, name, steps): gives a toy run snapshots of averages of weights that go at random from its model's."""
    return keep_toy_snapshots


def make_toy_run(
    root: Path, name: str, *, size: int = 16, channels: int = 3, seed: int = 0, width: int = 16, classes: int = 0
) -> Path:
    from ddpm_core import checkpoint
    from ddpm_core.config import NetworkConfig, RunConfig
    from ddpm_core.runs import Run
    from tests.untrained import untrained

    config = RunConfig("toy", size, name, network=NetworkConfig(width, (1, 2), attention=(), classes=classes))
    network = untrained(config.network, channels, seed)
    weights = {key: weight.detach() for key, weight in network.state_dict().items()}
    run = Run(root, name)
    run.create(config)
    names = ("ant", "bee", "cow", "dog", "eel")[:classes]
    checkpoint.save_model(run.best_path, checkpoint.Model(config, channels, names, 1482, 94848, 21, 0.1, weights))
    return run.best_path


def keep_toy_snapshots(root: Path, name: str, steps):
    import torch

    from ddpm_core import checkpoint
    from ddpm_core.network.unet import UNet
    from ddpm_core.runs import Run
    from ddpm_core.training import snapshots
    from ddpm_core.training.ema import PowerEMA, second_length

    run = Run(root, name)
    model = checkpoint.load_model(run.best_path)
    network = UNet(model.config.network, model.channels).requires_grad_(False)
    checkpoint.load_weights(network, model.weights, run.best_path)
    tracked = [
        PowerEMA(network, length) for length in (model.config.ema_length, second_length(model.config.ema_length))
    ]
    generator = torch.Generator().manual_seed(0)
    for step in steps:
        for weight in network.parameters():
            weight += 0.1 * weight.std(correction=0) * torch.randn(weight.shape, generator=generator)
        for average in tracked:
            average.update(network, step)
        snapshots.take(run, step, tracked)
    return run
