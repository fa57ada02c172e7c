"""train_high_res.py and train.py as a person uses them: right ones, wrong ones, and a stop in the middle."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import train_high_res
from ddpm_core import commandline
from ddpm_core.checkpoint import load_model
from ddpm_core.config import RunConfig, default_name, preset
from ddpm_core.errors import UsageError
from ddpm_core.runs import Run, Status
from ddpm_core.training import flags as flags_of_training

HOUSE = Path(train_high_res.__file__).parent


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current folder, with 40 little pictures in another one beside it, and nothing in a third."""
    pictures, work = tmp_path / "dots", tmp_path / "work"
    for folder in (pictures, work, tmp_path / "empty"):
        folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(pictures / f"{number:02}.png")
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def one_thread():
    """Sums come out the same only on the same number of threads; one is also the quickest for a network this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_bar_ends_where_a_run_ends_that_was_asked_to_finish():
    bar = train_high_res.Bar()
    bar.show(Status("running", step=10, total_steps=1000))
    bar.show(Status("running", step=11, total_steps=61, loss=0.5))  # as a resumed run: a loss of before, no pace yet
    assert (bar.bar.total, bar.bar.n) == (61, 11) and "images/s" not in bar.bar.postfix
    bar.close()


def everything(folder: Path) -> dict:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def refused(capsys, *argv: str, code: int = 2, **defaults) -> str:
    """The one line with which a command line is refused; nothing is written, nothing else printed."""
    before = everything(Path.cwd().parent)
    assert train_high_res.main(argv, **defaults) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    assert everything(Path.cwd().parent) == before
    return err


# ---- wrong input


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "abc", "", "0", "-1", "-1e-4", "1e400", "0,001", "99999999999999999999"]
)
@pytest.mark.parametrize("flag", ["--epochs", "--max-steps", "--batch-size", "--lr"])
def test_a_number_out_of_range(here, capsys, flag, value):
    if (flag, value) == ("--max-steps", "0"):
        return  # no limit
    for argv in ([flag, value], [f"{flag}={value}"]):
        message = refused(capsys, *argv)
        assert flag in message and repr(value) in message and " to " in message
        assert (" from 0" if flag == "--max-steps" else " from 1") in message


@pytest.mark.parametrize("value", ["nan", "-1", "1.5", "x", str(2**63)])
def test_a_seed_out_of_range(here, capsys, value):
    assert "from 0 to 9223372036854775807" in refused(capsys, "--seed", value)


def test_the_ranges_of_the_flags_are_those_of_the_settings():
    def taken(check, value) -> bool:
        try:
            check(value)
        except Exception:
            return False
        return True

    flags = train_high_res.parser("openmoji", 64)
    for action in flags._actions:
        if action.dest in ("epochs", "max_steps", "batch_size", "micro_batch", "lr", "seed"):
            for value in (
                "0",
                "1",
                "4096",
                "4097",
                "1e-7",
                "9e-8",
                "1.1",
                "1000000",
                "1000001",
                "1000000001",
                str(2**63),
            ):
                number = float(value) if action.dest == "lr" else int(value) if value.isdigit() else None
                by_flag = taken(action.type, value)
                by_setting = taken(lambda v, key=action.dest: preset(**{key: v}), number) and number is not None
                by_setting = by_setting or (action.dest, number) == ("max_steps", 0)  # no limit
                assert by_flag == by_setting, (action.dest, value)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--size", "30"], "'30' is not a size: choose 32, 64, 96, 128, 256"),
        (["--epoch", "3"], "did you mean --epochs"),
        (["--bach-size=3"], "did you mean --batch-size"),
        (["--frobnicate"], "--help"),
        (["cifar10"], "'cifar10'"),
        (["--epochs"], "--epochs: expected one argument"),
        (["--preset", "huge"], "choose auto, cpu, small, standard, large, classic"),
        (["--name", ""], "cannot name a run"),
        (["--name", "../x"], "cannot name a run"),
        (["--name", "a\nb"], "cannot name a run"),
        (["--device", "gpu"], "choose auto, cpu, cuda"),
        (["--device", "cuda:99"], "--device"),
        (["--dataset", ""], "dataset is empty"),
        (["--dataset", "cifar11"], "cifar10"),
        (["--output-dir", "/dev/null"], "choose a folder"),
        (["--dataset", "../dots", "--class-conditional", "--plan"], "../dots has no classes to learn: put"),
        (["--dataset", "imagenet", "--size=96", "--class-conditional"], "choose stl10:labelled"),
        (["--dataset", "celeba", "--class-conditional"], "celeba has no classes"),
    ],
    ids=lambda value: " ".join(value).replace("\n", " ") if isinstance(value, list) else "",
)
def test_other_wrong_arguments(here, capsys, argv, says):
    assert says in refused(capsys, *argv)


@pytest.mark.parametrize("flag", ["--output-dir", "--data-dir"])
def test_a_tilde_before_a_name_that_nobody_has_is_a_folder_like_another(here, capsys, flag):
    assert "no folder" in refused(capsys, f"{flag}=~nobody-of-this-name", "--dataset=./missing", code=4)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--dataset", "./missing"], "no folder"),
        (["--dataset", "../empty"], "no images"),
        (["--from-model", "missing.pt"], "there is no file missing.pt"),
        (["--from-model", "../dots/00.png"], "not a checkpoint"),
        (["--resume"], "no run openmoji_64x64"),
        (["--resume", "--dataset=cifar10", "--size=32"], "no run cifar10_32x32"),
        (["--resume", "--name", "fox"], "no run fox"),
        (["--resume", "--output-dir", "x" * 300], "no run openmoji_64x64"),
        (["--from-model", "x" * 300], "File name too long"),
        (["--from-model", ".."], "is a folder"),
        (["--dataset", "celeba", "--data-dir", "x" * 300, "--from-model", "none.pt"], "there is no file none.pt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_missing_or_damaged_files(here, capsys, argv, says):
    assert says in refused(capsys, *argv, code=4)


def test_a_mistake_does_not_wait_for_torch(here):
    code = """
