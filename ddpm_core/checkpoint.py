"""Checkpoints that are whole and proven, or refused in one line.

Three kinds of file, all a plain torch.save archive of tensors and plain values with a seal at its end:

- a model (`save_model`, `load_model`) is what people share: averaged weights and the settings that explain them;
- a state (`save_state`, `load_state`) is all that a run needs to go on exactly;
- a snapshot (`save_snapshot`, `load_snapshot`) is a small copy of the weight averages at one step.

The seal is the sha256 of the archive, kept where zip files keep a comment, so torch.load reads the file as it is. It is
checked before a byte is unpickled: neither torch.load nor safetensors notices a flipped bit in a weight. The seal finds
accidents, not malice; against malice stand `weights_only=True` and the size checks. No pickle of ours, ever.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor, nn

from ddpm_core import atomic
from ddpm_core.config import RunConfig
from ddpm_core.errors import CheckpointError, UsageError

VERSION = 1  # of the layout below; a reader refuses a higher one
_MODEL, _STATE, _SNAPSHOT = "ddpm-studio model", "ddpm-studio state", "ddpm-studio snapshot"
_SEAL = b"ddpm-studio sha256:"
_SEAL_SIZE = len(_SEAL) + 64
_COMMENT_SIZE = struct.pack("<H", _SEAL_SIZE)  # zip: the two bytes before the comment hold its length
_LABELS, _CLASSES = "labels.weight", "classes.weight"  # of network/unet.py
_TORN = "use another checkpoint of this run, or copy the file again"


@dataclass
class Model:
    """A trained model and what is needed to use it. `weights` are the averaged (EMA) ones, float32, on the CPU."""

    config: RunConfig
    channels: int  # 1 (grey) or 3 (RGB)
    classes: tuple[str, ...]  # names of what the network can be asked for, `config.network.classes` of them
    step: int  # optimizer steps behind it
    images: int  # pictures seen, with repetitions
    epoch: int  # passes over the data, rounded down
    loss: float | None  # smoothed training loss when it was saved
    weights: dict[str, Tensor]
    # 12 letters that name the file it was read from, as recipes.model_hash does; "" if it was in none
    hash: str = field(default="", compare=False)


def save_model(path: Path | str, model: Model) -> None:
    """Writes a model file: whole, sealed, or not at all. Folders in its settings are reduced to their last part, so that
    a shared file does not tell where its owner keeps pictures. Raises CheckpointError if the disk refuses."""
    path = Path(path)
    content = {
        "format": _MODEL,
        "version": VERSION,
        "config": _without_folders(model.config).to_json(),
        "channels": model.channels,
        "classes": list(model.classes),
        "step": model.step,
        "images": model.images,
        "epoch": model.epoch,
        "loss": model.loss,
        "weights": {name: _alone(weight) for name, weight in model.weights.items()},
    }
    _check_plain(content["weights"], "weights")
    try:
        with atomic.writing(path, durable=True) as file:
            _write_sealed(file, content, path)
    except OSError as error:
        raise _cannot_save(path, error) from None


def load_model(path: Path | str) -> Model:
    """Reads a model file onto the CPU. Raises CheckpointError (one line: what is wrong, where, the fix) for anything else."""
    path = Path(path)
    content = _read(path, _MODEL)
    try:
        config = RunConfig.from_json(content["config"])
    except UsageError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (KeyError, TypeError):
        raise CheckpointError(f"{path} holds no settings: {_TORN}.") from None
    weights = content.get("weights")
    if (
        not isinstance(weights, dict)
        or not weights
        or not all(isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights.items())
        or content.get("channels") not in (1, 3)
        or not isinstance(content.get("classes"), list)
        or len(content["classes"]) < config.network.classes
        or not all(isinstance(content.get(number), int) for number in ("step", "images", "epoch"))
        or not isinstance(content.get("loss"), float | int | None)
    ):
        raise CheckpointError(f"{path} lacks parts of a model: {_TORN}.")
    return Model(
        config=config,
        channels=content["channels"],
        classes=tuple(map(str, content["classes"])),
        step=content["step"],
        images=content["images"],
        epoch=content["epoch"],
        loss=content.get("loss"),
        weights=weights,
        hash=content["seal"][:12],
    )


def load_weights(network: nn.Module, weights: dict[str, Tensor], path: Path | str) -> None:
    """Puts `weights` into `network`. Raises CheckpointError, naming `path`, if they do not fit or are not numbers."""
    broken = next((name for name, weight in weights.items() if not torch.isfinite(weight).all()), None)
    if broken is not None:
        raise CheckpointError(
            f"{path}: the weights {broken} are not finite, training had failed: use an earlier checkpoint."
        )
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        detail = str(error).split("\n")[1:2]  # the first line only repeats the class
        reason = f" ({detail[0].strip().rstrip('.')[:160]})" if detail else ""
        raise CheckpointError(
            f"{path}: the weights do not fit the network{reason}: use a model of the same size and preset."
        ) from None


def save_state(path: Path | str, state: dict[str, Any]) -> None:
    """Writes a run's state; the one before stays as `last.prev.pt` beside `last.pt`.

    At no moment is there less than one proven state on the disk: the new file is written, synced and read back under
    its own name (`last.new.pt`) before the old one moves aside. Raises CheckpointError if the disk refuses, TypeError for
    a value that `load_state` would refuse.
    """
    path = Path(path)
    new, previous = _sibling(path, "new"), _sibling(path, "prev")
    content = {"format": _STATE, "version": VERSION, "state": state}
    _check_plain(state, "state")
    try:
        with atomic.writing(new, durable=True) as file:
            _write_sealed(file, content, path)
        if path.exists():
            atomic.replace(path, previous)
        atomic.replace(new, path)
        atomic.sync_folder(path.parent)
    except OSError as error:
        raise _cannot_save(path, error) from None


def load_state(path: Path | str, say: Callable[[str], None] = warnings.warn) -> dict[str, Any]:
    """Reads a run's newest proven state onto the CPU; falls back to the one before and tells it to `say`.

    A damaged newest file is kept as `last.damaged.pt`, so that the next save does not push it over the good one. Raises
    CheckpointError if no state can be used.
    """
    path = Path(path)
    complaints = []
    for candidate in state_files(path):
        try:
            state = _read(candidate, _STATE).get("state")
            if not isinstance(state, dict):
                raise CheckpointError(f"{candidate} holds no state: {_TORN}.")
        except CheckpointError as error:
            complaints.append(error)
            continue
        if complaints:
            if candidate != path and path.exists():
                atomic.replace(path, _sibling(path, "damaged"))
            say(f"{complaints[0]} Going on from {candidate.name}.")
        return state
    if complaints:
        raise complaints[0]
    raise CheckpointError(f"there is no {path}: nothing to resume. Start the run without --resume.")


def save_snapshot(path: Path | str, content: dict[str, Any]) -> None:
    """Writes a snapshot: whole, sealed, or not at all. Raises CheckpointError if the disk refuses."""
    path = Path(path)
    _check_plain(content, "snapshot")
    try:
        with atomic.writing(path, durable=True) as file:
            _write_sealed(file, {"format": _SNAPSHOT, "version": VERSION, **content}, path)
    except OSError as error:
        raise _cannot_save(path, error) from None


def load_snapshot(path: Path | str) -> dict[str, Any]:
    """Reads a snapshot onto the CPU. Raises CheckpointError if it is damaged or no snapshot."""
    return _read(Path(path), _SNAPSHOT)


def state_files(path: Path) -> list[Path]:
    """The files that may hold a run's state, best first: the newest, one that a crash left just before its renaming, the
    one before. Only those that exist."""
    return [file for file in (path, _sibling(path, "new"), _sibling(path, "prev")) if file.exists()]


def _sibling(path: Path, word: str) -> Path:
    return path.with_name(f"{path.stem}.{word}{path.suffix}")


# ---- writing


class _Hashing:
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


def _write_sealed(file: BinaryIO, content: dict[str, Any], path: Path) -> None:
    """Writes archive and seal, then reads them back: what left memory must be what the disk gives."""
    through = _Hashing(file)
    try:
        torch.save(content, cast(BinaryIO, through))
    except RuntimeError:
        raise through.error or OSError(f"torch cannot write {path.name}") from None
    file.seek(-2, os.SEEK_END)
    file.write(_COMMENT_SIZE + _SEAL + through.hash.hexdigest().encode())
    file.flush()
    _check_seal(file, path)


def _cannot_save(path: Path, error: OSError) -> CheckpointError:
    reason = error.strerror or str(error)
    return CheckpointError(f"cannot save {path} ({reason}): free some space or check the folder's permissions.")


def _alone(weight: Tensor) -> Tensor:
    """On the CPU, in standard layout, and alone in its storage (a view would drag its whole base into the file)."""
    return weight.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _check_plain(value: Any, where: str) -> None:
    """TypeError for a value that weights_only=True would refuse: better now than at the resume."""
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    elif value is not None and type(value) not in (bool, int, float, str, bytes, Tensor, nn.Parameter):
        raise TypeError(f"{where} is a {type(value).__name__}: only tensors and plain values go into a checkpoint")


def _without_folders(config: RunConfig) -> RunConfig:
    last = re.compile(r".*[/\\](?=[^/\\])")
    return dataclasses.replace(
        config,
        dataset=last.sub("", config.dataset),
        from_model=config.from_model and last.sub("", config.from_model),
    )


# ---- reading


def _read(path: Path, kind: str) -> dict[str, Any]:
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
            seal = _check_seal(file, path)
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
    except Exception:  # a crafted archive raises a dozen kinds of error in torch.load
        raise CheckpointError(
            f"{path} holds more than tensors and plain values, or is damaged; it was not loaded."
        ) from None
    if not isinstance(content, dict) or content.get("format") not in (_MODEL, _STATE, _SNAPSHOT):
        raise CheckpointError(f"{path} is not a checkpoint of DDPM Studio: choose one that train_high_res.py made.")
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise CheckpointError(f"{path} was made by a newer version of DDPM Studio: update, then try again.")
    if content["format"] != kind:
        fix = {
            _MODEL: "choose ddpm_best.pt or ddpm_final.pt of its run",
            _STATE: "resume reads last.pt",
            _SNAPSHOT: "snapshots lie in the run's folder averages",
        }[kind]
        raise CheckpointError(
            f"{path} is a {content['format'].split()[-1]} file, not a {kind.split()[-1]} file: {fix}."
        )
    return {**content, "seal": seal}


def _check_seal(file: BinaryIO, path: Path) -> str:
    """The sha256 that the file is sealed with. CheckpointError unless it is that of what comes before it, to the last bit."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise CheckpointError(f"{path} is empty: {_TORN}.")
    file.seek(max(0, size - _SEAL_SIZE - 2))
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
        raise CheckpointError(f"{path} is damaged (its checksum does not match): {_TORN}.")
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
        return f"is incomplete or damaged: {_TORN}."
    if head.startswith(b"\x80"):
        return (
            "is a pickle, which can hold programs; it was not loaded. Choose a checkpoint that train_high_res.py made."
        )
    return "is not a checkpoint of DDPM Studio, or is damaged: choose one that train_high_res.py made."


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
