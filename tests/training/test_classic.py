"""The preset `classic` is the 2020 paper's recipe: Ho et al., arXiv 2006.11239, section 4 and appendix B."""

import pytest
import torch

from ddpm_core.config import SIZES, RunConfig, preset
from ddpm_core.errors import UsageError
from ddpm_core.network.unet import UNet
from ddpm_core.training.ema import ConstantEMA
from ddpm_core.training.optimizer import build, learning_rate


def test_its_settings_are_the_papers():
    config = preset("cifar10", 32, "classic")
    assert (config.prediction, config.schedule, config.loss_weight) == ("eps", "linear", "simple")
    assert (config.batch_size, config.lr, config.noise_levels) == (128, 2e-4, "independent")
    assert (config.network.width, config.network.multipliers, config.network.dropout) == (128, (1, 2, 2, 2), 0.1)
    (group,) = build(UNet(config.network, 3), config).param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.999), 0)
    assert learning_rate(config, 5000) == learning_rate(config, 10**6) == 2e-4


@pytest.mark.parametrize("size", SIZES)
def test_attention_is_where_the_maps_are_about_sixteen_wide(size):
    network = preset("openmoji", size, "classic").network
    assert network.patch == 1
    assert [size // 2**level for level in network.attention] in ([16], [12])


def test_its_average_keeps_the_same_share_at_every_step():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 1.0)
    average = ConstantEMA(network, 0.9)
    torch.nn.init.constant_(network.weight, 0.0)
    for step in range(1, 4):
        average.update(network, step)
    assert average.network.weight.item() == pytest.approx(0.9**3)


def test_snapshots_of_a_constant_average_are_refused_in_one_line():
    with pytest.raises(UsageError, match="snapshots"):
        RunConfig(ema_decay=0.99)
