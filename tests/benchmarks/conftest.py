"""What all tests of the benchmarks need."""

import pytest

from ddpm_core.data import torchvision_sets


@pytest.fixture(autouse=True, scope="session")
def torchvision_can_be_imported():
    """importorskip imports a peer that imports torchvision, which beside a torch without CUDA takes care, in whatever order tests run."""
    torchvision_sets.datasets()
