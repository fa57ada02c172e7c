"""What the tables say alike: where there is no figure, what pictures are compared with, where and by which command it was measured."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import machine

NOT_YET = "Not measured yet.\n"
TITLES = {"fashion_mnist": "Fashion-MNIST", "openmoji": "OpenMoji", "cifar10": "CIFAR-10"}


def measured(path: Path) -> dict[str, Any] | None:
    """What one file of results says; None where that was not measured yet."""
    return json.loads(path.read_text()) if path.exists() else None


def measured_by(every: Iterable[dict[str, Any]]) -> str:
    """Of what `machine.describe` said beside each figure: every machine, day and commit, then every command, all of them once."""
    every = sorted(every, key=lambda about: about["date"])
    commands = dict.fromkeys(f"`{about['command']}`" for about in every)
    return f"{measured_on(every)}: {', '.join(commands)}"


def command(module: str, options: dict[str, Any], usual: dict[str, Any]) -> str:
    """What makes a table anew, or what is missing of it: a benchmark with those of `options` that are not the `usual` ones."""
    said = [f" --{name.replace('_', '-')} {value}" for name, value in options.items() if value != usual.get(name)]
    return "".join([f"python -m benchmarks.{module}", *said])


def measured_on(every: Iterable[dict[str, Any]]) -> str:
    """The same without the commands."""
    places: dict[str, dict[str, dict[str, None]]] = {}  # machine, then day, then commits
    for about in sorted(every, key=lambda about: about["date"]):
        place, date = f"{machine.in_words(about)}, torch {about['torch']}", about["date"]
        places.setdefault(place, {}).setdefault(date, {})[about["commit"]] = None
    return "; ".join(
        ", ".join([place, *(f"{date} (commit {', '.join(commits)})" for date, commits in days.items())])
        for place, days in places.items()
    )


def grid(rows: list[dict[str, str]]) -> list[str]:
    """The lines of a Markdown table of rows {heading: cell} with the same headings; a column in which every cell is "" is left out."""
    headings = [heading for heading in rows[0] if any(row[heading] for row in rows)]
    lines = [headings, ["---"] * len(headings), *([row[heading] for heading in headings] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def blanks(lines: list[str]) -> str:
    """What an empty cell means, where there is one."""
    return " Blank: not measured yet." if any("|  |" in line for line in lines) else ""


def compared_with_its_own(dataset: str, floor: bool = False) -> str:
    """A word of caution where a set has no test part (encoder.reference_pictures), and beside a `floor` what that is then."""
    if dataset == "fashion_mnist":
        return ""
    half = "; the floor is one half of them against the other" if floor else ""
    return f" The real pictures are those that were trained on, as this set has no others{half}."
