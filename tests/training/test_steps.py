"""Where steps are recorded: from the second one on, anew when the network is compiled, and not where it does not work. Here a
stand-in is played, as there is no card; tests/training/test_on_a_card.py has the real one."""

import pytest
import torch

from ddpm_core import checkpoint, devices
from ddpm_core.runs import Run
from ddpm_core.training import recording, trainer, trial
from ddpm_core.training.state import TrainingState

FIRST = 4  # the step from which it is compiled


class StandIn:
    """Makes the very step that it was recorded from, and notes which ones it was asked for."""

    made: list["StandIn"] = []

    def __init__(self, state, batch_loss, network, step):
        self.state, self.batch_loss, self.network = state, batch_loss, network
        self.after, self.played = step, []
        StandIn.made.append(self)

    def __call__(self, step):
        state = self.state
        self.played.append(step)
        recording.seed_dropout(state.config, step)
        loss = self.batch_loss.of(self.network, self.batch_loss.draw(step))
        loss.backward()
        norm = state.precision.step(state.optimizer, state.network, state.config.grad_clip)
        state.optimizer.zero_grad()
        return loss.detach(), norm


@pytest.fixture
def go(tmp_path, monkeypatch):
    """go(config): the run's saved state and its last message, on a machine where recording pays."""
    StandIn.made = []
    monkeypatch.setattr(recording, "pays", lambda state: state.config.compile)
    monkeypatch.setattr(recording, "pace", lambda state, batch_loss: 1.0)
    monkeypatch.setattr(recording, "Recording", StandIn)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def go(config):
        run = Run(tmp_path / "out", config.name)
        status = trainer.train(run, config, data_dir=tmp_path / "data")
        return checkpoint.load_state(run.state_path, print), status.message

    return go


def same(one, other):
    return all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])


def test_all_but_the_first_step_are_played_and_nothing_changes(go, tiny):
    called, said = go(tiny(name="called", compile=False))
    assert not StandIn.made and "recorded" not in said
    played, said = go(tiny(name="played"))
    (only,) = StandIn.made
    assert (only.after, only.played) == (0, list(range(1, 12)))
    assert "Its steps are recorded and played." in said
    assert same(called, played)


def test_the_compiled_network_gets_a_recording_of_its_own(go, tiny, monkeypatch):
    monkeypatch.setattr(devices, "compile_pays", lambda device: True)
    monkeypatch.setattr(trial, "COMPILE_AFTER", 0.0)
    monkeypatch.setattr(trial, "COMPILE_AFTER_STEPS", FIRST)
    monkeypatch.setattr(torch, "compile", lambda network: lambda *given, **named: network(*given, **named))
    go(tiny(name="compiled"))
    plain, compiled = StandIn.made
    assert (plain.after, plain.played) == (0, list(range(1, FIRST)))
    assert (compiled.after, compiled.played) == (FIRST, list(range(FIRST + 1, 12)))
    assert compiled.network is not plain.network


def test_where_it_does_not_work_steps_are_called(go, tiny, monkeypatch):
    called, _ = go(tiny(name="called", compile=False))

    def broken(*_):
        raise RuntimeError("the tape is full\nat great length")

    monkeypatch.setattr(recording, "Recording", broken)
    without, said = go(tiny(name="without"))
    assert "could not be recorded, each kernel is called by itself (RuntimeError: the tape is full)" in said
    assert same(called, without)


def test_when_to_compile_follows_from_the_pace_of_a_recording(go, tiny, monkeypatch):
    monkeypatch.setattr(devices, "compile_pays", lambda device: True)
    monkeypatch.setattr(trial, "step_seconds", lambda state, gradients: 0.25)
    monkeypatch.setattr(recording, "pace", lambda state, batch_loss: 0.5)
    saved, _ = go(tiny(name="paced"))
    assert saved["compiled_from"] == trial.COMPILE_AFTER / 0.5

    def broken(*_):
        raise RuntimeError("nothing can be recorded")

    monkeypatch.setattr(recording, "pace", broken)
    saved, _ = go(tiny(name="called"))
    assert saved["compiled_from"] == trial.COMPILE_AFTER / 0.25


def test_only_whole_batches_on_a_card_are_recorded(tiny, eight_pictures):
    state = TrainingState(tiny(), eight_pictures.transpose(0, 3, 1, 2).copy(), torch.device("cpu"))
    assert not recording.pays(state)
    state.device = torch.device("cuda")
    assert recording.pays(state)
    state.micro_batch = 2
    assert not recording.pays(state)
    state.micro_batch = 4
    state.precision.scaler = torch.amp.GradScaler("cpu")
    assert not recording.pays(state)
