"""Writes the tables of README.md and benchmarks/README.md from results/*.json, so that no figure is ever copied by hand.

python -m benchmarks.tables            # rewrites what stands between <!-- table: NAME --> and <!-- /table -->
python -m benchmarks.tables --check    # changes nothing; exit code 1 when a table is stale
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine

HOUSE = Path(__file__).parents[1]
RESULTS = HOUSE / "benchmarks" / "results"
PAGES = (HOUSE / "README.md", HOUSE / "benchmarks" / "README.md")
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
NOT_YET = "Not measured yet.\n"


def throughput(result: dict[str, Any]) -> str:
    """Pictures a second in training, beside the peers."""
    lines = [
        "| training | weights | GFLOP an image | images/s | against diffusers | range | GFLOP/s | of peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, row in result["rows"].items():
        ratio = f"**{row['ratio']:.2f}x**" if row["ratio"] else ""
        low_high = "{:.2f} to {:.2f}".format(*row["ratio_range"]) if row["ratio_range"] else ""
        kind = "bfloat16" if row["bfloat16"] else "float32"
        lines.append(
            f"| {result['titles'][key]} (batch {row['batch_size']}) | {row['parameters'] / 1e6:.2f} M | {row['flops'] / 1e9:.2f}"
            f" | {row['images_per_second']:.1f} | {ratio} | {low_high} | {row['gflops']:.0f}"
            f" | {100 * row['share_of_peak']:.0f} % of {kind} |"
        )
    peak = result["peak_gflops"]
    steps, disturbed, kept = (
        sum(row[name] for row in result["rows"].values())
        for name in ("steps", "disturbed_steps", "disturbed_steps_kept")
    )
    lines += [
        "",
        f"{result['pictures']}; medians over {result['rounds']} interleaved rounds of {result['seconds']:g} s, ratios taken inside a"
        f" round. The machine's fastest convolution reaches {peak['float32']} GFLOP/s in float32 and {peak['bfloat16']} in bfloat16."
        f" {_of_steps(steps, disturbed, kept)} {machine.in_words(result)}, commit {result['commit']}: `{result['command']}`",
    ]
    lines += [f"Left out: {why}" for why in result["left_out"].values()]
    return "\n".join(lines) + "\n"


def _of_steps(steps: int, disturbed: int, kept: int) -> str:
    if not disturbed:
        return f"Nothing else was at work beside any of the {steps:,} steps."
    counted = f"{kept:,} of them counted all the same, because too few others remained" if kept else "they do not count"
    return f"Other programs were at work beside {disturbed:,} of {steps:,} steps; {counted}."


# Each table: its file in results/, and what makes Markdown of it.
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "throughput": ("throughput.json", throughput),
}


def table(name: str, results: Path = RESULTS) -> str:
    """The Markdown of table `name`, or a line that says that it was not measured yet."""
    file, write = TABLES[name]
    path = results / file
    return write(json.loads(path.read_text())) if path.exists() else NOT_YET


def renewed(text: str, results: Path = RESULTS) -> str:
    """`text` with every marked table as the results say now. Raises `KeyError` for a table that nobody writes."""
    return MARKED.sub(lambda found: found[1] + table(found[2], results) + found[3], text)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when a table is stale")
    options = parser.parse_args(argv)
    stale = False
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = renewed(text)
        if new == text:
            continue
        if options.check:
            stale = True
            print(f"{page.relative_to(HOUSE)} has a stale table: run python -m benchmarks.tables")
        else:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(HOUSE)}: rewritten")
    if stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
