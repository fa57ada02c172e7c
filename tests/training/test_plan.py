"""The forecast: what is counted is right, what is estimated is in proportion."""

import pytest
import torch

from ddpm_core.config import NETWORKS, preset
from ddpm_core.errors import UsageError
from ddpm_core.network.unet import UNet
from ddpm_core.training import plan


@pytest.fixture(autouse=True)
def no_trial(monkeypatch):
    """A pace that no other load on this machine can change."""
    monkeypatch.setattr(plan, "_trial", lambda *_: 100.0)


def test_weights_and_work_are_counted():
    network = NETWORKS["cpu", 32]
    parameters, flops, kept = plan.count(network, 32, 3)
    assert parameters == sum(weight.numel() for weight in UNet(network, 3).parameters())
    # The stem alone: 12 x 64 channels x 3 x 3 at 16 x 16 places, a multiplication and an addition each.
    assert flops > 2 * 12 * 64 * 9 * 16 * 16
    # Four times the pixels with the same patch is four times the convolutions, and more for attention.
    assert 3.9 < plan.count(network, 64, 3)[1] / flops < 6
    assert 3 < plan.count(network, 64, 3)[2] / kept < 20


def test_memory_kept_for_the_backward_pass_is_what_torch_keeps():
    network = NETWORKS["cpu", 32]
    model = UNet(network, 3)
    weights = {weight.data_ptr() for weight in model.parameters()}
    storages: dict[int, int] = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.randn(1, 3, 32, 32), torch.zeros(1))
    counted = plan.count(network, 32, 3)[2]
    assert 0.6 < counted / sum(storages.values()) < 1.7


def test_steps_time_and_disk_follow_from_the_settings():
    result = plan.forecast(preset(epochs=20, batch_size=64, device="cpu"), pictures=6400, channels=3)
    assert (result.steps, result.epochs, result.seconds) == (2000, 20, 1280.0)
    assert result.first_sample_seconds == pytest.approx(16 * 64 / 100)
    # Best, final, epochs 10 and 20 as float32 weights, snapshots of steps 256, 512, ... 1792 with two float16 averages
    # each, and two resume points of five copies each.
    assert result.disk == 4 * result.parameters * (4 + 7) + 2 * 20 * result.parameters
    without = plan.forecast(preset(epochs=20, batch_size=64, device="cpu", snapshots=False), pictures=6400, channels=3)
    assert without.disk == 4 * result.parameters * 4 + 2 * 20 * result.parameters
    assert "2,000 steps (20 epochs of 6,400 pictures) in about 21 min at 100 images/s" in result.text


def test_max_steps_shortens_the_forecast_too():
    result = plan.forecast(preset(epochs=20, batch_size=64, max_steps=100, device="cpu"), pictures=6400, channels=3)
    assert (result.steps, result.epochs) == (100, 1)


def test_a_large_network_on_a_processor_is_scaled_not_tried():
    small = plan.images_per_second(NETWORKS["standard", 32], 32, 3, 16, False, torch.device("cpu"))
    large = plan.images_per_second(NETWORKS["standard", 256], 256, 3, 16, False, torch.device("cpu"))
    ratio = plan.count(NETWORKS["standard", 256], 256, 3)[1] / plan.count(NETWORKS["standard", 32], 32, 3)[1]
    assert small == 100.0 and large == pytest.approx(100.0 / ratio)


def test_a_network_too_large_for_the_device_is_one_line(monkeypatch):
    monkeypatch.undo()  # the real trial, with a network that runs out of memory

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(plan, "UNet", full)
    with pytest.raises(UsageError, match="does not fit"):
        plan._trial(NETWORKS["cpu", 32], 32, 3, 16, False, torch.device("cpu"))


def test_a_missing_device_is_one_line():
    with pytest.raises(UsageError, match="cuda:9"):
        plan.forecast(preset(device="cuda:9"), pictures=10, channels=3)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(12.4, "12 s"), (300, "5 min"), (6000, "1 h 40 min"), (5399, "90 min"), (3 * 86400, "3.0 days")],
)
def test_durations_in_words(seconds, words):
    assert plan.duration(seconds) == words
