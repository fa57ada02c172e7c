"""Each way to train really trains, and goes on from a stop to the same bits."""

import numpy as np
import pytest
import torch

from ddpm_core import checkpoint
from ddpm_core.beginning import resume_run
from ddpm_core.runs import Run
from ddpm_core.training import trainer
from ddpm_core.training.control import Control

V = {"prediction": "v", "loss_weight": "min-snr", "noise_levels": "uniform"}
PAPER = {
    "prediction": "eps", "loss_weight": "simple", "schedule": "linear", "noise_levels": "independent",
    "optimizer": "adamw", "adam_beta2": 0.999, "ema_decay": 0.9, "snapshots": False,
}  # fmt: skip
RECIPES = {
    "default": {},
    "paper": PAPER,
    "v": V,
    "edm over the table": {"noise_levels": "uniform", "loss_weight": "simple"},
    "adamw, cool-down": {"optimizer": "adamw", "weight_decay": 0.01, "cooldown": 0.3},
}


@pytest.fixture
def go(tmp_path):
    def go(config, **options):
        run = Run(tmp_path / "out", config.name)
        return run, trainer.train(run, config, data_dir=tmp_path / "data", **options)

    return go


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loss_falls(go, tiny, recipe):
    """Clearly below what guessing nothing costs, in 50 steps; part of each target cannot be known at all."""
    run, status = go(
        tiny(batch_size=16, epochs=100, lr=3e-3, sample_every=10_000, checkpoint_every=10_000, **RECIPES[recipe])
    )
    losses = [row["loss"] for row in run.metrics()[0]]
    assert status.state == "finished"
    assert np.mean(losses[-10:]) < 0.65 * losses[0]


@pytest.mark.parametrize("recipe", ["paper", "adamw, cool-down"])
def test_a_stopped_and_resumed_run_reaches_the_same_bits(go, tiny, recipe):
    whole, _ = go(tiny(name="whole", **RECIPES[recipe]))
    control = Control()
    halves, status = go(
        tiny(name="halves", **RECIPES[recipe]), control=control,
        report=lambda status: control.stop() if status.state == "running" and status.step >= 5 else None,
    )  # fmt: skip
    assert status.state == "stopped" and status.step < 12
    go(halves.config(), resume=True)
    one, other = checkpoint.load_state(whole.state_path), checkpoint.load_state(halves.state_path)
    for name in one["weights"]:
        assert torch.equal(one["weights"][name], other["weights"][name]), name
    assert one["moments"].keys() == other["moments"].keys()
    for index, moments in one["moments"].items():
        assert all(torch.equal(moments[name], other["moments"][index][name]) for name in moments)


def test_the_end_of_the_rate_is_in_the_metrics(go, tiny):
    run, _ = go(tiny(epochs=10, lr=1e-2, warmup_steps=0, cooldown=0.5))
    rates = [row["lr"] for row in run.metrics()[0]]
    assert rates[0] == 1e-2 and rates[-1] == pytest.approx(1e-3)  # 20 steps: a tenth is left at the last


def test_a_run_is_brought_to_its_end_by_a_cool_down_that_was_not_planned(go, tiny):
    run, _ = go(tiny(epochs=None, max_steps=10, lr=1e-2, warmup_steps=0))
    root, name = run.root, run.name
    run, config = resume_run(root, name, {"max_steps": 20, "cooldown": 0.5})
    trainer.train(run, config, data_dir=root, resume=True)
    rates = [row["lr"] for row in run.metrics()[0]]
    assert rates[0] == 1e-2 and rates[-1] == pytest.approx(1e-3)