import sys, train_high_res
wrong = [["--epochs", "nan"], ["--size", "30"], ["--dataset", "./missing"], ["--dataset", "cifar11"], ["--name", "a/b"],
         ["--resume"], ["--resume", "--name", "fox"], ["--output-dir", "/dev/null"]]
codes = [train_high_res.main(argv) for argv in wrong]
assert codes == [2, 2, 4, 2, 2, 4, 4, 2], codes
assert "torch" not in sys.modules
train_high_res.main(["--help"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(HOUSE)}
    )
    assert done.returncode == 0, done.stderr
    for line in ("--dataset=cifar10 --size=64", "--dataset=cifar10 --size=128", "--dataset=cifar10 --size=256"):
        assert f"python train_high_res.py {line}" in done.stdout
    assert "inference_high_res.py --model=" in done.stdout


def test_train_is_the_same_program_at_cifar10_and_32(here):
    command = [sys.executable, str(HOUSE / "train.py"), "--resume"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 4 and "there is no run cifar10_32x32" in done.stderr and not list(here.iterdir())


# ---- training, stopping, resuming


def arguments(name: str, *more: str) -> list[str]:
    flags = ["--dataset=../dots", "--size=32", "--preset=cpu", "--batch-size=4", "--max-steps=12", "--device=cpu"]
    return [*flags, "--name", name, *more]


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


def test_a_run_without_a_name_is_named_after_its_pictures(here, one_thread, capsys):
    argv = ["--dataset=../dots", "--size=32", "--preset=cpu", "--batch-size=4", "--max-steps=1"]
    for name in ("dots_32x32", "dots_32x32-2"):
        assert train_high_res.main([*argv, "--output-dir", "my runs", "--data-dir", "sets"]) == 0
        assert f"{name}: " in capsys.readouterr().out
        assert json.loads((here / "my runs/training_progress" / name / "config.json").read_text())["name"] == name
    assert sorted(path.name for path in here.iterdir()) == ["my runs", "sets"]
    assert default_name("../dots", 32) == "dots_32x32"


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


def test_every_flag_is_a_setting_or_says_where():
    flags = {action.dest for action in flags_of_training.parser("openmoji", 64)._actions} - {"help"}
    settings = {field.name for field in dataclasses.fields(RunConfig)}
    assert set(flags_of_training.NO_SETTINGS) < flags
    assert flags - set(flags_of_training.NO_SETTINGS) <= settings
    with pytest.raises(UsageError):
        preset(size=30)


# ---- the plan


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
