"""What the tables read alike: a file of results, what stands where there is none, titles and commands."""

import json
from pathlib import Path
from typing import Any

NOT_YET = "Not measured yet.\n"
TITLES = {"fashion_mnist": "Fashion-MNIST", "openmoji": "OpenMoji", "cifar10": "CIFAR-10"}


def measured(path: Path) -> dict[str, Any] | None:
    """What one file of results says; None where that was not measured yet."""
    return json.loads(path.read_text()) if path.exists() else None


def commands(runs: list[dict[str, Any]]) -> str:
    """Each command that measured some of them."""
    return ", ".join(dict.fromkeys(f"`{run['machine']['command']}`" for run in runs))
