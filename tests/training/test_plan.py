"""The forecast: what is counted is right, what is estimated is in proportion."""

import dataclasses
import time

import pytest
import torch

from ddpm_core.config import NETWORKS, NetworkConfig, RunConfig, preset
from ddpm_core.errors import UsageError
from ddpm_core.training import cadence, plan
from ddpm_core.training.plan import Pace
from ddpm_core.training.plan_sheet import batch_in_words, sheet

TOY = NetworkConfig(16, (1, 2), attention=())
ALL = {"held_out": 0.0, "device": "cpu"}  # every picture is trained on


@pytest.fixture(autouse=True)
def no_trial(monkeypatch):
    """A pace that no other load on this machine can change: a hundred pictures a second, the updates for nothing."""
    monkeypatch.setattr(plan, "_trial", lambda *_: Pace(0.01, 0.0))


def test_weights_and_work_are_counted():
    network = NETWORKS["cpu", 32]
    parameters, flops, kept = plan.count(network, 32, 3)
    # The stem alone: 3 x 16 channels x 3 x 3 at 32 x 32 places, a multiplication and an addition each.
    assert flops > 2 * 3 * 16 * 9 * 32 * 32 and parameters > 1e6
    # Four times the pixels with the same patch is four times the convolutions, and more for attention.
    assert 3.9 < plan.count(network, 64, 3)[1] / flops < 6
    assert 3 < plan.count(network, 64, 3)[2] / kept < 20


def test_steps_time_and_disk_follow_from_the_settings():
    result = plan.forecast(preset(epochs=20, batch_size=64, **ALL), pictures=6400, channels=3)
    assert (result.steps, result.epochs) == (2000, 20)
    assert result.seconds_per_epoch == pytest.approx(64) and result.images_per_second == pytest.approx(100)
    # 36 pictures at epochs 5, 10, 15, 20 and 64 at 10 and 20, 20 calls each, a third of a pass.
    assert result.seconds == pytest.approx(1280 + (4 * 36 + 2 * 64) * 20 / 3 * 0.01)
    assert result.first_sample_seconds == pytest.approx(16 * 64 / 100)
    # Best, final, epochs 10 and 20 as float32 weights, snapshots of steps 256, 512, ... 1792 with two float16 averages
    # each, and two resume points: the weights, two averages, and what the optimizer keeps.
    optimizer = result.memory.optimizer
    assert 4 * result.parameters < optimizer < 8 * result.parameters  # Muon: one moment for its matrices, else two
    assert result.disk == 4 * result.parameters * (4 + 7) + 2 * (12 * result.parameters + optimizer)
    without = plan.forecast(preset(epochs=20, batch_size=64, snapshots=False, **ALL), pictures=6400, channels=3)
    assert without.disk == 4 * result.parameters * 4 + 2 * (8 * result.parameters + optimizer)
    assert "2,000 steps (20 epochs of 6,400 pictures) in about 22 min at 100 images/s" in result.text


def test_an_update_counts_once_a_step(monkeypatch):
    monkeypatch.setattr(plan, "_trial", lambda *_: Pace(0.01, 0.36))
    result = plan.forecast(preset(epochs=1, batch_size=64, **ALL), pictures=6400, channels=3)
    assert result.images_per_second == pytest.approx(64) and result.seconds_per_epoch == pytest.approx(100)


