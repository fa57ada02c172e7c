"""What a benchmark has measured so far, one JSON each: whole or not there, so that it goes on where it was ended."""

import contextlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from ddpm_core import atomic, devices
from ddpm_core.errors import UsageError

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


def can_stand_beside(paths: Iterable[Path], wanted: dict[str, Any], device: torch.device | None = None) -> None:
    """Raises `UsageError` where one of the results at `paths`, those of one table, is not as `wanted`; or, where a `device` is given
    as its figures depend on that, was measured on another machine than this one."""
    here = machine.in_words(machine.describe("", device)) if device is not None else ""
    for path in sorted(paths):
        found = read(path)
        if found is None:
            continue
        for name, value in wanted.items():
            if found.get(name) != value:
                raise UsageError(
                    f"{path} has {name.replace('_', ' ')} {found.get(name)}, not {value}, and one table cannot hold both:"
                    " add --results FOLDER."
                )
        if device is not None and (there := machine.in_words(found["machine"])) != here:
            raise UsageError(
                f"{path} is from another machine ({there}; this one: {here}), and one table cannot hold both:"
                " add --results FOLDER for this one's."
            )


def nothing_lost(path: Path, parts: Iterable[str], parts_of: Callable[[dict[str, Any]], Iterable[str]]) -> None:
    """Raises `UsageError` where the results at `path` have parts that a command leaves out which would replace them."""
    found = read(path)
    left_out = [part for part in parts_of(found) if part not in set(parts)] if found else []
    if left_out:
        raise UsageError(
            f"{path} also has {', '.join(left_out)}, and would lose them: measure them as well, or add --output FILE."
        )


def rows_of(found: dict[str, Any]) -> list[str]:
    return list(found["rows"])


def kept(path: Path, what: str, anew: bool) -> dict[str, Any] | None:
    """What is at `path` already, and a line that says so; None where nothing is, or all is to be measured anew."""
    found = None if anew else read(path)
    if found is None:
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
