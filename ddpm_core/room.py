"""How much of the computer's memory there is and how much is left; in a container, of what it may have. No torch here."""

import math
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # of this program's container; without one, or with another system, it knows no limit


def left() -> int:
    """Bytes that nobody has taken yet."""
    import psutil

    return int(min(psutil.virtual_memory().available, _left_in_container()))


def total() -> int:
    """Bytes, used or not."""
    import psutil

    return int(min(psutil.virtual_memory().total, _limit()))


def _limit() -> float:
    """Bytes that a container may take: the system's own figures do not know of it (Linux, control groups 2)."""
    try:
        return int((CGROUP / "memory.max").read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


def _left_in_container() -> float:
    try:
        used = int((CGROUP / "memory.current").read_text())
        facts = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return max(
            0, _limit() - used + int(facts["inactive_file"])
        )  # what of files is kept only in case it is read again
    except (OSError, ValueError, KeyError):
        return math.inf
