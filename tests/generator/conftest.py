"""The toy model as a file, and the generator that was loaded from it."""

import pytest

from ddpm_core import checkpoint
from ddpm_core.generator import Generator
from tests.generator.toy import a_model


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy_16x16") / "ddpm_best.pt"
    checkpoint.save_model(path, a_model())
    return path


@pytest.fixture
def generator(path):
    return Generator.load(path, device="cpu")
