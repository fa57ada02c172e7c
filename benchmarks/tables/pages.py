"""The pages that hold tables: which table stands between which marks, and what it says now."""

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import HOUSE
from benchmarks.records import RESULTS
from benchmarks.tables.explorers import explorers
from benchmarks.tables.presets import presets
from benchmarks.tables.quality import (
    ablation,
    growing,
    quality,
    quality_card,
    quality_faster,
    quality_float32,
    quality_narrow,
)
from benchmarks.tables.samplers import samplers, samplers_short
from benchmarks.tables.step import data_path, memory, open_page, profile
from benchmarks.tables.throughput import (
    card,
    throughput,
    throughput_card,
    throughput_float32,
    throughput_short,
    throughput_slower,
)

PAGES = (HOUSE / "README.md", HOUSE / "benchmarks" / "README.md")
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
TABLES: dict[str, Callable[[Path], str]] = {
    "throughput": throughput,
    "throughput_short": throughput_short,
    "throughput_slower": throughput_slower,
    "throughput_float32": throughput_float32,
    "throughput_card": throughput_card,
    "card": card,
    "quality": quality,
    "quality_faster": quality_faster,
    "quality_narrow": quality_narrow,
    "quality_float32": quality_float32,
    "quality_card": quality_card,
    "ablation": ablation,
    "profile": profile,
    "growing": growing,
    "presets": presets,
    "memory": memory,
    "data_path": data_path,
    "open_page": open_page,
    "explorers": explorers,
    "samplers": samplers,
    "samplers_short": samplers_short,
}


def table(name: str, results: Path = RESULTS) -> str:
    """The Markdown of table `name`, or a line that says that it was not measured yet."""
    return TABLES[name](results)


def renewed(text: str, results: Path = RESULTS) -> str:
    """`text` with every marked table as the results say now. Raises `KeyError` for a table that nobody writes."""
    return MARKED.sub(lambda found: found[1] + table(found[2], results) + found[3], text)
