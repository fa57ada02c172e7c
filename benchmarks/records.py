"""What a benchmark has measured so far, one JSON each: whole or not there, so that it goes on where it was ended."""

import contextlib
import json
from pathlib import Path
from typing import Any

import torch

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


def read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None
