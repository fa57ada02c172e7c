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
from ddpm_core.runs import Run, Status, all_runs, new_run, resume_run


def a_run(root, name="fox", **settings) -> Run:
    run = Run(root, name)
    run.create(preset("openmoji", 32, "cpu", name=name, **settings))
    return run


def alive(**fields) -> Status:
    return Status(**{"state": "running", "pid": os.getpid(), "pid_started": psutil.Process().create_time(), **fields})


@pytest.fixture
def run(tmp_path) -> Run:
    return a_run(tmp_path)


def resumable(run: Run) -> Run:
    run.state_path.write_bytes(b"state")
    return run


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


def test_a_missing_run_is_told_what_there_is(run):
    with pytest.raises(CheckpointError, match="there is no run hare"):
        Run(run.root, "hare").config()
    with pytest.raises(CheckpointError, match="choose one of fox"):
        resume_run(run.root, "hare", {})
    with pytest.raises(CheckpointError, match="no runs yet"):
        resume_run(run.root / "elsewhere", "hare", {})


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
    started = psutil.Process(gone.pid).create_time()
    gone.wait()
    run.write_status(alive(state=state, pid=gone.pid, pid_started=started, seconds_left=5.0))
    assert (run.status().state, run.status().seconds_left) == ("interrupted", None)
    # The number may have gone to another process since.
    run.write_status(alive(state=state, pid_started=psutil.Process().create_time() - 60))
    assert run.status().state == "interrupted"
    run.write_status(alive(state="finished", pid=gone.pid))
    assert run.status().state == "finished"


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


# ---- starting and resuming


def test_a_taken_name_gets_a_number_unless_it_was_chosen(tmp_path):
    config = preset("openmoji", 32)
    run, named = new_run(tmp_path, config, explicit_name=False)
    assert run.name == named.name == "openmoji_32x32" and not list(tmp_path.iterdir())
    run.create(named)
    run, named = new_run(tmp_path, config, explicit_name=False)
    assert run.name == named.name == "openmoji_32x32-2"
    run.create(named)
    assert new_run(tmp_path, config, explicit_name=False)[0].name == "openmoji_32x32-3"
    with pytest.raises(UsageError, match="another name"):
        new_run(tmp_path, config, explicit_name=True)


def test_a_models_folder_alone_is_not_overwritten(tmp_path):
    (tmp_path / "checkpoints" / "openmoji_32x32").mkdir(parents=True)
    assert new_run(tmp_path, preset("openmoji", 32), explicit_name=False)[0].name == "openmoji_32x32-2"


def test_generated_pictures_alone_leave_the_name_free(tmp_path):
    config = preset("openmoji", 32, name="fox")
    samples = tmp_path / "samples" / "fox"
    samples.mkdir(parents=True)
    (samples / "generated_seed0_16.png").write_bytes(b"")
    assert new_run(tmp_path, config, explicit_name=True)[0].name == "fox"
    # What to delete is there, and when it is deleted the name is free.
    (samples / "epoch_10_samples.png").write_bytes(b"")
    for folder in (tmp_path / "checkpoints" / "fox", tmp_path / "training_progress" / "fox"):
        with pytest.raises(UsageError, match="another name") as caught:
            new_run(tmp_path, config, explicit_name=True)
        named = [path for path in tmp_path.glob("*/*") if str(path) in str(caught.value)]
        assert named == list(tmp_path.glob("*/*")) and str(folder) not in str(caught.value)
        folder.mkdir(parents=True)


@pytest.mark.parametrize("folder", ["checkpoints", "samples", "training_progress"])
def test_a_place_that_is_no_folder_is_told_before_anything_is_written(tmp_path, folder):
    config = preset("openmoji", 32, "cpu", name="fox")
    (tmp_path / folder).write_text("a file")
    with pytest.raises(UsageError, match=f"{folder} is a file: choose a folder"):
        new_run(tmp_path, config, explicit_name=False)
    (tmp_path / folder).unlink()
    (tmp_path / folder).symlink_to(tmp_path / "a disk that is away")
    with pytest.raises(UsageError, match=f"{folder} is a link to a place that is not there"):
        new_run(tmp_path, config, explicit_name=False)
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_a_long_name_has_room_for_its_number(tmp_path):
    config = preset("openmoji", 32, name="x" * 64)
    a_run(tmp_path, "x" * 64)
    assert new_run(tmp_path, config, explicit_name=False)[0].name == "x" * 62 + "-2"


