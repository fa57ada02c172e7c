"""The guide's command lines for train.py and train_high_res.py, word for word, and what it says of cards and batches.

The numbers in the names are the guide's lines. What its other lines promise is tested where it lives.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train
import train_high_res
from ddpm_core import devices
from ddpm_core.config import RunConfig, preset
from ddpm_core.data import catalogue
from ddpm_core.data.source import DatasetInfo
from ddpm_core.training import memory

HOUSE = Path(train.__file__).parent


@pytest.fixture
def settings_of(monkeypatch, tmp_path, capsys):
    """settings_of("python train_high_res.py ..."): the settings with which that line would train, on a machine with a card."""
    monkeypatch.chdir(tmp_path)
    card = torch.device("cuda")
    monkeypatch.setattr(devices, "choose", lambda name: card)
    monkeypatch.setattr(memory, "free", lambda device: 24 * memory.GB)
    monkeypatch.setattr(memory, "arithmetic", lambda device, amp: memory.Arithmetic(card=True, half=amp))
    about = DatasetInfo(key="cifar10", title="CIFAR-10", about="", pictures=50_000, channels=3, classes=("cat", "dog"))
    monkeypatch.setattr(catalogue, "describe", lambda *_: about)
    monkeypatch.setattr(train_high_res, "tell_plan", lambda *_, **__: None)
    monkeypatch.setattr(train_high_res, "tell_end", lambda *_: None)
    trained: list[RunConfig] = []
    monkeypatch.setattr(train_high_res, "train", lambda run, config, *_, **__: trained.append(config))

    def settings_of(line: str) -> RunConfig:
        python, program, *argv = shlex.split(line)
        assert python == "python"
        if program == "train.py":
            monkeypatch.setattr(sys, "argv", [program, *argv])
            source = (HOUSE / program).read_text()
            with pytest.raises(SystemExit) as end:
                exec(compile(source, program, "exec"), {"__name__": "__main__"})
            assert end.value.code == 0
        else:
            assert train_high_res.main(argv) == 0, capsys.readouterr().err
        return trained.pop()

    return settings_of


# The line in the guide, and the settings that must come of it.
LINES = {
    "python train_high_res.py --dataset=cifar10 --size=64": ("cifar10", 64, {}),
    "python train_high_res.py --dataset=cifar10 --size=128": ("cifar10", 128, {}),
    "python train_high_res.py --dataset=cifar10 --size=256": ("cifar10", 256, {}),
    "python train_high_res.py --dataset=cifar10 --size=64 --no-amp --no-compile": (
        "cifar10", 64, {"amp": False, "compile": False}),
    "python train_high_res.py --dataset=cifar10 --size=64 --no-amp": ("cifar10", 64, {"amp": False}),
    "python train_high_res.py --dataset=cifar10 --size=64 --no-compile": ("cifar10", 64, {"compile": False}),
    "python train_high_res.py --dataset=imagenet --size=96": ("imagenet", 96, {}),
    "python train_high_res.py --dataset=cifar100 --size=32": ("cifar100", 32, {}),
    "python train_high_res.py --dataset=celeba --size=128": ("celeba", 128, {}),
    "python train.py": ("cifar10", 32, {}),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_1_2_3_15_22_a_line_of_the_guide_trains_what_it_says(settings_of, line):
    dataset, size, more = LINES[line]
    config = settings_of(line)
    name = f"{dataset}_{size}x{size}"
    assert config == preset(dataset, size, "standard", name=name, **more)
    assert (config.amp, config.compile) == (more.get("amp", True), more.get("compile", True))


def test_3_the_block_with_remarks_starts_as_it_is_copied(settings_of, capsys):
    # A shell ends the command at the first remark, and hands on the blank that the backslash before it protects.
    assert settings_of("python train_high_res.py --dataset=cifar10 ' '") == preset("cifar10", 64, "standard")
    assert "lines below it are not read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ("--flip", {"flip": True}),
        ("--crop=pad --background black", {"crop": "pad", "background": "black"}),
        ("--colour=grey", {"colour": "grey"}),
        ("--micro-batch 4", {"micro_batch": 4}),
        ("--class-conditional --label-drop 0.2", {"class_conditional": True, "label_drop": 0.2}),
        ("--held-out 0", {"held_out": 0.0}),
        ("--data-on memory", {"data_on": "memory"}),
    ],
)
def test_the_other_flags_are_settings_too(settings_of, flags, settings):
    config = settings_of(f"python train_high_res.py --dataset=cifar10 --size=64 {flags}")
    assert config == preset("cifar10", 64, "standard", **settings)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--crop=middle", "choose center, pad"),
        ("--background=blue", "choose white, black, grey"),
        ("--colour=green", "choose auto, colour, grey"),
        ("--data-on=cloud", "choose auto, device, memory, disk"),
        ("--micro-batch=0", "from 1 to 4096"),
        ("--label-drop=1", "from 0 to 0.9"),
        ("--held-out=0.6", "from 0 to 0.5"),
        ("--color=grey", "did you mean --colour"),
        ("--class-conditonal", "did you mean --class-conditional"),
    ],
)
def test_a_flag_with_a_wrong_value_is_one_line(capsys, flags, says):
    assert train_high_res.main([flags]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and says in err


def test_3_no_amp_computes_in_float32(settings_of):
    config = settings_of("python train_high_res.py --dataset=cifar10 --size=64 --no-amp")
    with devices.autocast(torch.device("cpu"), config.amp):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


# The guide's table: on this card at least the lower end of its batches, with a model of about its size.
CARDS = {32: (6, 32, 35), 64: (12, 16, 145), 128: (12, 8, 380), 256: (24, 4, 890)}


@pytest.mark.parametrize("size", CARDS)
def test_4_the_cards_of_the_table_hold_its_batches_and_models(size):
    gigabytes, pictures, megabytes = CARDS[size]
    config = preset("cifar10", size, "standard")
    found = memory.fit(config, 3, gigabytes * memory.GB, memory.Arithmetic(card=True, half=True))
    assert found.verdict == "fits" and found.micro_batch >= pictures
    assert found.memory.weights / 1e6 == pytest.approx(megabytes, rel=0.15)


@pytest.mark.parametrize(("gigabytes", "size", "pictures"), [(12, 64, 16), (12, 128, 8), (24, 64, 32), (24, 128, 16)])
def test_9_10_cards_hold_the_guides_batches_and_the_effective_batch_stays(gigabytes, size, pictures, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda device: gigabytes * memory.GB)
    monkeypatch.setattr(memory, "arithmetic", lambda device, amp: memory.Arithmetic(card=True, half=amp))
    config = preset("cifar10", size, "standard")
    micro_batch = memory.micro_batch(config, 3, torch.device("cuda"))
    assert micro_batch >= pictures
    assert config.batch_size % micro_batch == 0 and config.batch_size >= 16


def test_16_a_slow_start_names_its_cause(monkeypatch):
    """The line about the device is tested in tests/train_cli/test_telling.py, the causes in test_cards.py; here, that it is in --help."""
    text = train_high_res.parser("openmoji", 64).format_help()
    assert "slow " in text and "what it runs on" in text


def test_help_has_the_guides_examples_and_waits_for_no_torch():
    code = (
        "import sys, train_high_res\ntry: train_high_res.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(HOUSE)}
    )
    assert done.returncode == 0, done.stderr
    for line in ("python train.py", *(line for line in LINES if line.endswith(("=64", "=128", "=256", "=96")))):
        if "celeba" not in line:
            assert line in done.stdout, line
    for group in ("what to learn", "how long", "the pictures", "the recipe", "the machine"):
        assert group in done.stdout
