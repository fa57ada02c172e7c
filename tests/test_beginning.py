"""How a run begins under a name that is free, or goes on with the settings it had; and all that speaks against it."""

import dataclasses

import pytest

from ddpm_core.beginning import new_run, resume_run
from ddpm_core.config import preset
from ddpm_core.errors import CheckpointError, RunInUseError, UsageError
from ddpm_core.runs import Run, Status


def a_run(root, name) -> Run:
    run = Run(root, name)
    run.create(preset("openmoji", 32, "cpu", name=name))
    return run


@pytest.fixture
def run(tmp_path) -> Run:
    return a_run(tmp_path, "fox")


def resumable(run: Run) -> Run:
    run.state_path.write_bytes(b"state")
    return run


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


def test_runs_do_not_lie_among_the_pictures_that_they_learn_from(tmp_path):
    """Their grids would be learned from, and a run could not go on as its pictures had changed."""
    pictures = tmp_path / "cats"
    (pictures / "runs").mkdir(parents=True)
    for root in (pictures, pictures / "runs"):
        with pytest.raises(UsageError, match="lies in the folder of the pictures"):
            new_run(root, preset(str(pictures), 32), explicit_name=False)
    assert new_run(tmp_path, preset(str(pictures), 32), explicit_name=False)[0].name == "cats_32x32"


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


def test_a_missing_run_is_told_what_there_is(run):
    with pytest.raises(CheckpointError, match="choose one of fox"):
        resume_run(run.root, "hare", {})
    with pytest.raises(CheckpointError, match="no runs yet"):
        resume_run(run.root / "elsewhere", "hare", {})


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
    run.write_status(Status(state="finished", step=500, epochs=7))
    for changes in ({}, {"epochs": None}, {"device": "cpu"}):
        with pytest.raises(UsageError, match="--epochs 14"):
            resume_run(run.root, "fox", changes)
    assert resume_run(run.root, "fox", {"epochs": 14})[1].epochs == 14
    run.create(dataclasses.replace(run.config(), max_steps=500))
    with pytest.raises(UsageError, match="--max-steps 1000"):
        resume_run(run.root, "fox", {"epochs": 14})  # would still end at step 500
    assert resume_run(run.root, "fox", {"max_steps": 501})[1].max_steps == 501
    # Without its limit it goes on, if there are epochs left.
    run.write_status(Status(state="finished", step=500, epoch=7, epochs=7))
    with pytest.raises(UsageError, match="--epochs 14"):
        resume_run(run.root, "fox", {"max_steps": 0, "epochs": None})
    run.write_status(Status(state="finished", step=500, epoch=3, epochs=7))
    assert resume_run(run.root, "fox", {"max_steps": 0})[1].max_steps is None
    # Killed between its last step and its last file: it must be able to end properly.
    run.write_status(Status(state="running", step=500, pid=0))
    assert resume_run(run.root, "fox", {})[1].max_steps == 500
    assert resume_run(run.root, "fox", {"max_steps": 500})[1].max_steps == 500  # said again, as the page's form does
    with pytest.raises(UsageError, match="--max-steps 1000"):
        resume_run(run.root, "fox", {"max_steps": 400})


def test_the_steps_that_a_killed_run_lost_are_not_counted(run):
    resumable(run)
    run.write_status(Status(state="running", step=1000, saved=900, pid=0))
    assert resume_run(run.root, "fox", {"max_steps": 950})[1].max_steps == 950
    with pytest.raises(UsageError, match=r"has made 900 steps: ask for more, --max-steps 1800"):
        resume_run(run.root, "fox", {"max_steps": 900})


def test_a_folder_of_pictures_may_lie_elsewhere_now(tmp_path):
    run = Run(tmp_path, "cats")
    run.create(preset(str(tmp_path / "cats"), 32, "cpu", name="cats"))
    resumable(run)
    assert resume_run(tmp_path, "cats", {"dataset": "/elsewhere/cats"})[1].dataset == "/elsewhere/cats"
    with pytest.raises(UsageError, match="and not 'openmoji'"):
        resume_run(tmp_path, "cats", {"dataset": "openmoji"})


def test_a_state_that_a_crash_left_under_another_name_counts(run):
    (run.checkpoints / "last.new.pt").write_bytes(b"state")
    resume_run(run.root, "fox", {})
