"""Training in the background, as the page drives it."""

import errno
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.errors import CheckpointError, DataError, UsageError
from ddpm_core.runs import Run, Status
from ddpm_core.session import ENDED, Session


@pytest.fixture
def session(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    session = Session(tmp_path / "out", tmp_path / "data")
    yield session
    session.close()


def settings(session, **values) -> RunConfig:
    network = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, attention=(1,))
    defaults = {"dataset": str(session.root.parent / "pictures"), "size": 16, "network": network, "name": "dots"}
    return RunConfig(**{**defaults, "batch_size": 4, "epochs": 100_000, "device": "cpu", **values})


def wait(session, what, seconds=60):
    """Until `what(status)` holds; fails with the status it hung at."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = session.current()[1]
        if status is not None and what(status):
            return status
        time.sleep(0.02)
    raise AssertionError(f"still {session.current()}")


def test_before_the_first_run_there_is_nothing(session):
    assert session.current() == (None, None) and not session.running
    session.pause(), session.stop(), session.sample_now(), session.unpause()  # and none of these minds


def test_start_pause_unpause_sample_stop(session):
    run = session.start(settings(session))
    assert session.running
    wait(session, lambda status: status.step >= 3)

    session.pause()
    step = wait(session, lambda status: status.state == "paused").step
    time.sleep(0.3)
    assert session.current()[1].step == step, "a paused run must not move"
    session.sample_now()
    end = time.monotonic() + 60
    while not list(run.progress.glob("quick_now_*.png")):
        assert time.monotonic() < end
        time.sleep(0.02)

    session.unpause()
    wait(session, lambda status: status.step > step)
    session.stop()
    wait(session, lambda status: status.state == "stopped")
    assert run.final_path.exists() and run.can_resume()


def test_a_stopped_run_can_be_resumed_and_goes_on_counting(session):
    run = session.start(settings(session))
    wait(session, lambda status: status.step >= 3)
    session.close()
    stopped = session.current()[1].step
    session.start(run.config(), resume=True)
    wait(session, lambda status: status.state == "running" and status.step > stopped)


def test_a_resume_that_fails_while_it_prepares_leaves_the_run_where_it_stood(session, monkeypatch):
    run = session.start(settings(session))
    wait(session, lambda status: status.step >= 3)
    session.stop()
    before = wait(session, lambda status: status.state == "stopped")
    session.close()

    def broken(*args, **kwargs):
        raise DataError("the disk with the pictures is gone: plug it in.")

    monkeypatch.setattr("ddpm_core.training.trainer.prepare", broken)
    session.start(run.config(), resume=True)
    after = wait(session, lambda status: status.state == "failed")
    assert (after.step, after.resumes_from, after.total_steps) == (before.step, before.resumes_from, before.total_steps)
    assert after.message == "the disk with the pictures is gone: plug it in." and run.status().state == "stopped"


def test_one_run_at_a_time(session):
    session.start(settings(session))
    with pytest.raises(UsageError, match="stop it first"):
        session.start(settings(session, name="other"))


def test_a_second_run_of_the_same_settings_gets_a_name_of_its_own(session):
    first = session.start(settings(session, max_steps=1))
    wait(session, lambda status: status.state in ENDED)
    session.close()
    second = session.start(settings(session, max_steps=1))
    assert (first.name, second.name) == ("dots", "dots-2")
    session.close()
    with pytest.raises(UsageError, match="--resume"):
        session.start(settings(session, max_steps=1), explicit_name=True)


def test_held_while_somebody_explores(session):
    with pytest.raises(UsageError, match="nothing is training here"):
        session.hold("me")
    session.start(settings(session))
    wait(session, lambda status: status.step >= 3)
    assert not session.held
    session.hold("me")
    step = wait(session, lambda status: status.state == "paused").step
    assert session.held and session.still_holds("me")
    session.let_go("me")
    wait(session, lambda status: status.state == "running" and status.step > step)
    assert not session.held and not session.still_holds("me")

    # By hand: that wins, in both directions.
    session.hold("me")
    wait(session, lambda status: status.state == "paused")
    session.unpause()
    wait(session, lambda status: status.state == "running")
    assert not session.still_holds("me")
    session.pause()
    wait(session, lambda status: status.state == "paused")
    with pytest.raises(UsageError, match="paused already"):
        session.hold("me")


def test_a_pause_that_still_waits_for_a_long_step_is_not_undone_by_an_explorer(session):
    session.start(settings(session))
    wait(session, lambda status: status.step >= 3)
    with session.turns():  # the step cannot end
        session.pause()
        with pytest.raises(UsageError, match="paused already"):
            session.hold("me")
    wait(session, lambda status: status.state == "paused")


def test_finishing_lets_go_of_a_run_that_is_held(session):
    session.start(settings(session))
    wait(session, lambda status: status.step >= 3)
    session.hold("me")
    wait(session, lambda status: status.state == "paused")
    session.finish()
    assert not session.held and not session.still_holds("me")
    wait(session, lambda status: status.state == "finished")


def test_a_page_that_is_closed_holds_nothing_for_long(session, monkeypatch):
    monkeypatch.setattr(session._hold, "_patience", 5.0)  # a step beside a busy browser can take more than a second
    session.start(settings(session))
    wait(session, lambda status: status.step >= 3)
    session.hold("me")
    step = wait(session, lambda status: status.state == "paused").step
    wait(session, lambda status: status.state == "running" and status.step > step)
    assert not session.held


def test_a_run_begins_with_the_memory_that_models_had(session, toy_run):
    path = toy_run(session.root, "toy")
    before = session.shelf.take(path)
    assert session.shelf.take(path) is before
    session.start(settings(session, max_steps=1))
    wait(session, lambda status: status.state in ENDED)
    assert session.shelf.take(path) is not before


def test_what_training_waits_is_counted(session):
    session.start(settings(session))
    wait(session, lambda status: status.step >= 3)
    before = session.waited
    end = time.monotonic() + 60
    with session.turns():  # a picture is being made
        while session.waited < before + 0.3:
            assert time.monotonic() < end
            time.sleep(0.01)
    step = session.current()[1].step
    wait(session, lambda status: status.step > step + 1)
    waited, began = session.waited, time.monotonic()
    wait(session, lambda status: status.step > step + 10)
    assert session.waited - waited < (time.monotonic() - began) / 2, "only waiting counts"


def test_what_is_measured_in_quiet_never_meets_a_preparation(session, monkeypatch):
    """A trial that ran beside one called the run eight times as long as it was, on the page of whoever pressed Start at once."""
    from ddpm_core.training import trainer

    told = []
    reading, read = threading.Event(), threading.Event()

    def prepares(run, config, *, report, **_):
        told.append("prepares")
        reading.set()
        assert read.wait(60)
        told.append("prepared")
        report(Status(state="running"))
        return Status(state="finished")

    def measures():
        with session.quiet():
            told.append("measured")

    monkeypatch.setattr(trainer, "train", prepares)
    with session.quiet():  # as a page does that has just been opened, when Start is pressed
        session.start(settings(session))
        assert not reading.wait(0.3)
        told.append("measured")
    assert reading.wait(60)
    page = threading.Thread(target=measures)  # and another one, a moment later
    page.start()
    time.sleep(0.3)
    read.set()
    page.join(60)
    assert told == ["measured", "prepares", "prepared", "measured"]


def test_a_mistake_is_told_at_once_and_leaves_nothing(session):
    with pytest.raises(DataError, match="nowhere"):
        session.start(settings(session, dataset="./nowhere"))
    with pytest.raises(CheckpointError, match="dots"):
        session.start(settings(session), resume=True)
    assert not session.running and not session.root.exists()


def test_a_fault_in_the_background_is_told_and_the_next_run_starts(session, monkeypatch, capsys):
    from ddpm_core.training import trainer

    def broken(*_, **__):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train", broken)
        session.start(settings(session))
        status = wait(session, lambda status: status.state == "failed")
    assert "a bug" in status.message and "Traceback" in capsys.readouterr().err
    session.close()
    session.start(settings(session, name="next", max_steps=1))
    wait(session, lambda status: status.state == "finished")


def test_a_run_whose_disk_is_full_has_ended_though_its_folder_cannot_say_so(session, monkeypatch):
    run = session.start(settings(session))
    wait(session, lambda status: status.step >= 1)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Run, "append_metrics", full)
    monkeypatch.setattr(Run, "write_status", full)
    wait(session, lambda status: status.state == "failed")
    assert run.status().state == "running", "nothing could be written"
    assert session.status_of(run).state == "failed"
    assert session.status_of(Run(session.root, "another")) is None
    monkeypatch.undo()
    session.start(settings(session, name="next"))
    wait(session, lambda status: status.step >= 1)
    assert session.status_of(run).state == "interrupted", "nobody trains it, though its process lives"


def test_a_mistake_found_in_the_background_is_one_line(session, capsys):
    session.start(settings(session, from_model="no_such.pt"))
    status = wait(session, lambda status: status.state == "failed")
    assert "no_such.pt" in status.message and "Traceback" not in capsys.readouterr().err


def test_a_limit_of_steps_is_lifted_by_leaving_it_empty(session):
    run = session.start(settings(session, max_steps=2))
    wait(session, lambda status: status.state == "finished")
    session.close()
    session.start(settings(session, max_steps=None), resume=True)
    wait(session, lambda status: status.step > 2)
    assert run.config().max_steps is None
