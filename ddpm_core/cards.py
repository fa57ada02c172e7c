"""NVIDIA cards: whether this torch can use them, and what to install where it cannot."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import torch

# What to install instead. (PyTorch's release notes, "CUDA support matrix" of 2.11 to 2.13: the builds for CUDA 12.6 have kernels
# for cards of 2014, Maxwell, to Hopper; those for CUDA 13 for Turing, the RTX 20 series, and later.)
INSTALL = (
    "pip uninstall -y torch torchvision, then the line that pytorch.org/get-started/locally shows for pip and CUDA {}"
    ' (with "torch>=2.11,<2.14" "torchvision>=0.26,<0.29").'
)
# The oldest driver by CUDA's first number (NVIDIA, "CUDA compatibility": minor version compatibility).
OLDEST_DRIVER = {12: 525, 13: 580}
TURING, BLACKWELL = (7, 5), (10, 0)


class Card(NamedTuple):
    """A graphics card as its driver sees it, whatever torch does."""

    name: str
    driver: int  # the first number of its version; 0 = unknown
    capability: tuple[int, int] | None  # None = unknown


def has_kernels(card: int) -> bool:
    """Whether this torch was built for cards like number `card`: kernels (sm_86) serve the same generation from their version
    on, portable code (compute_120) every later one too."""
    built = torch.cuda.get_arch_list()
    if torch.version.cuda is None or not built:  # AMD's cards have other names
        return True
    capability = torch.cuda.get_device_capability(card)
    for name in built:
        kind, _, code = name.partition("_")
        generation, version = divmod(int(re.sub(r"\D", "", code) or 0), 10)
        if (kind == "sm" and generation == capability[0] and version <= capability[1]) or (
            kind == "compute" and (generation, version) <= capability
        ):
            return True
    return False


def advice() -> str | None:
    """Why this machine's graphics card is not used, and what to do about it, in one line; None where there is nothing to say."""
    if torch.cuda.is_available():
        if any(has_kernels(number) for number in range(torch.cuda.device_count())):
            return None
        return other_build(0)
    if sys.platform == "darwin":
        if torch.backends.mps.is_built() and not torch.backends.mps.is_available():
            return "The graphics of Apple computers need macOS 14 or newer: update the system to use them."
        return None
    card = nvidia_card()
    if card is None or torch.version.hip:
        return None
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return f"The {card.name} is hidden: the environment variable CUDA_VISIBLE_DEVICES is empty. Remove it to use the card."
    if torch.version.cuda is None:
        return f"The {card.name} is not used, because this torch was built for processors only. {_install(card)}"
    needed = OLDEST_DRIVER.get(int(torch.version.cuda.split(".")[0]), 0)
    if card.driver and card.driver < needed:
        old = f"The {card.name} is not used: its driver {card.driver} is too old for this torch (CUDA {torch.version.cuda})."
        if card.driver >= OLDEST_DRIVER[12] and (card.capability or TURING) < BLACKWELL:
            return f"{old} Update it to {needed} or newer, or: {INSTALL.format('12.6')}"
        return f"{old} Update it to {needed} or newer."
    return (
        f"The {card.name} is there, but torch does not reach it: restart the computer after a driver update,"
        " and start a container with --gpus all."
    )


def other_build(number: int) -> str:
    """What to do about a card that this torch has no kernels for."""
    name, capability = torch.cuda.get_device_name(number), torch.cuda.get_device_capability(number)
    found = nvidia_card()
    card = Card(name, found.driver if found else 0, capability)
    kind = "older" if capability < TURING else "newer"
    return f"This torch (CUDA {torch.version.cuda}) has no kernels for the {name}, which is {kind}. {_install(card)}"


def _install(card: Card) -> str:
    """How to install the build of torch that suits `card` and its driver."""
    if card.capability is not None and card.capability < TURING:
        return f"Such a card, the GTX 10 series and older, wants the build for CUDA 12.6: {INSTALL.format('12.6')}"
    if not card.driver or card.driver >= OLDEST_DRIVER[13]:
        return f"Do this: {INSTALL.format('13.0')}"
    if card.driver >= OLDEST_DRIVER[12] and (card.capability or TURING) < BLACKWELL:
        return f"Do this: {INSTALL.format('12.6')}"
    return f"Update its driver ({card.driver}) to {OLDEST_DRIVER[13]} or newer, then: {INSTALL.format('13.0')}"


def nvidia_card() -> Card | None:
    """The first NVIDIA card of this machine, also where torch cannot use it; None if there seems to be none."""
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):  # old drivers do not know the last
        lines = _nvidia_smi(fields)
        if lines:
            name, driver, *capability = (part.strip() for part in lines[0].split(","))
            generation, _, version = (capability[0] if capability else "").partition(".")
            known = generation.isdigit() and version.isdigit()
            return Card(name, _first_number(driver), (int(generation), int(version)) if known else None)
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    return Card("NVIDIA card", _first_number(text), None)


def _nvidia_smi(fields: str) -> list[str]:
    """What NVIDIA's own tool answers, a line a card; nothing where there is none, or it cannot reach the driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.strip().splitlines() if answer.returncode == 0 else []


def _first_number(text: str) -> int:
    """Of "535.183.01", alone or in a line, 535; 0 where there is no version."""
    found = re.search(r"(\d{3})\.\d+", text)
    return int(found[1]) if found else 0
