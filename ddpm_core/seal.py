"""The seal at the end of every checkpoint: proof that no bit has changed since it was written. Knows no torch.

It is the sha256 of the archive before it, kept where zip files keep a comment, so torch.load reads the file as it is.
Neither torch.load nor safetensors notices a flipped bit in a weight. The seal finds accidents, not malice; see archive.py.
"""

import hashlib
import os
import re
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

from ddpm_core.errors import CheckpointError

TORN = "use another checkpoint of this run, or copy the file again"
_SEAL = b"ddpm-studio sha256:"
_SIZE = len(_SEAL) + 64
_COMMENT_SIZE = struct.pack("<H", _SIZE)  # zip: the two bytes before the comment hold its length
_WHOLE = re.compile(re.escape(_SEAL) + rb"([0-9a-f]{64})")


class Hashing:
    """Passes what torch.save writes on to `file`, and hashes it on the way. Keeps an OSError: torch would only say
    "unexpected pos" where the truth is a full disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.hash = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def put(file: BinaryIO, digest: str) -> None:
    """Seals the zip archive in `file`, whose sha256 is `digest`."""
    file.seek(-2, os.SEEK_END)
    file.write(_COMMENT_SIZE + _SEAL + digest.encode())


def claimed(file: BinaryIO) -> str | None:
    """The sha256 that `file` says it has; None where it has no whole seal. Takes no time: whether it is true, `check` finds."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _SIZE))
    match = _WHOLE.fullmatch(file.read())
    return match[1].decode() if match else None


def check(file: BinaryIO, path: Path) -> str:
    """The sha256 that the file is sealed with. CheckpointError unless it is that of what comes before it, to the last bit."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise CheckpointError(f"{path} is empty: {TORN}.")
    file.seek(max(0, size - _SIZE - 2))
    tail = file.read()
    if not tail.startswith(_COMMENT_SIZE + _SEAL):
        raise CheckpointError(f"{path} {_what_else(file, tail)}")
    file.seek(0)
    digest, left = hashlib.sha256(), size - len(tail)
    while left > 0:
        chunk = file.read(min(left, 1 << 20))
        if not chunk:
            break
        digest.update(chunk)
        left -= len(chunk)
    digest.update(
        b"\0\0"
    )  # the comment's length as torch.save left it: the seal is the hash of the archive without seal
    if tail[2:] != _SEAL + digest.hexdigest().encode():
        raise CheckpointError(f"{path} is damaged (its checksum does not match): {TORN}.")
    return digest.hexdigest()


def _what_else(file: BinaryIO, tail: bytes) -> str:
    """What a file without a whole seal is, by its first and last bytes."""
    file.seek(0)
    head = file.read(512)
    text = head.lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself: run `git lfs pull`."
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not a checkpoint: the download went wrong, fetch the file itself."
    if head.startswith(b"PK\x03\x04"):
        if zipfile.is_zipfile(file) and _SEAL[:12] not in tail:
            return "was made by another program, or is damaged: choose a checkpoint that train_high_res.py made."
        return f"is incomplete or damaged: {TORN}."
    if head.startswith(b"\x80"):
        return (
            "is a pickle, which can hold programs; it was not loaded. Choose a checkpoint that train_high_res.py made."
        )
    return "is not a checkpoint of DDPM Studio, or is damaged: choose one that train_high_res.py made."
