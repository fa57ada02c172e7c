"""The loop: it learns, it answers requests, and a mistake leaves nothing behind."""

import contextlib
import dataclasses
import json
import threading
import time

import numpy as np
import pytest
import torch

from ddpm_core import checkpoint, pictures, recipes
from ddpm_core.config import NetworkConfig
from ddpm_core.diffusion import latents, samplers, schedule
from ddpm_core.diffusion.objective import denoiser
from ddpm_core.errors import CheckpointError, DataError, RunInUseError, StudioError, UsageError
from ddpm_core.network.unet import UNet
from ddpm_core.runs import Run
from ddpm_core.training import preparation, trainer
from ddpm_core.training.control import Control
from ddpm_core.training.journal import Journal
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.state import TrainingState
from tests.weights import same, weights_of


@pytest.fixture
def go(tmp_path):
    """train() into a run of this test, without the background noise."""

    def go(config, **options):
        run = Run(tmp_path / "out", config.name)
        return run, trainer.train(run, config, data_dir=tmp_path / "data", **options)

    return go


def test_a_run_writes_the_files_of_the_guide(go, tiny):
    run, status = go(tiny(epochs=10, sample_every=5, checkpoint_every=10))
    assert (status.state, status.step, status.epoch, status.total_steps) == ("finished", 20, 10, 20)
    for path in (
        run.best_path,
        run.final_path,
        run.epoch_path(10),
        run.state_path,
        run.samples / "epoch_10_samples.png",
        run.samples / "loss_curve_epoch_10.png",
        run.progress / "quick_epoch_5.png",
        run.progress / "quick_epoch_10.png",
    ):
        assert path.stat().st_size > 0, path
    rows, _ = run.metrics()
    assert rows[0]["step"] == 1 and rows[-1]["step"] == 20 and rows[-1]["images"] == 80
    assert rows[-1].keys() == {"step", "epoch", "images", "loss", "lr", "grad_norm", "images_per_second", "seconds"}
    assert run.status() == status
    assert checkpoint.load_model(run.final_path).step == 20
    recipe = pictures.read_recipe(run.progress / "quick_epoch_5.png")
    assert recipe is not None and recipe["step"] == 10 and recipe["seeds"] == [0, 35]


def test_the_first_glimpses_come_at_steps_16_32_64(go, tiny):
    run, _ = go(tiny(epochs=40, sample_every=1000))
    found = {number for _, kind, number in run.quick_pictures() if kind == "step"}
    assert found == {16, 32, 64}
    first, *_ = run.quick_pictures()
    with pytest.raises(UsageError, match="drawn by a run while it trained"):  # what the page says where one is dropped
        recipes.read_recipe(first[0].read_bytes())


def test_epochs_of_a_few_pictures_do_not_fill_the_log(go, tiny, monkeypatch):
    monkeypatch.setattr(Journal, "due", False)  # as if no time went by
    monkeypatch.setattr(trainer, "YOUNG", 10)
    run, status = go(tiny(epochs=30, sample_every=1000, checkpoint_every=1000, snapshots=False))
    assert status.step == 60 and [row["step"] for row in run.metrics()[0]] == [
        2,
        4,
        6,
        8,
        10,
        50,
        60,
    ]  # 50: a best model


def test_the_first_weights_are_drawn_while_nobody_else_draws(go, tiny, monkeypatch):
    """A forecast in another thread uses torch's one generator, too."""
    inside = []

    @contextlib.contextmanager
    def turn():
        inside.append(True)
        yield
        inside.pop()

    def state(*args, **settings):
        assert inside
        return TrainingState(*args, **settings)

    monkeypatch.setattr(preparation, "TrainingState", state)
    assert go(tiny(epochs=1), control=Control(turn))[1].state == "finished"


def test_a_disk_that_is_full_before_the_first_step_is_one_line(go, tiny, monkeypatch):
    def full(self, step):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "truncate_metrics", full)
    with pytest.raises(
        StudioError, match=r"^could not write the run's files .*No space left.* Continue with --resume\.$"
    ):
        go(tiny())


def test_asking_for_samples_or_a_pause_changes_no_weight(go, tiny):
    plain, _ = go(tiny(name="plain"))
    control = Control()
    seen = []

    def watch(status):
        seen.append(status.state)
        if status.state == "running" and status.step == 1 and "paused" not in seen:
            control.sample_now()
            control.pause()
        if status.state == "paused":
            threading.Timer(0.2, control.unpause).start()

    busy, status = go(tiny(name="busy"), control=control, report=watch)
    assert "paused" in seen and status.state == "finished"
    assert list(busy.progress.glob("quick_now_*.png"))
    assert same(weights_of(plain.final_path), weights_of(busy.final_path))


