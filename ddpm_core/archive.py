"""A sealed torch.save archive of tensors and plain values: written whole and proven, read without trusting it.

The seal (seal.py) is checked before a byte is unpickled, and finds accidents. Against malice stand `weights_only=True` and the
size checks. No pickle of ours, ever. (checkpoint.data_mark alone looks into a file that is not proven, for one number.)
"""

import contextlib
import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor, nn

from ddpm_core import atomic, devices, seal
from ddpm_core.errors import CheckpointError, StudioError

VERSION = 1  # of the layout in checkpoint.py; a reader refuses a higher one
MODEL, STATE, SNAPSHOT = "ddpm-studio model", "ddpm-studio state", "ddpm-studio snapshot"


# ---- writing


def save(path: Path, content: dict[str, Any]) -> None:
    """Writes a file: whole, sealed, or not at all. Raises CheckpointError if the disk refuses."""
    try:
        with atomic.writing(path, durable=True) as file:
            write(file, content, path)
    except OSError as error:
        raise cannot_save(path, error) from None


def write(file: BinaryIO, content: dict[str, Any], path: Path) -> None:
    """Writes archive and seal, then reads them back: the file must hold what left memory. (What is read may come from the system's
    cache, not the disk.)"""
    through = seal.Hashing(file)
    try:
        torch.save(content, cast(BinaryIO, through))
    except RuntimeError:
        raise through.error or OSError(f"torch cannot write {path.name}") from None
    seal.put(file, through.hash.hexdigest())
    file.flush()
    seal.check(file, path)


def cannot_save(path: Path, error: OSError) -> CheckpointError:
    reason = error.strerror or str(error)
    return CheckpointError(f"cannot save {path} ({reason}): free some space or check the folder's permissions.")


def check_plain(value: Any, where: str) -> None:
    """Raises TypeError for a value that weights_only=True would refuse: better now than at the resume."""
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        for key, item in value.items():
            check_plain(key, f"a key of {where}")
            check_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            check_plain(item, f"{where}[{index}]")
    elif value is not None and type(value) not in (bool, int, float, str, bytes, Tensor, nn.Parameter):
        raise TypeError(f"{where} is a {type(value).__name__}: only tensors and plain values go into a checkpoint")


# ---- reading


def read(path: Path, kind: str) -> dict[str, Any]:
    """The content of a file of this kind (MODEL, STATE or SNAPSHOT) on the CPU, and under "seal" its sha256. Raises
    CheckpointError (one line: what is wrong, where, the fix) for anything else, a plain StudioError where
    there is not enough memory."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except OSError as error:  # a folder on the way that nobody may enter, or a name that is too long
        raise CheckpointError(
            f"cannot read {path} ({error.strerror or error}): check the path and its permissions."
        ) from None
    if os.path.isdir(path):
        raise CheckpointError(f"{path} is a folder: name a file in it{_for_example(path)}.")
    if not os.path.exists(path):
        raise CheckpointError(f"there is no file {path}: check the path{_for_example(path.parent)}.")
    if not path.is_file():
        raise CheckpointError(f"{path} is not a regular file: name a .pt file.")
    try:
        # One handle for all: a training run may replace the file between two openings.
        with open(path, "rb") as file:
            digest = seal.check(file, path)
            _check_archive(file, path)
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
            _check_tensors(content, file.seek(0, os.SEEK_END))
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path} ({error.strerror or error}): check the file's permissions."
        ) from None
    except Exception as error:  # a crafted archive raises a dozen kinds of error in torch.load
        if devices.is_out_of_memory(error):  # no fault of the file's, which must not be put aside for it
            size = path.stat().st_size / 1e9
            raise StudioError(
                f"{path} ({size:.1f} GB) does not fit into memory: close other programs, then try again."
            ) from None
        raise CheckpointError(
            f"{path} holds more than tensors and plain values, or is damaged; it was not loaded."
        ) from None
    if not isinstance(content, dict) or content.get("format") not in (MODEL, STATE, SNAPSHOT):
        raise CheckpointError(f"{path} is not a checkpoint of DDPM Studio: choose one that train_high_res.py made.")
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise CheckpointError(f"{path} was made by a newer version of DDPM Studio: update, then try again.")
    if content["format"] != kind:
        fix = {
            MODEL: "choose ddpm_best.pt or ddpm_final.pt of its run",
            STATE: "resume reads last.pt",
            SNAPSHOT: "snapshots lie in the run's folder averages",
        }[kind]
        raise CheckpointError(
            f"{path} is a {content['format'].split()[-1]} file, not a {kind.split()[-1]} file: {fix}."
        )
    return {**content, "seal": digest}


def _check_archive(file: BinaryIO, path: Path) -> None:
    """torch.save stores without compression; an entry that claims to grow is a bomb."""
    size = file.seek(0, os.SEEK_END)
    entries = zipfile.ZipFile(file).infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(e.file_size for e in entries) > size:
        raise CheckpointError(f"{path} would unpack to more than its own size; it was not loaded.")


def _check_tensors(value: Any, size: int) -> None:
    """No tensor may be larger than the file it came from (a crafted shape could ask for all memory later)."""
    if isinstance(value, Tensor):
        if value.numel() * value.element_size() > size:
            raise ValueError("a tensor larger than its file")
    elif isinstance(value, dict):
        for item in value.values():
            _check_tensors(item, size)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_tensors(item, size)


def _for_example(folder: Path) -> str:
    found = sorted(folder.glob("*.pt")) if os.path.isdir(folder) else []
    best = [file for file in found if file.name == "ddpm_best.pt"]
    return f", for example {(best or found)[0]}" if found else ""
