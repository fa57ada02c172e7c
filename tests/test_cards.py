"""Cards that this torch cannot use are recognised, and the advice is what PyTorch's own pages say to install."""

import re
from pathlib import Path

import pytest
import torch

from ddpm_core import cards, devices
from ddpm_core.errors import UsageError

CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CU130 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
GTX_1060, RTX_3060, RTX_4090, RTX_5090 = (6, 1), (8, 6), (8, 9), (12, 0)


@pytest.fixture
def machine(monkeypatch):
    """machine(...): torch and the driver see what it says."""

    def machine(
        *capabilities: tuple[int, int],
        built: list[str] = CU130,
        cuda: str | None = "13.0",
        smi: str = "",
        name: str = "NVIDIA GeForce",
    ):
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built if capabilities else [])
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number=0: capabilities[number])
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number=0: name)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(cards.sys, "platform", "linux")
        monkeypatch.setattr(cards, "_nvidia_smi", lambda fields: [line for line in (smi,) if line])
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return machine


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        (GTX_1060, CU130, False),
        (GTX_1060, CU126, True),  # by sm_60
        (RTX_3060, CU130, True),
        (RTX_4090, CU126, True),  # by sm_86
        (RTX_5090, CU126, False),
        (RTX_5090, CU130, True),
        ((13, 0), CU130, True),  # by portable code
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_90a"], True),
        (RTX_3060, [], True),
    ],
)
def test_which_cards_a_build_has_kernels_for(machine, capability, built, runs):
    machine(capability, built=built)
    assert cards.has_kernels(0) is runs
    assert (devices.advice() is None) is runs
    assert devices.choose("auto") == torch.device("cuda" if runs else "cpu")


def test_a_gtx_10_is_told_what_to_install(machine):
    machine(GTX_1060, name="NVIDIA GeForce GTX 1060", smi="NVIDIA GeForce GTX 1060, 560.35.03, 6.1")
    said = devices.advice()
    assert said is not None and "\n" not in said
    assert "GTX 1060" in said and "CUDA 12.6" in said and "pytorch.org/get-started/locally" in said
    with pytest.raises(UsageError, match="CUDA 12.6.*--device cpu"):
        devices.choose("cuda")


def test_the_second_card_is_taken_where_the_first_is_too_old(machine):
    machine(GTX_1060, RTX_3060)
    assert devices.choose("auto") == torch.device("cuda:1")
    assert devices.advice() is None


@pytest.mark.parametrize(
    ("cuda", "smi", "says"),
    [
        (None, "NVIDIA GeForce RTX 3060, 580.65.06, 8.6", ["built for processors only", "pip and CUDA 13.0"]),
        (None, "NVIDIA GeForce RTX 3060, 550.120, 8.6", ["built for processors only", "pip and CUDA 12.6"]),
        (None, "NVIDIA GeForce GTX 1080, 580.65.06, 6.1", ["GTX 10 series", "pip and CUDA 12.6"]),
        (None, "NVIDIA GeForce RTX 5090, 570.86.10, 12.0", ["Update its driver (570) to 580", "pip and CUDA 13.0"]),
        (None, "NVIDIA GeForce RTX 2060, 470.57.02", ["Update its driver (470) to 580"]),
        (
            "13.0",
            "NVIDIA GeForce RTX 3060, 550.120, 8.6",
            ["driver 550 is too old", "580 or newer", "pip and CUDA 12.6"],
        ),
        ("13.0", "NVIDIA GeForce RTX 5090, 570.86.10, 12.0", ["driver 570 is too old", "580 or newer"]),
        ("12.6", "NVIDIA GeForce RTX 3060, 470.57.02, 8.6", ["driver 470 is too old", "525 or newer"]),
        ("13.0", "NVIDIA GeForce RTX 3060, 580.65.06, 8.6", ["does not reach it", "--gpus all"]),
    ],
)
def test_a_card_that_torch_does_not_reach(machine, cuda, smi, says):
    machine(cuda=cuda, smi=smi)
    said = devices.advice()
    assert said is not None and "\n" not in said and smi.split(",")[0] in said
    assert all(words in said for words in says), said
    assert devices.choose("auto") == torch.device("cpu")


def test_a_hidden_card_is_said_to_be_hidden(machine, monkeypatch):
    machine(smi="NVIDIA GeForce RTX 3060, 580.65.06, 8.6")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" in (devices.advice() or "")


def test_without_a_card_there_is_nothing_to_say(machine, monkeypatch):
    machine(cuda=None)
    monkeypatch.setattr(cards, "nvidia_card", lambda: None)
    assert devices.advice() is None


def test_apples_graphics_on_an_old_system(machine, monkeypatch):
    machine(cuda=None)
    monkeypatch.setattr(cards.sys, "platform", "darwin")
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    assert "macOS 14" in (devices.advice() or "")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.advice() is None


def test_the_driver_is_read_where_nvidias_tool_is_missing(machine, monkeypatch):
    machine(cuda=None)
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    assert cards.nvidia_card() == cards.Card("NVIDIA card", 535, None)
    assert "pip and CUDA 12.6" in (devices.advice() or "")


def test_nvidias_tool_is_asked_and_a_broken_one_survived(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$1" in *compute_cap*) exit 1;; esac\necho "NVIDIA GeForce GTX 970, 465.19.01"\n')
    tool.chmod(0o755)
    monkeypatch.setattr(cards.shutil, "which", lambda name: str(tool))
    assert cards.nvidia_card() == cards.Card("NVIDIA GeForce GTX 970", 465, None)
    tool.write_text("#!/bin/sh\necho no driver >&2\nexit 9\n")
    assert cards._nvidia_smi("name") == []
    tool.write_text("not a program")
    assert cards._nvidia_smi("name") == []


def test_the_versions_to_install_are_those_of_the_requirements():
    wanted = (Path(__file__).parents[1] / "requirements.txt").read_text()
    for package in ("torch", "torchvision"):
        (pin,) = re.findall(rf"^{package}(>=\S+)", wanted, re.MULTILINE)
        assert f'"{package}{pin}"' in cards.INSTALL
