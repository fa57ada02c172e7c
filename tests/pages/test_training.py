"""The Training tab's handlers: plain functions of what the form holds, whatever a browser or a script sends."""

import contextlib
import dataclasses
import math
import os
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from ddpm_core import config
from ddpm_core.config import preset
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.runs import Run, Status, process_born
from ddpm_core.session import Session
from pages import filling, launch

FORM = {
    "dataset": "openmoji", "crop": "center", "background": "white", "colour": "auto", "size": 32, "preset": "cpu",
    "class_conditional": False, "epochs": 5.0, "batch_size": 64, "seed": 0, "start_from": filling.SCRATCH,
    "lr": 0.001, "max_steps": None, "name": "", "flip": False, "augment": 0.0, "held_out": 0.05, "micro_batch": None,
    "data_on": "auto", "amp": True, "compile": True,
}  # fmt: skip


class FakeSession:
    """Remembers what it was asked to start."""

    def __init__(self, root: Path):
        self.root = self.data_dir = root
        self.quiet = contextlib.nullcontext
        self.started = []

    def start(self, settings, **how):
        self.started.append((settings, how))
        return Run(self.root, settings.name)

    status_of = Session.status_of

    def current(self):
        return None, None


@pytest.fixture
def session(tmp_path):
    return FakeSession(tmp_path)


def form(**changes):
    return list({**FORM, **changes}.values())


def read(root, **changes):
    return launch.read(*form(**changes), root=root)


def saved_run(root, name="old", state="stopped", **settings):
    run = Run(root, name)
    run.create(preset(name=name, **{"epochs": 7, **settings}))
    run.state_path.write_bytes(b"")
    run.best_path.write_bytes(b"")
    run.write_status(Status(state=state, step=120))
    return run


def test_the_form_becomes_settings(tmp_path):
    settings, resume = read(
        tmp_path, size=64, preset="standard", epochs=5.0, seed=3.0, max_steps=100.0, lr=2e-4, amp=False
    )
    assert not resume
    assert settings == preset("openmoji", 64, "standard", epochs=5, seed=3, max_steps=100, lr=2e-4, amp=False)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("epochs", None, "epochs is empty"),
        ("epochs", "", "epochs is empty"),
        ("epochs", 0, "epochs is 0"),
        ("epochs", -3.0, "epochs is -3"),
        ("epochs", 1.5, "epochs is 1.5"),
        ("epochs", math.nan, "epochs is nan"),
        ("epochs", "nan", "epochs is 'nan'"),
        ("epochs", math.inf, "epochs is inf"),
        ("epochs", True, "epochs is True"),
        ("epochs", [5], "epochs is [5]"),
        ("epochs", 1e12, "epochs is 1000000000000"),
        ("batch_size", None, "batch size is empty"),
        ("batch_size", 0, "batch_size is 0"),
        ("batch_size", math.nan, "batch_size is nan"),
        ("seed", None, "seed is empty"),
        ("seed", -1, "seed is -1"),
        ("seed", 0.5, "seed is 0.5"),
        ("lr", None, "learning rate is empty"),
        ("lr", math.nan, "lr is nan"),
        ("lr", "fast", "lr is 'fast'"),
        ("max_steps", 0, "max_steps is 0"),
        ("max_steps", math.nan, "max_steps is nan"),
        ("size", 30, "size 30"),
        ("size", None, "size None"),
        ("size", "32", "size '32'"),
        ("size", [32], "size [32]"),
        ("preset", "huge", "preset is 'huge'"),
        ("dataset", None, "dataset is empty"),
        ("dataset", ["openmoji"], "dataset is empty"),
        ("name", "../x", "cannot name a run"),
        ("name", "<script>", "cannot name a run"),
        ("start_from", "resume/nobody", "not there any more"),
        ("start_from", "model/old/../../secret.pt", "not there any more"),
        ("start_from", "/etc/passwd", "not there any more"),
        ("start_from", {"path": "/etc/passwd"}, "not there any more"),
    ],
)
def test_what_cannot_work_is_one_line_and_starts_nothing(session, field, value, words):
    saved_run(session.root)
    said, watch = launch.begin(session, *form(**{field: value}))
    assert words.lower() in said.lower() and "\n" not in said
    assert watch["visible"] is False and session.started == []
    assert launch.forecast(session, *form(**{field: value})) == (said, {})


def test_start_says_so(session):
    said, watch = launch.begin(session, *form())
    assert said.startswith("openmoji_32x32 has begun") and watch["visible"] is True
    ((_, how),) = session.started
    assert how == {"resume": False, "explicit_name": False}


