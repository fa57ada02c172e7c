"""What a benchmark has measured so far, one JSON each: whole or not there, so that it goes on where it was ended."""

import contextlib
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from ddpm_core import atomic, devices

RESULTS = Path(__file__).parent / "results"


def results_of(name: str, device: torch.device) -> Path:
    """Where a benchmark keeps its figures: a card's, and those of a processor without bfloat16, stand beside the others'."""
    return RESULTS / f"{name}{kind_of(device)}.json"


def kind_of(device: torch.device) -> str:
    if device.type == "cuda":
        return "_cuda"
    return "" if devices.bfloat16_pays(device) else "_float32"


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.writing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def kept(path: Path, what: str, wanted: dict[str, Any], anew: bool) -> dict[str, Any] | None:
    """What is at `path` already, and a line that says so; None where it is not as `wanted`, or all is to be measured anew."""
    found = None if anew else read(path)
    if found is None or any(found.get(name) != value for name, value in wanted.items()):
        return None
    about = found["machine"]
    print(
        f"kept: {what}, measured {about['date']} on {machine.in_words(about)}, commit {about['commit'] or 'unknown'}: --anew measures it here",
        flush=True,
    )
    return found


def read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None
