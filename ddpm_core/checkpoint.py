"""Checkpoints that are whole and proven, or refused in one line.

Three kinds of file, each a sealed archive of tensors and plain values (archive.py):

- a model (`save_model`, `load_model`) is what people share: averaged weights and the settings that explain them;
- a state (`save_state`, `load_state`) is all that a run needs to go on exactly;
- a snapshot (`save_snapshot`, `load_snapshot`) is a small copy of the weight averages at one step.
"""

import contextlib
import dataclasses
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_core import archive, atomic
from ddpm_core.archive import MODEL, SNAPSHOT, STATE, VERSION
from ddpm_core.config import RunConfig
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.seal import TORN


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
        "format": MODEL,
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
    archive.check_plain(content["weights"], "weights")
    archive.save(path, content)


def load_model(path: Path | str) -> Model:
    """Reads a model file onto the CPU. Raises CheckpointError (one line: what is wrong, where, the fix) for anything else, a plain
    StudioError where there is not enough memory."""
    path = Path(path)
    content = archive.read(path, MODEL)
    try:
        config = RunConfig.from_json(content["config"])
    except UsageError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (KeyError, TypeError):
        raise CheckpointError(f"{path} holds no settings: {TORN}.") from None
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
        raise CheckpointError(f"{path} lacks parts of a model: {TORN}.")
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

    At no moment is there less than one proven state on the disk: the new file is written, read back and synced, as
    `last.new.pt`, before the old one moves aside. Raises CheckpointError if the disk refuses, TypeError for
    a value that `load_state` would refuse.
    """
    path = Path(path)
    new, previous = _sibling(path, "new"), _sibling(path, "prev")
    content = {"format": STATE, "version": VERSION, "state": state}
    archive.check_plain(state, "state")
    try:
        with atomic.writing(new, durable=True) as file:
            archive.write(file, content, path)
        if path.exists():
            atomic.replace(path, previous)
        atomic.replace(new, path)
        atomic.sync_folder(path.parent)
    except OSError as error:
        raise archive.cannot_save(path, error) from None


def load_state(
    path: Path | str, say: Callable[[str], None] = warnings.warn, *, to_go_on: bool = True
) -> dict[str, Any]:
    """Reads a run's newest proven state onto the CPU; falls back to the one before and tells it to `say`.

    A damaged newest file is kept as `last.damaged.pt`, so that the next save does not push it over the good one; but not where
    the run is not `to_go_on`: it may be in training, and be saving another newest one right now. Raises CheckpointError if no
    state can be used, a plain StudioError where there is not enough memory for one.
    """
    path = Path(path)
    complaints = []
    for candidate in state_files(path):
        try:
            state = archive.read(candidate, STATE).get("state")
            if not isinstance(state, dict):
                raise CheckpointError(f"{candidate} holds no state: {TORN}.")
        except CheckpointError as error:
            complaints.append(error)
            continue
        if complaints:
            if to_go_on and candidate != path and path.exists():
                atomic.replace(path, _sibling(path, "damaged"))
            say(f"{complaints[0]} Going on from {candidate.name}.")
        return state
    if complaints:
        raise complaints[0]
    raise CheckpointError(f"there is no {path}: nothing to resume. Start the run without --resume.")


def data_mark(path: Path | str) -> int | None:
    """The mark (data/places.py) of the pictures that a run learned from, from its state; None where that does not tell. Nothing is
    proven and no weight is read, so it costs no time for a large network either."""
    for candidate in state_files(Path(path)):
        with contextlib.suppress(Exception):  # of a damaged file, nearly anything
            return int(torch.load(candidate, map_location="cpu", weights_only=True, mmap=True)["state"]["data_mark"])
    return None


def save_snapshot(path: Path | str, content: dict[str, Any]) -> None:
    """Writes a snapshot: whole, sealed, or not at all. Raises CheckpointError if the disk refuses."""
    path = Path(path)
    archive.check_plain(content, "snapshot")
    archive.save(path, {"format": SNAPSHOT, "version": VERSION, **content})


def load_snapshot(path: Path | str) -> dict[str, Any]:
    """Reads a snapshot onto the CPU. Raises CheckpointError if it is damaged or no snapshot, a plain StudioError where there is not
    enough memory."""
    return archive.read(Path(path), SNAPSHOT)


def state_files(path: Path) -> list[Path]:
    """The files that may hold a run's state, best first: the newest, one that a crash left just before its renaming, the
    one before. Only those that exist."""
    return [file for file in (path, _sibling(path, "new"), _sibling(path, "prev")) if file.exists()]


def _sibling(path: Path, word: str) -> Path:
    return path.with_name(f"{path.stem}.{word}{path.suffix}")


def _alone(weight: Tensor) -> Tensor:
    """On the CPU, in standard layout, and alone in its storage (a view would drag its whole base into the file)."""
    return weight.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _without_folders(config: RunConfig) -> RunConfig:
    last = re.compile(r".*[/\\](?=[^/\\])")
    return dataclasses.replace(
        config,
        dataset=last.sub("", config.dataset),
        from_model=config.from_model and last.sub("", config.from_model),
    )
