"""Which machine a figure comes from, and whether something else was using it at the time."""

import contextlib
import datetime
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from ddpm_core import devices
from ddpm_core.errors import UsageError

HOUSE = Path(__file__).parents[1]
# A step during which other programs used more than this part of one core's time says nothing about the step.
OTHERS_MAY_USE = 0.06
# The system counts time in ticks of a hundredth of a second: judging less than this at once would judge the ticks.
SHORTEST = 0.5
_TICK = 0.01


def device_of(name: str) -> torch.device:
    """`devices.choose` for a benchmark. Raises `UsageError` also for a device that none of them can time."""
    device = devices.choose(name)
    if device.type not in ("cpu", "cuda"):
        raise UsageError(
            f"the benchmarks know processors and NVIDIA cards, not {devices.describe(device)}: add --device cpu."
        )
    return device


def describe(command: str, device: torch.device) -> dict[str, Any]:
    """What stands beside every committed figure: processor, cores, device, versions, date, command, commit."""
    return {
        "date": datetime.date.today().isoformat(),
        "command": command,
        "commit": COMMIT,
        "processor": _processor(),
        "cores": devices.cores(),
        "threads": torch.get_num_threads(),
        "device": devices.describe(device),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": _versions(),
        "bfloat16": devices.bfloat16_pays(device),
    }


def in_words(machine: dict[str, Any]) -> str:
    """The machine of `describe`'s answer, for the foot of a table."""
    cores = f"{machine['cores']} core{'s' if machine['cores'] != 1 else ''}"
    if not machine["device"].startswith("processor"):
        return f"{machine['device']} ({machine['processor']}, {cores})"
    return f"{machine['processor']}, {cores}{'' if machine['bfloat16'] else ', no bfloat16'}"


def _versions() -> dict[str, str]:
    """Of the peers and of what measures distances, as far as they are installed."""
    found = {}
    for name in ("diffusers", "denoising-diffusion-pytorch", "torchmetrics"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _processor() -> str:
    try:
        found = processor_in(Path("/proc/cpuinfo").read_text())
    except OSError:
        found = ""
    return found or platform.processor() or platform.machine()


def processor_in(cpuinfo: str) -> str:
    """The name of the first processor in the text of Linux' `/proc/cpuinfo`; "" where it has none.

    Virtual machines often hide its number. Then its family and model follow, which tell one generation from the next: two "AMD EPYC"
    were found to be one 2.2 times as fast as the other.
    """
    lines = cpuinfo.partition("\n\n")[0].splitlines()
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = said.get("model name", "")
    if name and not any(letter.isdigit() for letter in name):
        name += "".join(
            f" {word} {said[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in said
        )
    return name


def commit_of(house: Path, *code: str) -> str:
    """The commit of the files and folders `code` in `house`, with "+" where they differ from it; "" outside of git."""

    def git(*words: str) -> str:
        answer = subprocess.run(["git", *words], cwd=house, capture_output=True, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else ""

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *code)
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except OSError:
        return ""


# As this program begins: in its hours others may commit.
COMMIT = commit_of(HOUSE, "ddpm_core", "benchmarks", ":!benchmarks/results", ":!benchmarks/README.md")


@dataclass(frozen=True)
class Load:
    """What went on between two moments."""

    wall: float  # seconds
    others: float  # seconds of processor time that went to anything but this process, on all cores together

    @property
    def disturbed(self) -> bool:
        return self.others > OTHERS_MAY_USE * self.wall + _TICK


class Watch:
    """`Watch()` starts it; `lap()` says what went on since it was started or last asked.

    Other programs' time is that of the whole machine without this process and its children (and with what a host takes from a
    virtual machine). Only laps of `SHORTEST` seconds or more can be judged.
    """

    def __init__(self) -> None:
        self._last = self._now()

    def lap(self) -> Load:
        before, self._last = self._last, self._now()
        wall, own, all_ = (after - earlier for earlier, after in zip(before, self._last, strict=True))
        return Load(wall, max(0.0, all_ - own))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        machine = psutil.cpu_times()
        busy = sum(getattr(machine, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
        children = os.times()
        return time.perf_counter(), time.process_time() + children.children_user + children.children_system, busy
