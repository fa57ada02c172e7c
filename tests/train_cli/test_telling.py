"""What train_high_res.py says of a run: the plan before it, the bar beside it, its name and its model."""

import json

import torch

import train_high_res
from ddpm_core import run_name
from ddpm_core.config import preset
from ddpm_core.runs import Run, Status
from tests.train_cli.line import everything


def test_the_plan_is_told_and_nothing_is_trained(here, capsys):
    before = everything(here.parent)
    assert train_high_res.main(["--dataset=../dots", "--size=32", "--preset=cpu", "--device=cpu", "--plan"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("The plan for dots_32x32, dots at 32 px:") and err == ""
    for words in (
        "38 to learn from, 2 held out",
        "32 pictures a step",
        "1.3 million weights",
        "24 GB fits",
        "an epoch",
    ):
        assert words in out, words
    assert everything(here.parent) == before


def test_what_is_in_the_way_of_the_card_is_said_at_the_start(here, capsys, monkeypatch):
    from ddpm_core import devices

    monkeypatch.setattr(devices, "advice", lambda: "The GTX 1060 wants another torch.")
    monkeypatch.setattr(devices, "choose", lambda name: torch.device("cpu"))
    monkeypatch.setattr(train_high_res, "train", lambda *_, **__: None)
    monkeypatch.setattr(train_high_res, "tell_end", lambda *_: None)
    argv = ["--dataset=../dots", "--size=32", "--max-steps=2"]
    assert train_high_res.main(argv) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Training dots_32x32: ") and "preset cpu" in first and "on this processor" in first
    assert second == "The GTX 1060 wants another torch."
    assert train_high_res.main([*argv, "--device=cpu"]) == 0  # was wanted so
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_on_a_card_the_plan_is_checked_with_three_steps(here, capsys, monkeypatch):
    from ddpm_core import devices
    from ddpm_core.training import plan, rehearsal

    found = plan.forecast(preset("../dots", micro_batch=8, device="cpu"), 40, 3)
    monkeypatch.setattr(plan, "forecast", lambda *_, **__: found)
    monkeypatch.setattr(devices, "choose", lambda name: torch.device("cuda"))
    asked = []
    monkeypatch.setattr(rehearsal, "measured_peak", lambda *given: asked.append(given[1:]) or 3 * 2**30)
    argv = ["--dataset=../dots", "--size=32", "--preset=cpu", "--plan"]
    assert train_high_res.main(argv) == 0
    assert asked == [(3, 8, torch.device("cuda"))]
    assert "three steps took 3.0 GB of its memory; the plan says" in capsys.readouterr().out

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(rehearsal, "measured_peak", full)
    assert train_high_res.main(argv) == 0
    assert "fewer pictures at a time" in capsys.readouterr().out


def test_the_bar_ends_where_a_run_ends_that_was_asked_to_finish():
    bar = train_high_res.Bar()
    bar.show(Status("running", step=10, total_steps=1000))
    bar.show(Status("running", step=11, total_steps=61, loss=0.5))  # as a resumed run: a loss of before, no pace yet
    assert (bar.bar.total, bar.bar.n) == (61, 11) and "images/s" not in bar.bar.postfix
    bar.close()


def test_a_run_without_a_name_is_named_after_its_pictures(here, one_thread, capsys):
    argv = ["--dataset=../dots", "--size=32", "--preset=cpu", "--batch-size=4", "--max-steps=1"]
    for name in ("dots_32x32", "dots_32x32-2"):
        assert train_high_res.main([*argv, "--output-dir", "my runs", "--data-dir", "sets"]) == 0
        out = capsys.readouterr().out
        assert f"{name}: " in out
        told = "There is a run dots_32x32 already (--resume goes on with it): this one is dots_32x32-2." in out
        assert told == (name != "dots_32x32")
        assert json.loads((here / "my runs/training_progress" / name / "config.json").read_text())["name"] == name
    assert sorted(path.name for path in here.iterdir()) == ["my runs", "sets"]
    assert run_name.default("../dots", 32) == "dots_32x32"


def test_a_model_is_named_only_where_there_is_one(tmp_path, capsys):
    """A run that is stopped while it tries how to compute has a state, and no model yet."""
    run = Run(tmp_path, "young")
    run.checkpoints.mkdir(parents=True)
    run.state_path.touch()
    train_high_res.tell_end(run, Status(state="stopped"), {})
    out = capsys.readouterr().out
    assert "--resume --name young" in out and "make pictures" not in out
    run.best_path.touch()
    train_high_res.tell_end(run, Status(state="stopped"), {})
    assert "make pictures: python inference_high_res.py --model=" in capsys.readouterr().out
