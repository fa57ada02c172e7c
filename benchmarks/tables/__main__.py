"""Writes the tables of README.md and benchmarks/README.md from results/*.json, so that no figure is ever copied by hand.

python -m benchmarks.tables            # rewrites what stands between <!-- table: NAME --> and <!-- /table -->
python -m benchmarks.tables --check    # changes nothing; exit code 1 when a table is stale
"""

import argparse
import sys

from benchmarks.machine import HOUSE
from benchmarks.tables.pages import PAGES, renewed


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
