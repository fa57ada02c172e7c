"""Wrong command lines of train_high_res.py and train.py: one line that names the fix, and nothing is written."""

import dataclasses
import os
import subprocess
import sys

import pytest

import train_high_res
from ddpm_core.config import RunConfig, preset
from ddpm_core.errors import UsageError
from ddpm_core.training import flags as flags_of_training
from tests.train_cli.line import HOUSE, refused


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


def test_every_flag_is_a_setting_or_says_where():
    flags = {action.dest for action in flags_of_training.parser("openmoji", 64)._actions} - {"help"}
    settings = {field.name for field in dataclasses.fields(RunConfig)}
    assert set(flags_of_training.NO_SETTINGS) < flags
    assert flags - set(flags_of_training.NO_SETTINGS) <= settings
    with pytest.raises(UsageError):
        preset(size=30)
