"""A run's folder: what is written, what is read back, and that junk around it does no harm."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import time

import psutil
import pytest

from ddpm_core.config import preset
from ddpm_core.errors import CheckpointError, RunInUseError, UsageError
from ddpm_core.runs import Run, Status, all_runs, process_born


def a_run(root, name="fox", **settings) -> Run:
    run = Run(root, name)
    run.create(preset("openmoji", 32, "cpu", name=name, **settings))
    return run


def alive(**fields) -> Status:
    return Status(**{"state": "running", "pid": os.getpid(), "born": process_born(), **fields})


@pytest.fixture
def run(tmp_path) -> Run:
    return a_run(tmp_path)


# ---- names and folders


def test_the_files_have_the_guides_names(tmp_path):
    run = Run(tmp_path, "cifar10_64x64")
    paths = [run.best_path, run.final_path, run.epoch_path(10), run.samples, run.progress]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "checkpoints/cifar10_64x64/ddpm_best.pt",
        "checkpoints/cifar10_64x64/ddpm_final.pt",
        "checkpoints/cifar10_64x64/ddpm_epoch_10.pt",
        "samples/cifar10_64x64",
        "training_progress/cifar10_64x64",
    ]
    assert not list(tmp_path.iterdir()) and not run.exists()


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", "a\\b", "CON", "nul.txt", ".hidden", "x" * 65, "<b>", "a\n", "ü", "x."]
)
def test_a_name_that_is_no_folder_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot name a run"):
        Run(tmp_path, name)


def test_settings_come_back(run):
    assert run.exists()
    assert run.config() == preset("openmoji", 32, "cpu", name="fox")
    assert sorted(folder.name for folder in run.root.iterdir()) == ["checkpoints", "samples", "training_progress"]
    run.create(dataclasses.replace(run.config(), epochs=7))  # as a resume does
    assert run.config().epochs == 7


def test_a_renamed_folder_is_a_renamed_run(run):
    run.progress.rename(run.progress.with_name("hare"))
    assert Run(run.root, "hare").config().name == "hare"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"gravity": 9.81}', '{"size": "big"}', "\udcff"])
def test_damaged_settings_are_one_line(run, text):
    run.config_path.write_text(text, errors="surrogateescape")
    with pytest.raises(CheckpointError, match=r"config\.json: [^\n]+$"):
        run.config()


def test_the_settings_of_a_missing_run_are_one_line(run):
    with pytest.raises(CheckpointError, match="there is no run hare"):
        Run(run.root, "hare").config()


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="POSIX folders")
def test_a_root_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another output folder"):
        a_run(tmp_path / "file")
    with pytest.raises(UsageError, match="choose another output folder"), Run(tmp_path / "file", "fox").lock():
        pass


# ---- status


def test_status_comes_back(run):
    assert run.status() is None
    status = alive(step=3, loss=0.5, message='"quoted" é')
    run.write_status(status)
    assert run.status() == status
    run.write_status(dataclasses.replace(status, loss=math.nan, seconds_left=math.inf))
    assert run.status().loss is None and run.status().seconds_left is None


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"state": "dancing"}', "\0\0"])
def test_an_unreadable_status_is_none(run, text):
    run.status_path.write_text(text)
    assert run.status() is None


def test_a_status_of_a_newer_version_is_read(run):
    run.status_path.write_text(json.dumps({**dataclasses.asdict(alive(step=9)), "mood": "good"}))
    assert run.status().step == 9


@pytest.mark.parametrize("state", ["preparing", "running", "paused"])
def test_a_run_whose_process_is_gone_is_interrupted(run, state):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    born = process_born(gone.pid)
    gone.wait()
    run.write_status(alive(state=state, pid=gone.pid, born=born, seconds_left=5.0))
    assert (run.status().state, run.status().seconds_left) == ("interrupted", None)
    # The number may have gone to another process since.
    run.write_status(alive(state=state, born="another start of the computer 12.34"))
    assert run.status().state == "interrupted"
    run.write_status(alive(state="finished", pid=gone.pid))
    assert run.status().state == "finished"


@pytest.mark.skipif(not psutil.LINUX, reason="only there does psutil tell a process's begin by a clock that can be set")
def test_a_clock_that_is_set_interrupts_no_run(run, monkeypatch):
    run.write_status(alive())
    booted = psutil.boot_time()
    monkeypatch.setattr(
        "psutil._psplatform.boot_time", lambda: booted + 3600
    )  # as a clock set forward by an hour makes it
    assert psutil.Process().create_time() > time.time() + 3000  # or this tests nothing
    assert run.status().state == "running"


def test_a_status_of_an_older_version_names_its_process_by_the_clock(run):
    born = psutil.Process().create_time()
    run.write_status(alive(born="", pid_started=born))
    assert run.status().state == "running"
    run.write_status(alive(born="", pid_started=born - 60))
    assert run.status().state == "interrupted"


def test_a_resumed_run_stands_where_it_stood_at_no_pace_yet(run):
    run.write_status(
        Status(state="stopped", step=50, saved=50, loss=0.5, images_per_second=5000.0, memory=9, busy=0.9, message="!")
    )
    begun = run.begun(resume=True)
    assert (begun.state, begun.step, begun.saved, begun.loss, begun.message) == ("preparing", 50, 50, 0.5, "")
    assert (begun.images_per_second, begun.memory, begun.busy) == (0.0, 0, None)
    assert run.begun(resume=False).step == 0


# ---- lock


def test_two_cannot_train_one_run(run):
    with run.lock():
        run.write_status(alive())
        with pytest.raises(RunInUseError, match=f"process {os.getpid()}"), Run(run.root, "fox").lock():
            pytest.fail("both hold it")
        with a_run(run.root, "hare").lock():
            pass
    with run.lock():
        pass


HOLD = """
import sys, time
from ddpm_core.runs import Run
with Run(sys.argv[1], "fox").lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_no_lock(run):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(run.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunInUseError), run.lock():
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with run.lock():
        pass


