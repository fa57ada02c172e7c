"""A network that learns the classes too: told most of the time, and drawing what it was asked for."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_core import checkpoint, pictures
from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.data.batches import Batches
from ddpm_core.diffusion import latents, objective, samplers, schedule
from ddpm_core.errors import DataError, UsageError
from ddpm_core.network.unet import UNet
from ddpm_core.runs import Run
from ddpm_core.training import previews, trainer
from ddpm_core.training.control import Control
from ddpm_core.training.loss import DiffusionLoss

CPU = torch.device("cpu")


@pytest.fixture
def two_classes(folder):
    """The eight pictures in two folders: "blue" and "red"."""
    for number in range(8):
        place = folder / ("red", "blue")[number % 2]
        place.mkdir(exist_ok=True)
        shutil.move(folder / f"{number}.png", place)
    return folder


@pytest.fixture
def go(tmp_path):
    def go(config, stop_at=None, **options):
        run, control = Run(tmp_path / "out", config.name), Control()

        def watch(status):
            if stop_at is not None and status.state == "running" and status.step >= stop_at:
                control.stop()

        return run, trainer.train(run, config, data_dir=tmp_path / "data", control=control, report=watch, **options)

    return go


def table(run):
    return checkpoint.load_state(run.state_path, print)["weights"]["classes.weight"]


def test_a_run_learns_its_classes_and_its_files_know_them(go, tiny, two_classes):
    run, _ = go(tiny(class_conditional=True, epochs=5, sample_every=5))
    assert table(run).shape == (2, 64) and table(run).any(dim=1).all()
    model = checkpoint.load_model(run.final_path)
    assert model.classes == ("blue", "red") and model.config.network.classes == 2
    assert pictures.read_recipe(run.progress / "quick_epoch_5.png")["classes"] == ["blue", "red"]
    assert RunConfig.from_json(run.config_path.read_text()).network.classes == 2


def test_without_the_setting_nothing_is_learned_of_classes(go, tiny, two_classes):
    run, _ = go(tiny(max_steps=1))
    model = checkpoint.load_model(run.final_path)
    assert model.classes == () and "classes.weight" not in model.weights


def test_a_stopped_and_resumed_run_reaches_the_same_bits(go, tiny, two_classes, monkeypatch):
    monkeypatch.setattr(trainer.Journal, "due", property(lambda self: True))
    whole, _ = go(tiny(name="whole", class_conditional=True))
    halves, status = go(tiny(name="halves", class_conditional=True), stop_at=5)
    assert status.step == 5
    go(halves.config(), resume=True)
    one, other = (checkpoint.load_model(run.final_path).weights for run in (whole, halves))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_pictures_without_classes_are_one_line_with_a_fix(go, tiny, tmp_path):
    with pytest.raises(UsageError, match="has no classes to learn: put the pictures of each class into a folder"):
        go(tiny(class_conditional=True))
    assert not (tmp_path / "out").exists()


def test_a_class_that_came_or_went_is_noticed_at_resume(go, tiny, two_classes):
    run, _ = go(tiny(class_conditional=True, max_steps=1))
    shutil.copytree(two_classes / "red", two_classes / "crimson")
    with pytest.raises(DataError, match="has 3 classes, and tiny was begun with 2"):
        go(dataclasses.replace(run.config(), max_steps=2), resume=True)


def test_pictures_that_changed_their_class_are_noticed_at_resume(go, tiny, tmp_path, two_classes):
    run, _ = go(tiny(class_conditional=True, max_steps=1))
    (two_classes / "blue").rename(two_classes / "blau")  # as many classes, in the same order: nothing has changed
    go(dataclasses.replace(run.config(), max_steps=2), resume=True)
    (two_classes / "blau").rename(two_classes / "zinc")  # the pixels come in another order now, and so do the labels
    with pytest.raises(DataError, match="are not just those that"):
        go(dataclasses.replace(run.config(), max_steps=3), resume=True)


# ---- starting from another model


def test_a_start_takes_the_classes_of_the_same_names_alone(go, tiny, two_classes):
    settings = {"lr": 1e-7, "max_steps": 1}
    teacher, _ = go(tiny(name="teacher", class_conditional=True))
    model = checkpoint.load_model(teacher.final_path)
    starts = {"from_model": str(teacher.final_path), **settings}

    same, _ = go(tiny(name="same", class_conditional=True, **starts))
    assert torch.allclose(table(same), model.weights["classes.weight"], atol=1e-5)

    (two_classes / "blue").rename(two_classes / "azure")
    other, _ = go(tiny(name="other", class_conditional=True, **starts))
    assert table(other).abs().max() < 1e-5

    none, _ = go(tiny(name="none", **starts))
    assert "classes.weight" not in checkpoint.load_model(none.final_path).weights

    fresh, _ = go(tiny(name="fresh", class_conditional=True, from_model=str(none.final_path), **settings))
    assert table(fresh).abs().max() < 1e-5
    stems = [
        checkpoint.load_model(run.final_path).weights["stem.weight"] for run in (teacher, same, other, none, fresh)
    ]
    assert all(torch.allclose(stems[0], stem, atol=1e-5) for stem in stems)


def test_a_model_with_fewer_names_than_classes_is_refused(go, tiny, two_classes, tmp_path):
    run, _ = go(tiny(class_conditional=True, max_steps=1))
    model = dataclasses.replace(checkpoint.load_model(run.final_path), classes=("blue",))
    checkpoint.save_model(tmp_path / "short.pt", model)
    with pytest.raises(checkpoint.CheckpointError, match="lacks parts of a model"):
        checkpoint.load_model(tmp_path / "short.pt")


# ---- what the network is told


def told(tiny, eight_pictures, labels, steps=1, **settings):
    """The classes that the network hears in `steps` steps of 64 pictures each, and their own: (steps, 64)."""
    config = tiny(batch_size=64, class_conditional=True, **settings)
    batches = Batches(eight_pictures.transpose(0, 3, 1, 2).copy(), 64, 0, CPU, labels=np.array(labels))
    loss, heard = DiffusionLoss(config, batches, CPU), []
    for step in range(steps):
        loss(lambda x, log_sigma, classes: heard.append(classes) or x, step)
    return torch.stack(heard), torch.stack([batches.labels(step) for step in range(steps)])


def test_a_tenth_of_the_classes_is_kept_back(tiny, eight_pictures):
    heard, own = told(tiny, eight_pictures, range(8), steps=100)
    kept_back = heard == -1
    assert kept_back.float().mean().item() == pytest.approx(0.1, abs=0.012)  # three standard errors
    assert torch.equal(heard[~kept_back], own[~kept_back])
    assert not torch.equal(kept_back[0], kept_back[1])
    again, _ = told(tiny, eight_pictures, range(8), steps=2)
    assert torch.equal(again, heard[:2])
    assert torch.equal(told(tiny, eight_pictures, range(8), label_drop=0.0)[0], own[:1])


def test_pictures_without_a_class_in_a_mixed_folder_are_not_told(tiny, eight_pictures):
    heard, own = told(tiny, eight_pictures, [0, 0, 1, 1, -1, -1, -1, -1], label_drop=0.0)
    assert (own == -1).any() and torch.equal(heard, own)


def test_it_draws_the_class_it_is_asked_for(go, folder, monkeypatch):
    """Sixteen plain pictures, dark and light ones: their mean says at once which was asked for. (So it does through little
    noise, too; only where there is much has the network anything to gain from the class.)"""
    monkeypatch.setattr(previews, "draw", lambda *_, **__: True)
    shutil.rmtree(folder)
    for number in range(16):
        place = folder / ("dark", "light")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), (30, 215)[number % 2] + number, np.uint8)).save(place / f"{number}.png")
    network = NetworkConfig(width=16, multipliers=(1,), blocks=1, patch=4, attention=())
    config = RunConfig(
        dataset=str(folder), size=16, name="toy", network=network, batch_size=32, epochs=None, max_steps=150, lr=3e-3,
        noise_mean=3.0, warmup_steps=5, class_conditional=True, sample_every=10_000, checkpoint_every=10_000, device="cpu",
    )  # fmt: skip
    run, _ = go(config)
    model = checkpoint.load_model(run.final_path)
    network = UNet(model.config.network, model.channels).eval()
    checkpoint.load_weights(network, model.weights, run.final_path)
    asked = torch.arange(16) % 2
    denoise = objective.denoiser(network, config.prediction, asked)
    with torch.no_grad():
        levels = schedule.by_name(config.schedule).levels(10, config.sigma_max)
        *_, last = samplers.dpmpp_2m(denoise, latents.noise(range(16), (3, 16, 16)), levels)
    light = last.x0.mean(dim=(1, 2, 3)) > 0
    assert (light == (asked == 1)).float().mean() >= 0.9
