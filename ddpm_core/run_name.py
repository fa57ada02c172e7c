"""What a run may be called: its name is a folder's name, on every system. Imports no torch."""

import re

from ddpm_core.errors import UsageError

PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Windows keeps these file names for devices, with any ending; a run's folder must be able to move there.
RESERVED = {"con", "prn", "aux", "nul", *(f"com{i}" for i in range(10)), *(f"lpt{i}" for i in range(10))}


def default(dataset: str, size: int) -> str:
    """`cifar10`, 64 -> `cifar10_64x64`; a folder's path gives its last part, with unusual letters made plain."""
    last = re.split(r"[/\\]", dataset.strip().rstrip("/\\"))[-1]
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", last).strip("-._").lower()[:48] or "pictures"
    return f"{slug}_{size}x{size}"


def check(name: str) -> None:
    """Raises `UsageError` unless `name` can be a run's folder on every system."""
    if isinstance(name, str) and _serves(name):
        return
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", str(name)).strip("-._")[:64].rstrip(".")
    hint = f", for example {slug!r}" if _serves(slug) else ""
    raise UsageError(
        f"{str(name)[:80]!r} cannot name a run: use 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit{hint}."
    )


def _serves(name: str) -> bool:
    return bool(PATTERN.fullmatch(name)) and not name.endswith(".") and name.split(".")[0].lower() not in RESERVED