def test_the_lock_is_given_back_after_an_error(run):
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    with run.lock():
        pass


# ---- metrics


def rows(*steps) -> list[dict]:
    return [{"step": step, "epoch": step / 10, "loss": 1 / (1 + step)} for step in steps]


def test_metrics_come_piece_by_piece(run):
    assert run.metrics() == ([], 0)
    for row in rows(1, 2):
        run.append_metrics(row)
    got, cursor = run.metrics()
    assert got == rows(1, 2)
    assert run.metrics(cursor) == ([], cursor)
    run.append_metrics({"step": 3, "loss": math.nan, "lr": math.inf})
    with open(run.metrics_path, "a") as file:
        file.write('{"step": 4, "lo')  # being written
    got, cursor = run.metrics(cursor)
    assert got == [{"step": 3, "loss": None, "lr": None}]
    with open(run.metrics_path, "a") as file:
        file.write('ss": 1}\n')
    assert run.metrics(cursor)[0] == [{"step": 4, "loss": 1}]
    assert cursor < 2**53  # JavaScript's whole numbers


def test_unreadable_lines_are_left_out(run):
    run.metrics_path.write_bytes(b'{"step": 1}\nnonsense\n\xff\xfe\n[1]\n{"step": "x"}\n\n{"step": 2}\n{"st')
    assert run.metrics()[0] == [{"step": 1}, {"step": 2}]


def test_a_resume_cuts_the_log_back(run):
    for row in rows(1, 2, 3, 4):
        run.append_metrics(row)
    held, cursor = run.metrics()
    with open(run.metrics_path, "a") as file:
        file.write('{"step": 5, "lo')
    run.truncate_metrics(2)
    for row in rows(3, 4, 5, 6):  # longer than before: the old cursor is a place inside the new file
        run.append_metrics(row)
    new, _ = run.metrics(cursor)
    assert new == rows(1, 2, 3, 4, 5, 6)
    # The rule for readers:
    held = [row for row in held if row["step"] < new[0]["step"]] + new
    assert held == rows(1, 2, 3, 4, 5, 6)