def test_a_name_that_was_typed_is_kept(session):
    launch.begin(session, *form(name=" cats "))
    ((settings, how),) = session.started
    assert settings.name == "cats" and how["explicit_name"] is True


def test_resume_takes_the_runs_own_settings(session):
    saved_run(session.root, seed=9, lr=5e-4)
    said, _ = launch.begin(session, *form(start_from="resume/old", epochs=20, seed=1, size=64))
    assert said == "old goes on from step 120."
    ((settings, how),) = session.started
    assert (settings.name, settings.seed, settings.lr, settings.epochs, settings.size) == ("old", 9, 5e-4, 20, 32)
    assert how["resume"] is True


def test_fine_tuning_names_a_file_that_is_there(session):
    run = saved_run(session.root)
    launch.begin(session, *form(start_from="model/old/ddpm_best.pt"))
    assert session.started[0][0].from_model == str(run.best_path)


def test_larger_pictures_grow_from_a_model(session):
    run = saved_run(session.root)
    launch.begin(session, *form(start_from="model/old/ddpm_best.pt", size=64))
    settings = session.started[0][0]
    small = run.config().network
    assert settings.network == dataclasses.replace(small, patch=2 * small.patch)
    wrong = launch.begin(session, *form(start_from="model/old/ddpm_best.pt", size=31))[0]
    assert "\n" not in wrong and "31" in wrong


def test_what_the_form_asks_for_reaches_the_run(tmp_path):
    asked = {
        "crop": "pad", "background": "black", "colour": "grey", "flip": True, "augment": 0.1, "held_out": 0.2,
        "micro_batch": 8.0, "data_on": "disk", "compile": False, "class_conditional": True,
    }  # fmt: skip
    settings, _ = read(tmp_path, **asked)
    assert {key: getattr(settings, key) for key in asked} == {**asked, "micro_batch": 8}


def test_a_set_without_classes_cannot_teach_them(session, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (50, 40)).save(folder / "1.png")
    said, whole = launch.forecast(session, *form(dataset=str(folder), class_conditional=True))
    assert "no classes to learn" in said and whole == {}


