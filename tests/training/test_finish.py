"""A run that is finished early cools down first, to the same weights whether it is interrupted on the way or not."""

import dataclasses
import json

import pytest
import torch

from ddpm_core import checkpoint
from ddpm_core.runs import Run
from ddpm_core.training import optimizer, trainer
from ddpm_core.training.control import Control


class FinishAtOnce(Control):
    """Is asked to finish before its first step, and to stop once `stop` steps are made."""

    def __init__(self, stop=None):
        super().__init__()
        self.stop_at = stop
        self.finish()

    def watch(self, status):
        if self.stop_at is not None and status.state == "running" and status.step >= self.stop_at:
            self.stop()


@pytest.fixture
def go(tmp_path):
    def go(config, control, **options):
        run = Run(tmp_path / "out", config.name)
        report = getattr(control, "watch", lambda status: None)
        return run, trainer.train(run, config, data_dir=tmp_path / "data", control=control, report=report, **options)

    return go


def test_it_ends_soon_and_the_rate_falls_to_zero(go, tiny):
    run, status = go(tiny(epochs=500, warmup_steps=1), FinishAtOnce())
    assert (status.state, status.step, status.total_steps) == ("finished", 50, 50)
    assert "over the last 50 steps the learning rate falls to zero" in status.message
    rates = [json.loads(line)["lr"] for line in run.metrics_path.read_text().splitlines()]
    assert rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(tiny().lr / 50)
    assert run.final_path.exists()


def test_stopped_while_it_cools_down_it_reaches_the_same_weights(go, tiny):
    whole, _ = go(tiny(name="whole", epochs=500), FinishAtOnce())
    parted, status = go(tiny(name="parted", epochs=500), FinishAtOnce(stop=7))
    assert status.state == "stopped" and 7 <= status.step < 50
    parted, status = go(parted.config(), Control(), resume=True)
    assert (status.state, status.step) == ("finished", 50)
    one, other = (checkpoint.load_model(run.final_path).weights for run in (whole, parted))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_was_finished_can_be_made_longer(go, tiny):
    run, _ = go(tiny(epochs=500), FinishAtOnce())
    longer = dataclasses.replace(run.config(), epochs=1000, max_steps=60)
    _, status = go(longer, Control(), resume=True)
    assert (status.state, status.step) == ("finished", 60)


def test_a_cool_down_never_makes_a_run_longer():
    assert optimizer.cool_down(100, 10_000) == (100, 150)
    assert optimizer.cool_down(1000, 10_000) == (1000, 1200)
    assert optimizer.cool_down(1000, 1010) == (1000, 1010)
