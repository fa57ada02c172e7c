"""Paths as people write them: in quotes, with a tilde, nearly right; and file names as people can read them."""

import difflib
import os
from pathlib import Path

from ddpm_core.data.decoding import ENDINGS
from ddpm_core.errors import DataError


def existing(text: str) -> Path:
    """The absolute path of the folder, or the .zip, that `text` means. Raises `DataError` with the nearest that there is."""
    # A path copied from a file manager often comes in quotes.
    candidates = [text, text.strip("\"' ")]
    if not candidates[-1]:
        raise DataError("no folder is named: write its path, as in folder:cats, or use openmoji.")
    for candidate in candidates:
        path = Path(os.path.expanduser(candidate))
        if candidate and (os.path.isdir(path) or (is_zip(candidate) and os.path.isfile(path))):
            # Of a .zip that is a link the name stays: what it leads to may have no ending.
            return path.resolve() if os.path.isdir(path) else path.absolute().parent.resolve() / path.name
    shown = readable(str(path))
    if os.path.isfile(path):
        if path.suffix.lower() in ENDINGS:
            raise DataError(f"{shown!r} is one image: name the folder that holds it, {readable(str(path.parent))!r}.")
        raise DataError(
            f"{shown!r} is a file, not a folder or a .zip: unpack it and name the folder of images, or use openmoji."
        )
    what = "file" if is_zip(str(path)) else "folder"
    raise DataError(f"there is no {what} {shown!r}{_nearest(path)}: check the path, or use openmoji.")


def is_zip(text: str) -> bool:
    return text.lower().endswith(".zip")


def readable(text: str, limit: int = 200) -> str:
    """A file name for a person: bytes that are no text, and line breaks, are shown as a question mark."""
    shown = "".join(c if c.isprintable() else "?" for c in os.fsencode(text).decode("utf-8", "replace"))
    return shown if len(shown) <= limit else shown[: limit // 2] + "..." + shown[3 - limit // 2 :]


def _nearest(path: Path) -> str:
    """A hint at a folder or .zip of a similar name, or at how far the path does exist."""
    try:
        parent = path.absolute().parent
        while not parent.is_dir():
            path, parent = parent, parent.parent
        names = [entry.name for entry in os.scandir(parent) if entry.is_dir() or is_zip(entry.name)]
        near = difflib.get_close_matches(path.name, names, n=1)
        return f" (there is {readable(str(parent / near[0]))!r})" if near else ""
    except (OSError, ValueError):
        return ""
