"""Pictures that could not be read: left out, listed, and a reason to stop when there are many."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ddpm_core import atomic
from ddpm_core.errors import DataError

BROKEN_SHARE = 0.05  # more unreadable pictures than this, and the set is probably not what was meant


def save_skipped(path: Path, skipped: Sequence[tuple[str, str]]) -> None:
    """Writes (file, reason) pairs as a CSV with the header `file,reason`; whole or not at all. Raises OSError."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(("file", "reason"))
    table.writerows(skipped)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.writing(path) as file:
        file.write(text.getvalue().encode("utf-8-sig"))  # with a mark, as Excel takes other bytes for its own code page


def too_many(title: str, total: int, skipped: Sequence[tuple[str, str]], path: Path) -> DataError:
    """What to raise when more than `BROKEN_SHARE` of a set's `total` pictures are broken; lists them in `path` if it can."""
    try:
        save_skipped(path, skipped)
        listed = f" (those found so far are listed in {path})"
    except OSError:
        listed = ""
    first = "; ".join(f"{file}: {why}" for file, why in skipped[:3])
    return DataError(
        f"{title}: more than {BROKEN_SHARE:.0%} of the {total:,} pictures cannot be read{listed};"
        f" remove or replace them, beginning with {first}."
    )
