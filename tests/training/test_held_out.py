"""Held-out pictures: never in a batch, always measured in the same way, and measuring disturbs nothing."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch

from ddpm_core import checkpoint
from ddpm_core.config import held_out_count
from ddpm_core.data import catalogue
from ddpm_core.data.batches import Batches
from ddpm_core.runs import Run
from ddpm_core.training import held_out, previews, trainer
from ddpm_core.training.control import Control
from ddpm_core.training.held_out import HeldOut, split
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.state import TrainingState

CPU = torch.device("cpu")
PICTURES = 40  # of which two are held out
OF = DiffusionLoss.of


def numbered(channels=3):
    """Picture k is everywhere k."""
    return np.broadcast_to(
        np.arange(PICTURES, dtype=np.uint8)[:, None, None, None], (PICTURES, channels, 16, 16)
    ).copy()


@pytest.fixture
def go(tmp_path, monkeypatch):
    """train() on the numbered pictures."""
    labels = np.arange(PICTURES) % 4 - 1
    found = catalogue.Pictures(numbered(), labels, ("a", "b", "c"), ())
    monkeypatch.setattr(catalogue, "load", lambda *_, **__: found)
    monkeypatch.setattr(held_out, "OPERATIONS", 1.0)  # as few as can be
    monkeypatch.setattr(previews, "draw", lambda *_, **__: True)

    def go(config, stop_at=None, **options):
        run, control = Run(tmp_path / "out", config.name), Control()

        def watch(status):
            if stop_at is not None and status.state == "running" and status.step >= stop_at:
                control.stop()

        return run, trainer.train(run, config, data_dir=tmp_path / "data", control=control, report=watch, **options)

    return go


@pytest.fixture
def measuring(tiny):
    """measuring(control=..., **settings) -> a HeldOut of a network that was never trained, and its trained and held-out picks."""

    def make(control=None, **settings):
        config = tiny(**settings)
        trained, apart = split(PICTURES, 0.25, config.seed)
        state = TrainingState(config, numbered(), CPU, pictures=len(trained))
        loss = DiffusionLoss(config, Batches(numbered(), 4, 0, CPU, trained=trained), CPU)
        return HeldOut(state, loss, trained, apart, control or Control()), set(trained.tolist()), set(apart.tolist())

    return make


def numbers(x0):
    return ((x0[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


# ---- which ones


@pytest.mark.parametrize(
    ("pictures", "share", "held"),
    [(19, 0.5, 0), (20, 0.05, 1), (39, 0.05, 1), (40, 0.05, 2), (4495, 0.05, 224), (1000, 0, 0)],
)
def test_a_share_is_held_out_rounded_down_and_none_of_a_few(pictures, share, held):
    trained, apart = split(pictures, share, 0)
    assert (held_out_count(pictures, share), len(apart), len(trained)) == (held, held, pictures - held)
    assert sorted([*trained.tolist(), *apart.tolist()]) == list(range(pictures))
    assert trained.tolist() == sorted(trained.tolist())


def test_which_ones_is_a_matter_of_the_seed_alone():
    state = torch.get_rng_state()
    one, again, other = (split(200, 0.05, seed)[1].tolist() for seed in (0, 0, 1))
    assert one == again and set(one) != set(other)
    assert max(one) > 100 and min(one) < 100, "not only the last of a set that may be sorted"
    assert torch.equal(torch.get_rng_state(), state)


def test_a_run_never_sees_them(go, tiny, monkeypatch):
    seen = []

    def watched(self, network, drawn):
        if network.training:
            seen.extend(numbers(drawn.x0))
        return OF(self, network, drawn)

    monkeypatch.setattr(DiffusionLoss, "of", watched)
    _, status = go(tiny(batch_size=19, epochs=3))
    trained, apart = split(PICTURES, 0.05, 0)
    assert len(apart) == 2 and status.total_steps == 6 and status.epoch == 3
    assert sorted(seen) == sorted(3 * trained.tolist())
    assert "Never trained on, to judge by: 2 of 40 pictures." in status.message


def test_nothing_is_held_out_where_nobody_wants_it(go, tiny):
    run, status = go(tiny(batch_size=20, epochs=5, held_out=0.0))
    assert status.total_steps == 10 and status.held_out is None and "Never trained on" not in status.message
    assert not any("held_out" in row or "trained" in row for row in run.metrics()[0])


# ---- what is measured


def test_both_figures_are_of_the_right_pictures_with_the_same_noise(measuring, monkeypatch):
    measure, trained, apart = measuring()
    shown = []
    monkeypatch.setattr(DiffusionLoss, "of", lambda self, network, drawn: shown.append(drawn) or drawn.x0.mean())
    found = measure.measure()
    half = len(shown) // 2
    held, others = ({number for drawn in part for number in numbers(drawn.x0)} for part in (shown[:half], shown[half:]))
    assert held == apart and others < trained and len(others) == len(held) == 10
    for name, of_set in (("held_out", held), ("trained", others)):
        # Each of the ten is taken 25 or 26 times.
        assert found[name] == pytest.approx(np.mean(list(of_set)) / 127.5 - 1, abs=0.003)
    assert half > 1
    for one, other in zip(shown[:half], shown[half:], strict=True):
        assert torch.equal(one.eps, other.eps) and torch.equal(one.alpha, other.alpha)
    levels = torch.cat([drawn.alpha for drawn in shown[:half]])
    eps = torch.cat([drawn.eps for drawn in shown[:half]])
    assert len(levels) == 256 and len(levels.unique()) > 250 and eps.std().item() == pytest.approx(1, abs=0.01)
    assert not torch.equal(eps[0], eps[10]), "the same picture, with other noise"


def test_the_measure_is_the_same_again_and_knows_no_step(measuring):
    measure, *_ = measuring()
    network = measure.state.ema.network
    for weight in network.parameters():
        weight.data.normal_(std=0.05)
    first = measure.measure()
    measure.state.step = 77
    torch.manual_seed(3)
    assert measure.measure() == first and set(first) == {"held_out", "trained"}
    measure.at_once = 20  # in other parts the same, but for rounding
    assert measure.measure() == pytest.approx(first, rel=1e-2)


def test_it_is_the_averaged_network_without_dropout_and_nothing_is_drawn(measuring, monkeypatch):
    measure, *_ = measuring()
    asked = []
    monkeypatch.setattr(
        DiffusionLoss, "of", lambda self, network, drawn: asked.append((network, network.training)) or torch.zeros(())
    )
    state = torch.get_rng_state()
    measure.measure()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(network is measure.state.ema.network and not training for network, training in asked)


def test_classes_are_told(go, tiny, monkeypatch):
    told = []

    def watched(self, network, drawn):
        if not network.training:
            told.extend(zip(numbers(drawn.x0), drawn.classes.tolist(), strict=True))
        return OF(self, network, drawn)

    monkeypatch.setattr(DiffusionLoss, "of", watched)
    go(tiny(class_conditional=True, max_steps=1, label_drop=0.9))
    assert told and all(label == number % 4 - 1 for number, label in told)


def test_a_slow_network_is_asked_less_often(measuring, monkeypatch):
    monkeypatch.setattr(held_out, "OPERATIONS", 1.0)
    monkeypatch.setattr(held_out, "OPERATIONS_A_TURN", 1.0)
    measure, *_ = measuring()
    assert measure.at_once == 1 and {len(picks) for picks in measure.picks.values()} == {64}


def test_it_takes_turns_and_ends_at_a_stop(measuring):
    turns = []

    @contextlib.contextmanager
    def turn():
        turns.append(1)
        if len(turns) == 5:
            control.stop()
        yield

    control = Control(turn)
    measure, *_ = measuring(control)
    assert measure.measure() == {} and len(turns) == 5


def test_a_measure_that_does_not_fit_is_left_out(measuring, monkeypatch):
    def full(self, network, drawn):
        raise torch.OutOfMemoryError

    measure, *_ = measuring()
    monkeypatch.setattr(DiffusionLoss, "of", full)
    assert measure.measure() == {}


# ---- in a run


def test_figures_stand_in_the_log_beside_each_grid_and_at_the_end(go, tiny):
    run, status = go(tiny(batch_size=19, epochs=None, max_steps=25, sample_every=5))
    rows = [row for row in run.metrics()[0] if "held_out" in row]
    assert [row["step"] for row in rows] == [10, 20, 25]
    assert all(0 < row[name] < 3 for row in rows for name in ("held_out", "trained", "loss"))
    assert rows[0]["held_out"] != rows[1]["held_out"]
    assert (status.held_out, status.trained) == (rows[-1]["held_out"], rows[-1]["trained"])
    assert run.status() == status


def test_measuring_changes_no_weight_and_a_resumed_run_measures_the_same(go, tiny, monkeypatch):
    monkeypatch.setattr(trainer.Journal, "due", property(lambda self: True))
    config = tiny(batch_size=19, epochs=6, sample_every=2)
    whole, _ = go(config)
    halves, status = go(tiny(name="halves", batch_size=19, epochs=6, sample_every=2), stop_at=7)
    assert status.step == 7
    go(halves.config(), resume=True)
    monkeypatch.setattr(HeldOut, "measure", lambda self: {})
    blind, _ = go(tiny(name="blind", batch_size=19, epochs=6, sample_every=2))
    states = [checkpoint.load_state(run.state_path, print) for run in (whole, halves, blind)]
    for other in states[1:]:
        for part in ("weights", "ema"):
            assert all(torch.equal(weight, other[part][name]) for name, weight in states[0][part].items())
    last = [[row for row in run.metrics()[0] if row["step"] == 12][0] for run in (whole, halves)]
    assert last[0]["held_out"] == last[1]["held_out"] and last[0]["trained"] == last[1]["trained"]


def test_runs_from_before_train_on_every_picture(go, tiny):
    """Their settings say nothing of held-out pictures, and are read as none."""
    run, _ = go(tiny(batch_size=20, epochs=5, held_out=0.0, max_steps=2))  # of 10
    text = run.config_path.read_text()
    run.config_path.write_text(text.replace('  "held_out": 0.0,\n', ""))
    assert "held_out" not in run.config_path.read_text()
    _, status = go(dataclasses.replace(run.config(), max_steps=None), resume=True)
    assert status.state == "finished" and status.total_steps == 10 and status.held_out is None
