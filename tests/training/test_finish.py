"""A run that is finished early cools down first, to the same weights whether it is interrupted on the way or not."""

import dataclasses
import functools
import json

import pytest
import torch

from ddpm_core import checkpoint
from ddpm_core.config import RunConfig
from ddpm_core.errors import StudioError
from ddpm_core.runs import Run
from ddpm_core.training import optimizer, trainer
from ddpm_core.training.control import Control
from ddpm_core.training.state import TrainingState
from ddpm_core.training.steps import Steps


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
def tiny(tiny):
    """With no pictures drawn on the way: these runs are longer than others'."""
    return functools.partial(tiny, sample_every=10_000, checkpoint_every=10_000)


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


def test_a_lower_limit_ends_it_on_the_way(go, tiny):
    run, status = go(tiny(epochs=500), FinishAtOnce(stop=7))
    limited = dataclasses.replace(run.config(), max_steps=status.step + 5)
    _, status = go(limited, Control(), resume=True)
    assert (status.state, status.step, status.total_steps) == ("finished", limited.max_steps, limited.max_steps)


@pytest.mark.parametrize("asked_at", [60, 100])
def test_the_best_model_of_a_run_that_cooled_down_is_its_end(go, tiny, asked_at):
    """Whether its last steps are many enough to be judged, or too few."""

    class After(Control):
        def watch(self, status):
            if status.state == "running" and status.step >= asked_at and status.total_steps > 1000:
                self.finish()

    run, status = go(tiny(epochs=5000, warmup_steps=1), After())
    best, final = (checkpoint.load_model(path) for path in (run.best_path, run.final_path))
    assert status.state == "finished" and best.step == final.step == status.step


def test_a_run_that_was_finished_can_be_made_longer(go, tiny):
    run, _ = go(tiny(epochs=500), FinishAtOnce())
    longer = dataclasses.replace(run.config(), epochs=1000, max_steps=60)
    _, status = go(longer, Control(), resume=True)
    assert (status.state, status.step) == ("finished", 60)


def test_a_finished_run_that_is_asked_for_less_than_it_has_made_hears_what_would_be_more(go, tiny):
    run, status = go(tiny(epochs=3), Control())
    assert (status.state, status.epoch) == ("finished", 3)
    with pytest.raises(StudioError, match=r"it has made all of its .* ask for more: --resume --epochs 6\.$"):
        go(dataclasses.replace(run.config(), epochs=1), Control(), resume=True)


def test_killed_between_its_last_step_and_its_last_file_it_is_finished_all_the_same(go, tiny, monkeypatch):
    whole, _ = go(tiny(name="whole", epochs=500), FinishAtOnce())

    save = TrainingState.save_model

    def full(self, path, loss):
        if path.name == "ddpm_final.pt":
            raise OSError(28, "No space left on device")
        save(self, path, loss)

    with monkeypatch.context() as patched, pytest.raises(StudioError, match="is the disk full"):
        patched.setattr(TrainingState, "save_model", full)
        go(tiny(name="full", epochs=500), FinishAtOnce())
    run, status = go(Run(whole.checkpoints.parent.parent, "full").config(), Control(), resume=True)
    assert (status.state, status.step, status.total_steps) == ("finished", 50, 50)
    assert "It was asked to finish, and ends at step 50." in status.message
    one, other = (checkpoint.load_model(run.final_path).weights for run in (whole, run))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_made_longer_and_killed_before_its_first_save_it_is_still_the_longer_run(go, tiny, monkeypatch):
    run, _ = go(tiny(epochs=500), FinishAtOnce())
    longer = dataclasses.replace(run.config(), epochs=1000, max_steps=60)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(Steps, "__call__", lambda self, step: 1 / 0)
        go(longer, Control(), resume=True)
    _, status = go(run.config(), Control(), resume=True)
    assert (status.state, status.step) == ("finished", 60)


def test_asked_for_it_takes_over_from_the_settings_own():
    """From what the rate is at that moment it falls in a straight line, not in two that are multiplied."""
    config = RunConfig(warmup_steps=1, cooldown=0.2, lr=1.0)

    def rates(first, last, steps):
        return [optimizer.learning_rate(config, step, 1000, (first, last)) for step in steps]

    assert rates(500, 600, (500, 550, 575, 600)) == pytest.approx([1, 0.5, 0.25, 0])
    assert rates(850, 1000, (850, 925, 1000)) == pytest.approx([0.75, 0.375, 0])


def test_a_cool_down_never_makes_a_run_longer():
    assert optimizer.cool_down(100, 10_000) == (100, 150)
    assert optimizer.cool_down(1000, 10_000) == (1000, 1200)
    assert optimizer.cool_down(1000, 1010) == (1000, 1010)