def test_a_pause_saves_first_and_a_sample_can_be_had_in_it(go, tiny, tmp_path):
    control = Control()
    resumable = []

    def watch(status):
        if status.state == "running" and status.step == 1:
            control.pause()
        if status.state == "paused":
            resumable.append(Run(tmp_path / "out", "tiny").can_resume())
            control.sample_now()
            threading.Thread(target=stop_when_it_is_there).start()

    def stop_when_it_is_there():
        """A stop drops a grid that is being drawn; a crowded machine may take long to draw it."""
        end = time.monotonic() + 60
        while time.monotonic() < end and not list((tmp_path / "out").rglob("quick_now_*.png")):
            time.sleep(0.05)
        control.stop()

    run, status = go(tiny(), control=control, report=watch)
    assert resumable == [True]
    assert status.state == "stopped"
    assert list(run.progress.glob("quick_now_*.png"))


def test_max_steps_ends_a_run_in_mid_epoch_with_a_model(go, tiny):
    run, status = go(tiny(epochs=None, max_steps=1))
    assert (status.state, status.step) == ("finished", 1)
    assert run.best_path.exists() and run.final_path.exists()


@pytest.mark.parametrize(("settings", "epochs"), [({"epochs": 3}, 3), ({"epochs": 900, "max_steps": 3}, 2)])
def test_as_many_epochs_are_told_as_will_be_made(go, tiny, settings, epochs):
    _, status = go(tiny(**settings))
    assert (status.total_steps, status.epochs) == (2 * 3 if epochs == 3 else 3, epochs)


def test_the_network_learns_eight_pictures_by_heart(go, tiny, eight_pictures):
    """Samples of a network that was shown eight pictures 800 times each are those eight pictures.

    The bound: two different pictures of the eight are at least 45 levels apart in the mean over pixels (checked below), and
    the mean of all eight is over 60 from each; so a sample within 12 levels of one of them can only be that one, drawn
    with at most slight noise. Which of eight poster-like pictures it becomes is settled early: hence more noise than the
    rule's for 16 px.
    """
    config = tiny(
        network=NetworkConfig(width=32, multipliers=(1, 2), blocks=1, patch=2, attention=(1,)), noise_mean=-0.4,
        batch_size=16, epochs=800, lr=3e-3, cooldown=0.5, sample_every=10_000, checkpoint_every=10_000,
    )  # fmt: skip
    run, _ = go(config)
    model = checkpoint.load_model(run.final_path)
    network = UNet(model.config.network, model.channels)
    network.load_state_dict(model.weights)
    network.eval()

    denoise = denoiser(network, model.config.prediction)
    noise = latents.noise(range(24), (3, config.size, config.size))
    with torch.no_grad():
        *_, last = samplers.dpmpp_2m(
            denoise, noise, schedule.by_name(model.config.schedule).levels(20, config.sigma_max)
        )
    samples = pictures.to_uint8(last.x0).astype(float)
    truth = eight_pictures.astype(float)

    apart = np.abs(truth[:, None] - truth[None]).mean(axis=(2, 3, 4))
    assert apart[~np.eye(8, dtype=bool)].min() > 45
    assert np.abs(truth - truth.mean(axis=0)).mean(axis=(1, 2, 3)).min() > 60

    distance = np.abs(samples[:, None] - truth[None]).mean(axis=(2, 3, 4))
    assert np.median(distance.min(axis=1)) < 12
    assert (distance.min(axis=1) < 12).mean() >= 0.75
    assert len(set(distance.argmin(axis=1))) >= 5, "it must know most of the eight, not one"


@pytest.mark.parametrize(
    ("wrong", "error", "fix"),
    [
        ({"dataset": "no/such/folder"}, DataError, "no/such/folder"),
        ({"device": "cuda:7"}, UsageError, "auto"),
        ({"from_model": "no_such.pt"}, CheckpointError, "no_such.pt"),
    ],
)
def test_a_mistake_leaves_nothing_on_the_disk(go, tiny, tmp_path, wrong, error, fix):
    with pytest.raises(error, match=fix):
        go(tiny(**wrong))
    assert not (tmp_path / "out").exists()


def test_starting_from_a_model_takes_its_weights(go, tiny):
    teacher, _ = go(tiny(name="teacher"))
    pupil, _ = go(tiny(name="pupil", from_model=str(teacher.final_path), lr=1e-7, max_steps=1))
    taught, learned = weights_of(teacher.final_path), weights_of(pupil.final_path)
    assert all(torch.allclose(taught[name], learned[name], atol=1e-5) for name in taught)