def test_pictures_that_are_held_out_are_not_trained_on():
    result = plan.forecast(preset(batch_size=32, device="cpu"), pictures=4495, channels=3)
    assert (result.pictures, result.held_out) == (4271, 224)
    assert result.epochs == -(-1_000_000 // 4271) and result.steps == -(-result.epochs * 4271 // 32)
    assert "epochs of 4,271 pictures, 224 more held out)" in result.text
    # They wait with the others, and the network is judged by them at every small grid and at the end.
    assert result.memory.pictures == 4495 * 3 * 32 * 32
    without = plan.forecast(preset(batch_size=32, epochs=result.epochs, **ALL), pictures=4271, channels=3)
    grids = cadence.grids(5).replay(result.steps, 4271, 32)
    assert result.seconds - without.seconds == pytest.approx(2 * 256 / 3 * 0.01 * (grids + 1))
    few = plan.forecast(preset(batch_size=32, device="cpu"), pictures=19, channels=3)
    assert (few.pictures, few.held_out) == (19, 0) and "held out" not in few.text


def test_max_steps_shortens_the_forecast_too():
    result = plan.forecast(preset(epochs=20, batch_size=64, max_steps=100, **ALL), pictures=6400, channels=3)
    assert (result.steps, result.epochs) == (100, 1)


def test_a_resumed_run_is_told_what_is_left():
    config = preset(epochs=20, batch_size=64, **ALL)
    whole = plan.forecast(config, pictures=6400, channels=3)
    rest = plan.forecast(config, pictures=6400, channels=3, step=1500)
    assert (rest.steps, rest.step) == (2000, 1500)
    assert rest.seconds == pytest.approx(whole.seconds / 4)
    assert rest.disk == whole.disk
    assert "500 of 2,000 steps (20 epochs of 6,400 pictures) are left: about 5 min" in rest.text
    assert "First pictures" in whole.text and "First pictures" not in rest.text
    assert plan.forecast(config, pictures=6400, channels=3, step=9999).seconds == 0


def test_the_batch_is_made_of_what_fits_and_said_once():
    whole = plan.forecast(preset(batch_size=64, **ALL), pictures=6400, channels=3)
    assert (whole.micro_batch, whole.accumulation) == (64, 1) and "at a time" not in whole.text
    parts = plan.forecast(preset(batch_size=64, micro_batch=16, **ALL), pictures=6400, channels=3)
    assert (parts.micro_batch, parts.accumulation) == (16, 4)
    assert "A batch of 64, 16 at a time." in parts.text
    assert parts.memory.total < whole.memory.total and parts.steps == whole.steps
    assert batch_in_words(64, 16) == "64 pictures a step, 16 at a time, 4 times"


def test_an_average_that_is_too_slow_for_the_run_is_said():
    short = plan.forecast(preset(preset="classic", max_steps=7840, device="cpu"), 4495, 3)
    words = "Too short for an average of 0.9999: 46 % of it is the random start then (29,956 steps leave 5 %)."
    assert short.hint is not None and short.hint.endswith(words)
    long = plan.forecast(preset(preset="classic", epochs=1000, device="cpu"), 4495, 3)
    assert "average" not in (long.hint or "")


def test_what_does_not_fit_here_is_said_and_what_would(monkeypatch):
    monkeypatch.setattr(plan.memory, "free", lambda device: 3 * 10**8)
    result = plan.forecast(preset(size=64, preset="standard", **ALL), pictures=6400, channels=3)
    assert result.micro_batch == 1 and result.verdict == "does not fit"
    assert "more memory than is free here (286 MB)" in result.text
    assert "it would fit with --preset cpu" in sheet(result)


def test_pictures_on_the_disk_take_no_memory():
    for changes, there in (({}, True), ({"data_on": "disk"}, False)):
        result = plan.forecast(preset(**ALL, **changes), pictures=640, channels=3)
        assert result.memory.pictures == there * 640 * 3 * 32 * 32
    many = plan.forecast(preset(size=256, **ALL), pictures=10**8, channels=3)
    assert many.memory.pictures == 0 and many.data_set > many.room
    forced = plan.forecast(preset(size=256, data_on="memory", **ALL), pictures=10**8, channels=3)
    assert forced.memory.pictures == forced.data_set and forced.verdict == "does not fit"


def test_the_colour_of_the_pictures_may_be_chosen():
    grey = plan.forecast(preset(colour="grey", **ALL), pictures=640, channels=3)
    colour = plan.forecast(preset(colour="colour", **ALL), pictures=640, channels=1)
    assert (grey.channels, colour.channels) == (1, 3)
    assert colour.memory.pictures == 3 * grey.memory.pictures


def test_a_long_run_is_told_to_try_a_smaller_size():
    long = plan.forecast(preset("cifar10", 64, "standard", epochs=2000, **ALL), pictures=50_000, channels=3)
    assert long.hint is not None and "at 32 px (--size=32) it takes about" in long.hint
    assert plan.forecast(preset("cifar10", 64, "standard", epochs=1, **ALL), pictures=500, channels=3).hint is None


def test_the_sheet_tells_all_of_it():
    config = preset("openmoji", 64, "standard", batch_size=64, **ALL)
    text = sheet(plan.forecast(config, pictures=6400, channels=3, step=10))
    for words in ("standard, 36.3 million weights", "145 MB", "64 pictures a step", "an epoch", "weights", "gradients",
                  "two averages", "feature maps", "disk", "6 GB", "8 GB", "12 GB", "24 GB fits", "10 of them made"):  # fmt: skip
        assert words in text, words
    assert " left" in text and "in all" not in text and "first pictures" not in text
    fresh = sheet(plan.forecast(config, pictures=6400, channels=3))
    assert " in all" in fresh and "first pictures after" in fresh


def test_a_large_network_on_a_processor_is_scaled_not_tried():
    cpu = torch.device("cpu")
    small, large = (preset(size=size, preset="standard", **ALL) for size in (32, 256))
    ratio = plan.count(large.network, 256, 3)[1] / plan.count(small.network, 32, 3)[1]
    assert plan.pace(small, 3, cpu, 16).picture == 0.01
    assert plan.pace(large, 3, cpu, 16).picture == pytest.approx(0.01 * ratio)


def test_the_trial_makes_real_steps_and_the_fastest_counts(monkeypatch):
    monkeypatch.undo()
    cpu, config = torch.device("cpu"), RunConfig("toy", 16, network=TOY, batch_size=4, device="cpu")
    start = time.perf_counter()
    found = plan.pace(config, 3, cpu, 4)
    assert 0 < found.picture < time.perf_counter() - start and 0 < found.update < time.perf_counter() - start
    for seconds, expected in ((1000.0, found), (1e-9, (2.5e-10, 1e-9))):  # a busy machine, then a quiet one
        monkeypatch.setattr(plan.Rehearsal, "seconds", lambda self, pictures, seconds=seconds: seconds)
        assert plan.pace(config, 3, cpu, 4) == found  # not tried again so soon
        monkeypatch.setattr(plan, "AGAIN", 0.0)
        assert plan.pace(config, 3, cpu, 4) == expected
        monkeypatch.setattr(plan, "AGAIN", 60.0)
        found = plan.pace(config, 3, cpu, 4)


def test_the_trial_stops_growing_where_a_pass_is_long_and_goes_on_by_the_line(monkeypatch):
    monkeypatch.undo()
    plan._best_pace.clear()
    passes = []
    monkeypatch.setattr(plan.Rehearsal, "learn", lambda self, pictures: None)
    monkeypatch.setattr(plan.Rehearsal, "update", lambda self: None)
    # A pass takes 0.1 s and 0.05 s a picture, an update 1 s.
    monkeypatch.setattr(plan.Rehearsal, "seconds", lambda self, n: passes.append(n) or (0.1 + 0.05 * n if n else 1.0))
    config = RunConfig("toy", 16, network=TOY, batch_size=64, device="cpu")
    found = plan.pace(config, 3, torch.device("cpu"), 64)
    assert max(passes) < 20
    assert found == (pytest.approx(0.05 + 0.1 / 64), 1.0)


def test_a_network_too_large_for_the_device_is_one_line(monkeypatch):
    monkeypatch.undo()  # the real trial, with a network that runs out of memory

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(plan, "Rehearsal", full)
    with pytest.raises(UsageError, match="does not fit"):
        plan._trial(preset(device="cpu"), 3, torch.device("cpu"), 16)


def test_a_missing_device_is_one_line():
    with pytest.raises(UsageError, match="cuda:9"):
        plan.forecast(preset(device="cuda:9"), pictures=10, channels=3)


def test_the_cards_are_asked_only_when_wanted():
    result = plan.forecast(dataclasses.replace(preset(**ALL), micro_batch=8), pictures=640, channels=3)
    assert "fits" not in vars(result)
    assert [fit.card // 2**30 for fit in result.fits] == [6, 8, 12, 24]
    assert all(fit.verdict == "fits" and fit.micro_batch == 8 for fit in result.fits)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(12.4, "12 s"), (300, "5 min"), (6000, "1 h 40 min"), (5399, "90 min"), (3 * 86400, "3.0 days")],
)
def test_durations_in_words(seconds, words):
    assert plan.duration(seconds) == words