def test_a_log_that_needs_no_cut_is_not_touched(run):
    run.truncate_metrics(5)
    assert not run.metrics_path.exists()
    for row in rows(1, 2):
        run.append_metrics(row)
    _, cursor = run.metrics()
    run.truncate_metrics(2)
    assert run.metrics(cursor) == ([], cursor)


# ---- what there is to see


def test_pictures_in_the_order_of_training(run):
    for row in rows(10, 20, 640):  # 10 steps an epoch
        run.append_metrics(row)
    names = ["quick_step_16", "quick_step_32", "quick_epoch_5", "quick_now_57", "quick_epoch_10", "quick_epoch_100"]
    for name in reversed(names):  # file times say nothing
        (run.progress / f"{name}.png").write_bytes(b"")
    for name in ("epoch_10_samples.png", "epoch_20_samples.png", "loss_curve_epoch_10.png"):
        (run.samples / name).write_bytes(b"")
    (run.progress / "quick_step_x.png").write_bytes(b"")
    (run.progress / "quick_step_16.png.tmp").write_bytes(b"")
    found = [(path.name, kind, number) for path, kind, number in run.quick_pictures()]
    assert found == [
        ("quick_step_16.png", "step", 16),
        ("quick_step_32.png", "step", 32),
        ("quick_epoch_5.png", "epoch", 5),
        ("quick_now_57.png", "step", 57),
        ("quick_epoch_10.png", "epoch", 10),
        ("epoch_20_samples.png", "epoch", 20),
        ("quick_epoch_100.png", "epoch", 100),
    ]


def test_models_best_first_then_newest(run):
    assert run.models() == []
    for name in ("ddpm_epoch_10.pt", "ddpm_epoch_9.pt", "last.pt", "ddpm_final.pt", "ddpm_best.pt", "ddpm_best.pt.tmp"):
        (run.checkpoints / name).write_bytes(b"")
    assert [path.name for path in run.models()] == [
        "ddpm_best.pt",
        "ddpm_final.pt",
        "ddpm_epoch_10.pt",
        "ddpm_epoch_9.pt",
    ]


def test_all_runs_newest_first_and_no_junk(tmp_path):
    root = tmp_path / "root"
    assert all_runs(root) == []
    for age, name in enumerate(("old", "middle", "new")):
        path = a_run(root, name).config_path
        os.utime(path, (time.time() - 100 + age,) * 2)
    for junk in ("empty", ".hidden", "with space"):
        (root / "training_progress" / junk).mkdir()
    broken = a_run(root, "broken")
    broken.config_path.write_text("{")
    (root / "training_progress" / "file").write_text("")
    outside = a_run(tmp_path / "elsewhere", "outside")
    (root / "training_progress" / "outside").symlink_to(outside.progress)
    half = a_run(root, "half")
    half.samples.rmdir()
    half.samples.symlink_to(outside.samples)
    assert [run.name for run in all_runs(root)] == ["new", "middle", "old"]
    Run(root, "old").write_status(alive())
    assert [run.name for run in all_runs(root)][0] == "old"


def test_runs_and_settings_import_no_torch():
    code = "import sys, ddpm_core.beginning, ddpm_core.runs, ddpm_core.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_checkpoints_may_live_on_another_disk(tmp_path):
    run = Run(tmp_path / "out", "fox")
    elsewhere = tmp_path / "large_disk"
    elsewhere.mkdir()
    run.root.mkdir()
    (run.root / "checkpoints").symlink_to(elsewhere)
    run.create(preset(name="fox"))
    assert [found.name for found in all_runs(run.root)] == ["fox"]