def test_a_run_that_starts_from_a_model_has_the_models_network(go, tiny):
    teacher, _ = go(tiny(name="teacher"))
    other = NetworkConfig(width=24, multipliers=(1, 2), blocks=1, patch=2, attention=(1,), dropout=0.1)
    pupil, _ = go(tiny(name="pupil", from_model=str(teacher.final_path), network=other))
    assert pupil.config().network == teacher.config().network


def test_larger_pictures_grow_from_a_smaller_model(go, tiny):
    teacher, _ = go(tiny(name="teacher"))
    pupil, status = go(tiny(name="pupil", from_model=str(teacher.final_path), size=32, max_steps=4))
    assert status.step == 4
    assert pupil.config().network.patch == 2 * teacher.config().network.patch
    resumed, status = go(dataclasses.replace(pupil.config(), max_steps=6), resume=True)
    assert status.step == 6


@pytest.mark.parametrize("data_on", ["device", "memory", "disk"])
def test_where_the_pictures_wait_is_told_and_changes_no_bit(go, tiny, data_on):
    plain, _ = go(tiny(name="plain", batch_size=6))
    run, status = go(tiny(name="run", batch_size=6, data_on=data_on))
    assert status.message.startswith("Pictures on the disk" if data_on == "disk" else "Pictures in memory. ")
    assert same(weights_of(plain.final_path), weights_of(run.final_path))


def test_two_trainers_cannot_write_one_run(go, tiny, tmp_path):
    run = Run(tmp_path / "out", "tiny")
    with run.lock(), pytest.raises(RunInUseError, match="tiny"):
        go(tiny())


def test_a_loss_that_is_no_number_stops_the_run_and_spares_its_checkpoints(go, tiny, monkeypatch):
    run, _ = go(tiny(epochs=2))
    before = run.final_path.read_bytes(), run.state_path.read_bytes()

    def spoiled(self, network, drawn):
        return sum(weight.sum() for weight in network.parameters()) * float("nan")

    monkeypatch.setattr(DiffusionLoss, "of", spoiled)
    with pytest.raises(StudioError, match="not a number"):
        go(dataclasses.replace(run.config(), epochs=4), resume=True)
    assert (run.final_path.read_bytes(), run.state_path.read_bytes()) == before
    assert run.status().state == "failed"


def test_weights_that_are_no_numbers_are_never_saved(go, tiny, monkeypatch):
    """Even if a save is due before the next metrics line, in which the loss would be noticed."""
    run, _ = go(tiny(epochs=2))
    before = run.state_path.read_bytes()
    real = DiffusionLoss.draw

    def spoiled_at_6(self, step):
        drawn = real(self, step)
        return drawn._replace(x0=drawn.x0 * float("nan")) if step == 6 else drawn

    monkeypatch.setattr(DiffusionLoss, "draw", spoiled_at_6)
    monkeypatch.setattr(trainer.Journal, "due", property(lambda self: False))
    monkeypatch.setattr(trainer, "FIRST_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "SAVE_SHARE", 1e9)
    with pytest.raises(StudioError, match="not a number"):
        go(dataclasses.replace(run.config(), epochs=6), resume=True)
    saved = checkpoint.load_state(run.state_path, print)
    assert run.state_path.read_bytes() != before and saved["step"] == 6
    assert all(weight.isfinite().all() for weight in saved["weights"].values())


def test_a_full_disk_is_one_line_and_told(go, tiny, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    states = []
    monkeypatch.setattr(Run, "append_metrics", full)
    monkeypatch.setattr(Run, "write_status", full)
    with pytest.raises(StudioError, match="disk full"):
        go(tiny(), report=lambda status: states.append(status.state))
    assert states[-1] == "failed"


def test_a_run_made_by_another_program_meanwhile_is_not_overwritten(go, tiny):
    run, _ = go(tiny())
    before = run.metrics()[0]
    with pytest.raises(UsageError, match="another program"):
        go(tiny())
    assert run.metrics()[0] == before


def test_threads_are_given_back(go, tiny):
    before = torch.get_num_threads()
    run, _ = go(tiny(epochs=2))
    saved = checkpoint.load_state(run.state_path, print)
    checkpoint.save_state(run.state_path, {**saved, "threads": before + 64})
    go(dataclasses.replace(run.config(), epochs=3), resume=True)
    assert torch.get_num_threads() == before


def test_a_stop_while_pictures_are_read_leaves_nothing(go, tiny, tmp_path):
    control = Control()
    control.stop()
    _, status = go(tiny(), control=control)
    assert status.state == "stopped" and not (tmp_path / "out").exists()


def test_the_settings_stored_are_the_ones_used(go, tiny):
    run, _ = go(tiny(epochs=None, max_steps=2))
    stored = json.loads(run.config_path.read_text())
    assert stored["epochs"] == 125_000, "an automatic number of epochs is written down"