def test_the_whole_plan_is_told_fact_by_fact(session, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(30):
        Image.new("RGB", (50, 40), (number, 0, 0)).save(folder / f"{number}.png")
    _, whole = launch.forecast(session, *form(dataset=str(folder), batch_size=16, micro_batch=4))
    names = [name for name, _ in whole["facts"] if name]
    assert names[:8] == ["device", "preset", "pictures", "batch", "steps", "pace", "time", "memory"]
    told = " ".join(text for _, text in whole["facts"])
    assert "16 pictures a step, 4 at a time, 4 times" in told and "an epoch" in told and "gradients" in told
    assert [card["card"] for card in whole["cards"]] == ["6 GB", "8 GB", "12 GB", "24 GB"]


def choices(session):
    return [value for _, value in filling.start_choices(session)]


def test_start_choices_offer_what_can_be_done(session):
    assert choices(session) == ["scratch"]
    saved_run(session.root)
    assert choices(session) == ["scratch", "resume/old", "model/old/ddpm_best.pt"]


def test_a_run_that_could_not_write_its_end_can_go_on(session):
    """Its folder says that it runs, and the process that it names, this one, lives."""
    run = saved_run(session.root)
    theirs = Status(state="running", step=120, pid=os.getppid(), born=process_born(os.getppid()))
    run.write_status(theirs)
    assert choices(session) == ["scratch", "model/old/ddpm_best.pt"], "another program trains it"
    ours = dataclasses.replace(theirs, pid=os.getpid(), born=process_born())
    run.write_status(ours)
    session.current = lambda: (run, ours)
    assert choices(session) == ["scratch", "model/old/ddpm_best.pt"], "we do"
    for now in ((run, dataclasses.replace(ours, state="failed", updated=ours.updated + 1)), (None, None)):
        session.current = lambda now=now: now
        assert choices(session) == ["scratch", "resume/old", "model/old/ddpm_best.pt"]


def test_choosing_a_run_fills_the_form_and_holds_what_cannot_change(session):
    saved_run(session.root, size=64, seed=4)
    updates = dict(zip(FORM, filling.from_choice(session, "resume/old"), strict=True))
    assert (updates["size"]["value"], updates["seed"]["value"], updates["epochs"]["value"]) == (64, 4, 7)
    assert updates["size"]["interactive"] is False and updates["epochs"]["interactive"] is True
    freed = dict(zip(FORM, filling.from_choice(session, "scratch"), strict=True))
    assert all(update["interactive"] for update in freed.values())
    assert (freed["name"]["value"], freed["max_steps"]["value"]) == ("", None), "the other run's would be in the way"


def test_a_finished_run_gets_more_to_do(session):
    run = saved_run(session.root, state="finished")
    assert dict(zip(FORM, filling.from_choice(session, "resume/old"), strict=True))["epochs"]["value"] == 14
    run.create(dataclasses.replace(run.config(), epochs=1_000_000))  # what a single picture gets
    assert dict(zip(FORM, filling.from_choice(session, "resume/old"), strict=True))["epochs"]["value"] == 2_000_000


def test_the_form_shows_the_run_that_trains(session):
    run = saved_run(session.root, state="running", size=96, batch_size=17)
    session.current = lambda: (run, dataclasses.replace(run.status(), state="running"))
    updates = dict(zip(FORM, filling.present(session), strict=True))
    assert (updates["size"]["value"], updates["batch_size"]["value"]) == (96, 17)


def test_a_graphics_card_gets_the_model_that_suits_it_and_its_recipe(session, monkeypatch):
    from ddpm_core import devices
    from ddpm_core.training import memory

    def unchanged(updates):
        return all(isinstance(update, dict) and "value" not in update for update in updates)

    assert len(filling.suited(session)) == 3 and unchanged(filling.suited(session))
    monkeypatch.setattr(devices, "choose", lambda name: torch.device("cuda"))
    monkeypatch.setattr(memory, "best_preset", lambda settings, device: {"cuda": "standard"}[device.type])
    best = preset(size=32, preset="standard")
    assert filling.suited(session) == ["standard", best.batch_size, best.lr]
    run = saved_run(session.root, state="running")
    session.current = lambda: (run, dataclasses.replace(run.status(), state="running"))  # the form is that run's
    assert unchanged(filling.suited(session))


def test_recipe_follows_size_and_model():
    assert filling.recipe(256, "standard") == [16, 1e-4]
    assert all(update["__type__"] == "update" for update in filling.recipe(30, "x"))


@pytest.mark.parametrize("size", config.SIZES)
def test_peek_shows_pictures_at_their_size(session, tmp_path, size):
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (50, 40), (i * 40, 90, 90)).save(folder / f"{i}.png")
    told = launch.peek(session, str(folder), size)
    assert told["size"] == size and len(told["pictures"]) == 3 and told["line"].startswith("3 pictures")
    assert all(uri.startswith("data:image/png;base64,") for uri in told["pictures"])


@pytest.mark.parametrize("dataset", ["opnmoji", "", None, "/no/such/folder", "<img src=x onerror=alert(1)>"])
def test_peek_explains_what_is_not_there(session, dataset):
    told = launch.peek(session, dataset, 32)
    assert told["pictures"] == [] and told["error"] and "\n" not in told["error"]


def test_errors_are_studio_errors(tmp_path):
    with pytest.raises(StudioError):
        read(tmp_path, epochs=object())
    with pytest.raises(UsageError):
        filling.chosen_start(tmp_path, "model/x/y.pt")


def test_a_forecast_says_why_a_card_is_not_used(session, monkeypatch, tmp_path):
    from ddpm_core import devices

    for number in range(2):
        Image.new("RGB", (50, 40)).save(tmp_path / f"{number}.png")
    for advice in ("The GTX 1060 wants another torch.", None):
        monkeypatch.setattr(devices, "advice", lambda said=advice: said)
        said, facts = launch.forecast(session, *form(dataset=str(tmp_path)))
        assert ("The GTX 1060 wants another torch." in said) == bool(advice) and facts["facts"]


def test_what_a_forecast_computes_with_ends_with_it(session, monkeypatch, tmp_path):
    """A thread of the server would live on, and one that has computed on several cores slows a run."""
    from ddpm_core.training import plan

    threads = []

    def unwell(*_, **__):
        threads.append(threading.current_thread())
        raise UsageError("there is no room for this.")

    monkeypatch.setattr(plan, "forecast", unwell)
    Image.new("RGB", (50, 40)).save(tmp_path / "1.png")
    said, facts = launch.forecast(session, *form(dataset=str(tmp_path)))
    assert "no room for this" in said and facts == {}
    (thread,) = threads
    assert thread is not threading.current_thread() and not thread.is_alive()