def test_a_resume_takes_what_may_change(run):
    resumable(run)
    same, config = resume_run(run.root, "fox", {})
    assert same.name == "fox" and config == run.config()
    changes = {"epochs": 9, "max_steps": 8, "cooldown": 0.25, "device": "cpu", "sample_every": 7, "checkpoint_every": 6}
    _, config = resume_run(run.root, "fox", changes)
    assert config == dataclasses.replace(run.config(), **changes)
    same_again = {
        "batch_size": config.batch_size,
        "dataset": "openmoji",
        "lr": config.lr,
        "network": run.config().network,
        "seed": None,
    }
    assert resume_run(run.root, "fox", {**same_again, "network": None})[1] == run.config()


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 48},
        {"lr": 5e-4},
        {"seed": 1},
        {"amp": False},
        {"size": 64},
        {"dataset": "cifar10"},
        {"preset": "standard"},
    ],
)
def test_a_resume_refuses_what_would_be_another_run(run, changes):
    resumable(run)
    ((key, value),) = changes.items()
    old = getattr(run.config(), key)
    with pytest.raises(UsageError) as caught:
        resume_run(run.root, "fox", {**changes, "epochs": 99})
    assert f"{key} is {old!r} and not {value!r}" in str(caught.value)
    assert run.config().epochs is None


def test_what_cannot_be_resumed_says_why(run):
    with pytest.raises(CheckpointError, match="before its first save"):
        resume_run(run.root, "fox", {})
    resumable(run)
    with pytest.raises(UsageError, match="epochs is 0"):
        resume_run(run.root, "fox", {"epochs": 0})
    with run.lock(), pytest.raises(RunInUseError):
        resume_run(run.root, "fox", {})


def test_a_finished_run_goes_on_only_for_more(run):
    resumable(run)
    run.write_status(alive(state="finished", step=500, epochs=7))
    for changes in ({}, {"epochs": None}, {"device": "cpu"}):
        with pytest.raises(UsageError, match="--epochs 14"):
            resume_run(run.root, "fox", changes)
    assert resume_run(run.root, "fox", {"epochs": 14})[1].epochs == 14
    run.create(dataclasses.replace(run.config(), max_steps=500))
    with pytest.raises(UsageError, match="--max-steps 1000"):
        resume_run(run.root, "fox", {"epochs": 14})  # would still end at step 500
    assert resume_run(run.root, "fox", {"max_steps": 501})[1].max_steps == 501
    # Without its limit it goes on, if there are epochs left.
    run.write_status(alive(state="finished", step=500, epoch=7, epochs=7))
    with pytest.raises(UsageError, match="--epochs 14"):
        resume_run(run.root, "fox", {"max_steps": 0, "epochs": None})
    run.write_status(alive(state="finished", step=500, epoch=3, epochs=7))
    assert resume_run(run.root, "fox", {"max_steps": 0})[1].max_steps is None
    # Killed between its last step and its last file: it must be able to end properly.
    run.write_status(alive(state="running", step=500, pid=0))
    assert resume_run(run.root, "fox", {})[1].max_steps == 500
    with pytest.raises(UsageError, match="--max-steps 1000"):
        resume_run(run.root, "fox", {"max_steps": 400})


def test_a_state_that_a_crash_left_under_another_name_counts(run):
    (run.checkpoints / "last.new.pt").write_bytes(b"state")
    resume_run(run.root, "fox", {})


def test_runs_and_settings_import_no_torch():
    code = "import sys, ddpm_core.runs, ddpm_core.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_checkpoints_may_live_on_another_disk(tmp_path):
    run = Run(tmp_path / "out", "fox")
    elsewhere = tmp_path / "large_disk"
    elsewhere.mkdir()
    run.root.mkdir()
    (run.root / "checkpoints").symlink_to(elsewhere)
    run.create(preset(name="fox"))
    assert [found.name for found in all_runs(run.root)] == ["fox"]
