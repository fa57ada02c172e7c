"""float16 with a scaled loss, on a processor that says it had no better. Cards that need it are rare where tests run."""

import numpy as np
import pytest
import torch

from ddpm_core import checkpoint, devices
from ddpm_core.errors import StudioError
from ddpm_core.runs import Run
from ddpm_core.training import precision, previews, trainer
from ddpm_core.training.control import Control
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.precision import Precision

CPU = torch.device("cpu")


@pytest.fixture
def go(tmp_path, monkeypatch):
    """train() where half precision is float16."""
    monkeypatch.setattr(devices, "half", lambda device, amp: torch.float16 if amp else None)
    monkeypatch.setattr(previews, "draw", lambda *_, **__: True)
    monkeypatch.setattr(trainer.Journal, "due", property(lambda self: True))

    def go(config, stop_at=None, **options):
        run, control = Run(tmp_path / "out", config.name), Control()

        def watch(status):
            if stop_at is not None and status.state == "running" and status.step >= stop_at:
                control.stop()

        return run, trainer.train(run, config, data_dir=tmp_path / "data", control=control, report=watch, **options)

    return go


def saved_by(run):
    return checkpoint.load_state(run.state_path, print)


def begin_with(monkeypatch, scale):
    real = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device: real(device, init_scale=scale, growth_interval=3))


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_run_in_float16_learns(go, tiny, optimizer):
    run, status = go(tiny(batch_size=16, epochs=None, max_steps=30, lr=3e-3, optimizer=optimizer))
    losses = [row["loss"] for row in run.metrics()[0]]
    assert status.state == "finished" and np.mean(losses[-10:]) < 0.75 * losses[0]
    assert saved_by(run)["scaler"]["scale"] == 65536.0


def test_a_step_that_overflows_is_left_out_and_the_scale_halved(go, tiny, monkeypatch):
    """The first gradients are those of the head, about 0.1: with 2^24 they do not fit into float16, which ends at 2^16."""
    begin_with(monkeypatch, 2.0**24)
    run, status = go(tiny(max_steps=1))
    start = saved_by(run)
    assert start["scaler"]["scale"] == 2.0**23 and start["loss_steps"] == 0 and start["step"] == 1
    assert not start["weights"]["head.weight"].any(), "nothing has moved"
    assert not start["moments"], "nor been remembered"
    assert run.metrics()[0] == [] and status.state == "finished"


def test_a_run_recovers_from_too_large_a_scale_and_resumes_to_the_same_bits(go, tiny, monkeypatch):
    begin_with(monkeypatch, 2.0**24)
    whole, status = go(tiny(name="whole", epochs=8))
    assert status.state == "finished" and saved_by(whole)["weights"]["head.weight"].any()
    rows = whole.metrics()[0]
    assert rows[0]["step"] > 1 and all(np.isfinite(row["loss"]) and np.isfinite(row["grad_norm"]) for row in rows)
    skipped = 16 - len(rows)
    assert 0 < skipped < 12 and saved_by(whole)["loss_steps"] == 16 - skipped

    # The last good step is among the first half: the scale had begun to grow again, or was about to.
    halves, status = go(tiny(name="halves", epochs=8), stop_at=rows[1]["step"])
    before = saved_by(halves)["scaler"]
    assert status.step == rows[1]["step"] and before["scale"] < 2.0**24
    go(halves.config(), resume=True)
    one, other = saved_by(whole), saved_by(halves)
    assert one["scaler"] == other["scaler"] != before
    for part in ("weights", "ema", "second_ema"):
        assert all(torch.equal(weight, other[part][name]) for name, weight in one[part].items())


def test_the_scale_does_not_show_in_the_step(tiny, go, monkeypatch):
    """A power of two, so nothing is rounded otherwise; the norm is that of the true gradient."""
    norms = []
    for name, scale in (("one", 2.0**8), ("other", 2.0**12)):
        with monkeypatch.context() as here:
            begin_with(here, scale)
            run, _ = go(tiny(name=name, max_steps=3))
            norms.append([row["grad_norm"] for row in run.metrics()[0]])
    assert norms[0] == pytest.approx(norms[1], rel=0.02)


def test_gradients_that_are_never_numbers_end_the_run_in_one_line(go, tiny, monkeypatch):
    monkeypatch.setattr(precision, "MOST_SKIPPED", 3)
    monkeypatch.setattr(
        DiffusionLoss, "of", lambda self, network, drawn: sum(w.sum() for w in network.parameters()) * float("nan")
    )
    with pytest.raises(StudioError, match="not numbers any more in float16.*--no-amp"):
        go(tiny())


def test_without_float16_there_is_no_scaler_and_nothing_to_store(go, tiny):
    run, _ = go(tiny(amp=False, max_steps=1))
    assert saved_by(run)["scaler"] is None


def test_a_run_that_goes_on_with_other_arithmetic_begins_its_own_scale(monkeypatch):
    monkeypatch.setattr(devices, "half", lambda device, amp: torch.float16 if amp else None)
    Precision(CPU, False).restore({"scale": 4.0})
    fresh = Precision(CPU, True)
    fresh.restore(None)
    assert fresh.state()["scale"] == 65536.0
