"""Guidance by classes (a network that knows them is made up here) and by an early self."""

import dataclasses

import pytest
import torch

from ddpm_core import checkpoint
from ddpm_core.config import SAMPLERS, SPACING_OF, RunConfig
from ddpm_core.diffusion import objective
from ddpm_core.diffusion.guidance import WHERE_IT_MATTERS
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator
from ddpm_core.runs import Run
from tests.generator.toy import SMALL, a_model, last


@pytest.fixture
def classy(generator, monkeypatch):
    """The generator as if its model knew three classes: told one, its belief is a flat grey of that class; otherwise black."""
    asked = []

    def network(x, log_sigma, labels=None, classes=None):
        asked.append((len(x), None if classes is None else classes.tolist()))
        return torch.full_like(x, -1.0 if classes is None else (classes.item() + 1) / 8)

    def denoiser(network, prediction, classes=None):
        told = {} if classes is None else {"classes": classes}
        return lambda x, alpha, sigma: network(x, torch.full((len(x),), sigma / alpha).log(), **told)

    monkeypatch.setattr(objective, "denoiser", denoiser)
    generator.network, generator.asked = network, asked
    config = dataclasses.replace(generator.model.config, network=dataclasses.replace(SMALL, classes=3))
    generator.model = dataclasses.replace(generator.model, config=config, classes=("a", "b", "c"))
    return generator


def greys(preview):
    return preview.x[:, 0, 0, 0].tolist()


def test_a_class_for_all_or_one_for_each_and_in_the_order_they_were_asked_in(classy):
    assert greys(last(classy.sample(range(3), 4, classes=1))) == [0.25] * 3
    assert greys(last(classy.sample(range(6), 4, classes=[0, 2, -1, 1, 2, 0]))) == [
        0.125,
        0.375,
        -1,
        0.25,
        0.375,
        0.125,
    ]
    assert greys(last(classy.interpolate(0, 1, frames=3, steps=4, classes=2))) == [0.375] * 3
    assert greys(last(classy.sample([0], 4))) == [-1]


def test_pictures_of_one_class_are_drawn_together_and_the_class_is_told_once(classy):
    last(classy.sample(range(6), 1, classes=[0, 2, -1, 0, 2, 0]))
    assert classy.asked == [(2, [0]), (1, [0]), (2, [2]), (1, None)]


def test_guidance_is_more_of_the_class_and_two_network_calls_a_step(classy):
    assert greys(last(classy.sample([0], 4, classes=1, guidance=1.2))) == pytest.approx([-1 + 1.2 * 1.25])
    assert len(classy.asked) == 8
    classy.asked.clear()
    assert greys(last(classy.sample([0], 4, classes=1, guidance=0.0))) == [-1] and len(classy.asked) == 4


def test_outside_of_its_interval_guidance_costs_nothing(classy):
    levels = classy.schedule.levels(10, classy.model.config.sigma_max, SPACING_OF[SAMPLERS[0]])[:-1]
    inside = sum(0.2 < sigma / alpha <= 3 for alpha, sigma in levels.tolist())
    assert 0 < inside < 10
    last(classy.sample([0], 10, classes=1, guidance=2.0, guidance_interval=(0.2, 3)))
    assert len(classy.asked) == 10 + inside


def test_an_early_snapshot_of_the_run_is_a_guide(tmp_path):
    run = Run(tmp_path, "toy_16x16")
    run.create(RunConfig(dataset="toy", size=16, name="toy_16x16", network=SMALL))
    checkpoint.save_model(run.final_path, dataclasses.replace(a_model(), step=700))
    generator = Generator.load(run.final_path, "cpu")
    for refused in (generator.early, lambda: last(generator.sample([0], 4, autoguidance=2))):
        with pytest.raises(UsageError, match=r"no early snapshot beside .*ddpm_final\.pt"):
            refused()
    elsewhere = tmp_path / "a folder of mine"
    elsewhere.mkdir()
    checkpoint.save_model(elsewhere / "model.pt", dataclasses.replace(a_model(), step=700))
    with pytest.raises(UsageError, match=r"no early snapshot beside .*model\.pt"):
        Generator.load(elsewhere / "model.pt", "cpu").snapshot()
    run.averages.mkdir()
    for step in (256, 512, 1024):
        weights = {name: weight.half() for name, weight in a_model(seed=step).weights.items()}
        checkpoint.save_snapshot(run.snapshot_path(step), {"step": step, "lengths": [0.1], "weights": [weights]})
    weak = generator.early()
    assert (weak.model.step, weak.path) == (256, run.snapshot_path(256)) and weak.size == 16
    assert generator.early() is weak and generator.early(512).model.step == 512
    for step in (300, 1024):  # none is of that step; that one is not from before the model
        with pytest.raises(UsageError, match=f"no snapshot of step {step:,} any more"):
            last(generator.sample([0], 4, autoguidance=2, young=step))

    plain, guided, other = (
        last(generator.sample(range(5), 4, **how)).x
        for how in ({}, {"autoguidance": 1.5}, {"autoguidance": 1.5, "young": 512})
    )
    assert not torch.equal(plain, guided) and not torch.equal(guided, other)
    assert torch.equal(last(generator.sample(range(5), 4, autoguidance=1.0)).x, plain)
    assert torch.equal(last(generator.sample(range(5), 4, autoguidance=1.5, young=256)).x, guided)
    alone = last(generator.sample([3], 4, autoguidance=1.5)).x
    assert torch.equal(alone[0], guided[3])
    checkpoint.save_snapshot(
        run.snapshot_path(512), {"step": 512, "lengths": [0.1], "weights": [generator.model.weights]}
    )
    generator.early(256)
    itself = last(generator.sample(range(5), 4, autoguidance=3.0, young=512)).x  # away from itself is nowhere
    assert (itself - plain).abs().max() < 1e-5


def test_autoguidance_costs_a_network_call_where_it_matters_and_goes_with_classes(classy, monkeypatch):
    monkeypatch.setattr(classy, "snapshot", lambda step: None)
    monkeypatch.setattr(classy, "early", lambda step: classy)
    levels = classy.schedule.levels(10, classy.model.config.sigma_max, SPACING_OF[SAMPLERS[0]])[:-1]
    low, high = WHERE_IT_MATTERS
    inside = sum(low < sigma / alpha <= high for alpha, sigma in levels.tolist())
    assert 0 < inside < 10
    made = last(classy.sample([0], 10, classes=1, autoguidance=2.0))
    assert greys(made) == [0.25] and len(classy.asked) == 10 + inside
    classy.asked.clear()
    made = last(classy.sample([0], 10, classes=1, autoguidance=2.0, guidance=1.2))
    assert len(classy.asked) == 20 + inside and classy.asked.count((1, None)) == 10


def test_a_request_that_fits_no_class_or_guide_is_refused(classy):
    for how in (
        {"classes": 3},
        {"classes": -2},
        {"classes": [0]},
        {"classes": [0, 1, True]},
        {"classes": [0, -1, 1], "guidance": 2},
    ):
        with pytest.raises(UsageError, match="class"):
            classy.sample(range(3), **how)
    for scale in (-1, 21, float("nan"), True, "2"):
        with pytest.raises(UsageError, match="autoguidance is .*: choose a number from 0 to 20, 1 for none"):
            classy.sample([0], autoguidance=scale)
