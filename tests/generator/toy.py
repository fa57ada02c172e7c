"""The model that these tests draw with."""

from ddpm_core import checkpoint
from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.generator import Preview
from tests.untrained import untrained

SMALL = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2)


def a_model(size=16, channels=3, seed=0, shape=SMALL, **settings) -> checkpoint.Model:
    """A model that was never trained, but whose pictures differ from seed to seed: its output is no longer all zero."""
    config = RunConfig(dataset="toy", size=size, network=shape, **settings)
    network = untrained(shape, channels, seed)
    weights = {name: weight.detach() for name, weight in network.state_dict().items()}
    return checkpoint.Model(config, channels, (), step=7, images=448, epoch=1, loss=0.5, weights=weights)


def last(previews) -> Preview:
    return list(previews)[-1]
