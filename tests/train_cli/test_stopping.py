"""A run that is stopped from outside, and goes on: from another folder and with pictures that have moved, too."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

import train_high_res
from ddpm_core import commandline
from ddpm_core.checkpoint import load_model
from ddpm_core.config import preset
from ddpm_core.runs import Run
from tests.train_cli.line import HOUSE, arguments, refused


def test_a_stopped_and_resumed_run_reaches_the_weights_of_an_uninterrupted_one(here, one_thread, capsys):
    # Not interrupted.
    assert train_high_res.main(arguments("whole")) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Training whole: ") and "12 steps" in out.splitlines()[0] and "million" in out.splitlines()[0]
    assert "--model=checkpoints/whole/ddpm_best.pt" in out and "finished: 12 steps" in out
    assert "12 of 12 steps" in err and "loss" in err and "images/s" in err
    whole = Run(here, "whole")
    assert whole.status().state == "finished"

    # Interrupted by a real SIGTERM after its first step.
    halves = Run(here, "halves")
    command = [sys.executable, str(HOUSE / "train_high_res.py"), *arguments("halves")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while process.poll() is None and not halves.metrics()[0]:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "saving..." in err and "saved; continue with: python train_high_res.py --resume --name halves" in out
    status = halves.status()
    assert status.state == "stopped" and 1 <= status.step < 12

    stopped = load_model(halves.final_path)
    assert stopped.step == status.step

    # What may not change is refused before anything is touched.
    refused(capsys, "--resume", "--name", "halves", "--batch-size", "8")
    refused(capsys, "--resume", "--name", "halves", "--max-steps", str(status.step))
    refused(capsys, "--name", "halves")

    # Continued: the same weights, to the last bit.
    assert train_high_res.main(["--resume", "--name", "halves"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith(f"Resuming halves at step {status.step}: ")
    assert f"{12 - status.step} of 12 steps" in out.splitlines()[0] and "are left" in out.splitlines()[0]
    one, two = load_model(whole.final_path), load_model(halves.final_path)
    assert (one.step, one.images) == (two.step, two.images) == (12, 48)
    assert one.weights.keys() == two.weights.keys() and len(one.weights) > 10
    assert all(torch.equal(one.weights[name], two.weights[name]) for name in one.weights)
    assert not all(torch.equal(one.weights[name], stopped.weights[name]) for name in one.weights)
    assert [row["step"] for row in halves.metrics()[0]] == sorted({row["step"] for row in halves.metrics()[0]})
    assert (
        one.loss is not None
        and torch.isfinite(
            one.weights["stem.weight"] if "stem.weight" in one.weights else next(iter(one.weights.values()))
        ).all()
    )

    # A finished run says how to go on, and does.
    assert "--max-steps 24" in refused(capsys, "--resume", "--name", "halves")
    assert "--max-steps 24" in refused(capsys, "--resume", "--name", "halves", "--epochs", "1000")
    assert train_high_res.main(["--resume", "--name", "halves", "--max-steps", "13"]) == 0
    assert load_model(halves.final_path).step == 13 and halves.config().max_steps == 13
    capsys.readouterr()

    # Killed between its last step and its last file, it ends properly.
    halves.final_path.unlink()
    halves.write_status(dataclasses.replace(halves.status(), state="running", pid=0))
    assert train_high_res.main(["--resume", "--name", "halves"]) == 0
    assert load_model(halves.final_path).step == 13 and halves.status().state == "finished"
    capsys.readouterr()

    # With its newest state damaged it goes on from the one before, and says so; with both damaged it says that.
    halves.state_path.write_bytes(halves.state_path.read_bytes()[:-100])
    assert train_high_res.main(["--resume", "--name", "halves", "--max-steps", "14"]) == 0
    out, err = capsys.readouterr()
    assert "last.pt is incomplete or damaged" in err and "Going on from last.prev.pt" in err
    assert load_model(halves.final_path).step == 14
    for file in halves.checkpoints.glob("last*"):
        file.write_bytes(b"")
    assert train_high_res.main(["--resume", "--name", "halves", "--max-steps", "20"]) == 4
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {halves.state_path.relative_to(here)} is empty")

    # A new run from a trained model starts from its weights; with another preset it is refused.
    best = str(whole.best_path)
    assert "do not go together" in refused(capsys, *arguments("third"), "--from-model", best, "--preset", "standard")
    argv = arguments("third", "--from-model", best, "--max-steps", "1", "--lr", "1e-7")
    assert train_high_res.main(argv) == 0
    start, third = load_model(whole.best_path), load_model(Run(here, "third").final_path)
    assert all(torch.allclose(start.weights[name], third.weights[name], atol=1e-5) for name in start.weights)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
@pytest.mark.parametrize(("name", "end"), [("SIGINT", "stopped"), ("SIGUSR1", "finished")])
def test_a_run_outlives_the_program_that_shows_it(here, name, end):
    """Ctrl-C ends `2>&1 | tee train.log` as well, and mostly sooner."""
    run = Run(here, "shown")
    command = [
        sys.executable,
        str(HOUSE / "train_high_res.py"),
        *arguments("shown", "--max-steps=100000", "--epochs=100000"),
    ]
    reading, writing = os.pipe()
    process = subprocess.Popen(command, stdout=writing, stderr=writing, env={**os.environ, "OMP_NUM_THREADS": "1"})
    os.close(writing)
    while process.poll() is None and not run.metrics()[0]:
        time.sleep(0.005)
    os.close(reading)
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=120) == 0
    status = run.status()
    assert status.state == end and load_model(run.final_path).step == status.step == status.saved > 0


def test_the_second_signal_ends_at_once(monkeypatch):
    from ddpm_core.training.control import Control

    codes, said = [], []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(os, "write", lambda handle, text: said.append(text))
    control = Control()
    stop = train_high_res.stopper(control)
    stop(signal.SIGINT, None)
    assert control.stopping and codes == [] and len(said) == 1
    stop(signal.SIGINT, None)
    assert codes == [130]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Unix")
def test_a_closed_terminal_saves_and_ends_like_sigterm(monkeypatch):
    from ddpm_core.training.control import Control

    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for handler in (signal.SIG_IGN, signal.SIG_DFL):  # ignored: `nohup` was asked to keep it going
            signal.signal(signal.SIGHUP, handler)
            control = Control()
            replaced = commandline.on_end(train_high_res.stopper(control))
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            assert control.stopping == (handler == signal.SIG_DFL)
            assert (signal.SIGHUP in replaced) == (handler == signal.SIG_DFL)
            for number, old in replaced.items():
                signal.signal(number, old)
    finally:
        for number, old in before.items():
            signal.signal(number, old)
    assert codes == []


def test_pictures_that_have_moved_are_found_again(here, one_thread, capsys):
    assert train_high_res.main(arguments("moving", "--max-steps=2")) == 0
    old, new = here.parent / "dots", here.parent / "elsewhere"
    old.rename(new)
    capsys.readouterr()
    said = refused(capsys, "--resume", "--name=moving", "--max-steps=3", code=4)
    assert f"the pictures of moving are not at {old} any more: put them back, or tell where they are now" in said
    assert train_high_res.main(["--resume", "--name=moving", "--max-steps=3", f"--dataset={new}"]) == 0
    run = Run(here, "moving")
    assert run.status().step == 3 and run.config().dataset == str(new)
    capsys.readouterr()

    # Other pictures are not taken for them.
    Image.new("RGB", (32, 32)).save(new / "one more.png")
    assert train_high_res.main(["--resume", "--name=moving", "--max-steps=4"]) == 4
    assert "are not just those that moving was trained on" in capsys.readouterr().err


def test_paths_are_stored_absolute_and_compared_so(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    settings = train_high_res.lasting({"dataset": "../dots", "from_model": "~/x.pt", "size": 32})
    dots = here.parent / "dots"
    assert settings == {"dataset": str(dots), "from_model": str(here / "x.pt"), "size": 32}
    for name in ("openmoji", "openmoji:flags", "cifar10", "nonsense", "", "./missing"):
        assert train_high_res.lasting({"dataset": name}) == {"dataset": name}

    run = Run("runs", "dots_32x32")
    run.create(preset(**settings))
    run.state_path.write_bytes(b"state")
    root = run.root.absolute()
    for folder, typed in ((here, "../dots"), (here.parent, "./dots"), (dots, "."), (here.parent, "folder:dots")):
        monkeypatch.chdir(folder)
        given = {"dataset": typed, "size": 32}
        _, config, info = train_high_res.resumed(root, here / "data", {}, given, "openmoji", 64)
        assert config.dataset == str(dots) and info.pictures == 40
