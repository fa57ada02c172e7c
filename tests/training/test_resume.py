"""A run goes on where it stopped: to the same bits, in the same rhythm, from the same pictures."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from ddpm_core import checkpoint
from ddpm_core.data import places
from ddpm_core.errors import DataError
from ddpm_core.runs import Run
from ddpm_core.training import previews, trainer
from ddpm_core.training.control import Control
from ddpm_core.training.state import TrainingState
from tests.weights import same, weights_of


@pytest.fixture
def go(tmp_path):
    """train() into a run of this test, without the background noise."""

    def go(config, **options):
        run = Run(tmp_path / "out", config.name)
        return run, trainer.train(run, config, data_dir=tmp_path / "data", **options)

    return go


class StopAt(Control):
    """Asks for a stop once `step` steps are made, as a person would, from the report."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def watch(self, status):
        if status.state == "running" and status.step >= self.step:
            self.stop()


def test_a_resumed_run_writes_what_the_stop_would_have_kept_from_being_due(go, tiny):
    """Its rhythm is that of the whole run, not of the steps since the resume."""
    control = StopAt(18)
    run, status = go(tiny(epochs=10, sample_every=5), control=control, report=control.watch)
    assert status.step == 18
    go(run.config(), resume=True)
    assert run.epoch_path(10).exists() and (run.progress / "quick_epoch_10.png").exists()


def test_pictures_that_a_stop_broke_off_are_drawn_after_the_resume(go, tiny, monkeypatch):
    often = {"epochs": 10, "sample_every": 5, "checkpoint_every": 5}
    whole, _ = go(tiny(name="whole", **often))
    control, sample = Control(), previews._sample

    def broken_off(*arguments):
        control.stop()
        return sample(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(previews, "_sample", broken_off)
        halves, status = go(tiny(name="halves", **often), control=control)

    def drawn(run):
        return run.progress / "quick_epoch_5.png", run.samples / "epoch_5_samples.png"

    assert status.step == 10 and not any(path.exists() for path in drawn(halves))
    go(halves.config(), resume=True)
    for one, other in zip(drawn(whole), drawn(halves), strict=True):
        assert (np.asarray(Image.open(one)) == np.asarray(Image.open(other))).all()


def test_the_best_model_of_a_first_short_stop_gives_way_to_the_next(go, tiny):
    """Nothing is judged in the first steps: what a stop leaves there as the best is a stand-in."""
    control = StopAt(3)
    run, status = go(tiny(epochs=50), control=control, report=control.watch)
    assert checkpoint.load_model(run.best_path).step == status.step < 20
    go(dataclasses.replace(run.config(), max_steps=20), resume=True)
    assert checkpoint.load_model(run.best_path).step == 20


def test_a_run_that_was_killed_tells_the_step_that_it_goes_on_from(go, tiny, monkeypatch):
    control = StopAt(5)
    run, status = go(tiny(epochs=50), control=control, report=control.watch)
    saved = status.step
    assert status.saved == status.resumes_from == saved

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # two steps later, as by a power cut: nothing is saved
        patch.setattr(TrainingState, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            go(dataclasses.replace(run.config(), max_steps=saved + 2), resume=True)
    status = run.status()
    assert (status.step, status.resumes_from, status.images) == (saved + 2, saved, 4 * saved + 8)


@pytest.mark.parametrize("stop_at", [1, 3, 7])
def test_a_stopped_and_resumed_run_reaches_the_same_bits(go, tiny, stop_at):
    whole, _ = go(tiny(name="whole", sample_every=5))  # a grid on the way
    control = StopAt(stop_at)
    halves, status = go(tiny(name="halves", sample_every=5), control=control, report=control.watch)
    assert status.state == "stopped" and status.step < 12
    go(halves.config(), resume=True)

    assert same(weights_of(whole.final_path), weights_of(halves.final_path))
    one, other = checkpoint.load_state(whole.state_path), checkpoint.load_state(halves.state_path)
    assert same(one["weights"], other["weights"])
    for index in one["moments"]:
        assert same(one["moments"][index], other["moments"][index])
    assert one["best_loss"] == other["best_loss"]
    steps = [row["step"] for row in halves.metrics()[0]]
    assert steps == sorted(set(steps)), "the metrics must have no step twice"


def test_a_longer_run_goes_through_the_weights_of_the_shorter(go, tiny):
    whole, _ = go(tiny(name="whole", epochs=6))
    run, _ = go(tiny(name="longer", epochs=3))
    go(dataclasses.replace(run.config(), epochs=6), resume=True)
    assert same(weights_of(whole.final_path), weights_of(run.final_path))


def test_changed_pictures_are_noticed_at_resume(go, tiny, folder):
    run, _ = go(tiny())
    (folder / "0.png").unlink()
    with pytest.raises(DataError, match="are not just those that"):
        go(dataclasses.replace(run.config(), epochs=20), resume=True)


def test_a_large_set_is_known_again_by_either_mark(go, tiny, monkeypatch):
    """Earlier versions kept the whole checksum of a large set in the resume point."""
    marks = []
    run, _ = go(tiny(max_steps=1))
    marks.append(checkpoint.load_state(run.state_path, print)["data_mark"])
    monkeypatch.setattr(places, "SMALL", 1)
    for steps in (2, 3):
        go(dataclasses.replace(run.config(), max_steps=steps), resume=True)
        marks.append(checkpoint.load_state(run.state_path, print)["data_mark"])
    assert marks[0] != marks[1] == marks[2]
