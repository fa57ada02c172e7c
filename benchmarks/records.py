"""What a benchmark has measured so far, one JSON each: whole or not there, so that it goes on where it was ended."""

import contextlib
import json
from pathlib import Path
from typing import Any

import torch

from ddpm_core import atomic

RESULTS = Path(__file__).parent / "results"


def results_of(name: str, device: torch.device) -> Path:
    """Where a benchmark keeps its figures; a card's stand beside a processor's."""
    return RESULTS / f"{name}{'_cuda' if device.type == 'cuda' else ''}.json"


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.writing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None
