"""The trained models there are, told without torch; the few that are loaded, and how they work on a shared device."""

import contextlib
import functools
import json
import os
import pickletools
import threading
import time
import zipfile
from collections import OrderedDict, abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ddpm_core.errors import StudioError, UsageError
from ddpm_core.runs import Run, all_runs

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview, Turn

T = TypeVar("T")
MOST_LOADED = 4  # as many as a comparison needs
# Seconds of work in one turn. A training step takes long, a network call for a few pictures does not: one call a turn
# would leave the pictures a twentieth of the device.
SLICE = 0.25
_NAMES = {"ddpm_best.pt": "best", "ddpm_final.pt": "final"}


@dataclass(frozen=True)
class Card:
    """What can be told of a model before it is loaded."""

    key: str  # RUN/FILE, how a page names it
    path: Path
    run: str
    kind: str  # "best", "final", "epoch 10"
    size: int  # side of its pictures in pixels
    step: int | None  # training steps behind it; None if its file does not say (it is damaged, or no model)


@dataclass(frozen=True)
class Shot:
    """One model's part of a request, and where it stands."""

    generator: "Generator"
    preview: "Preview | None"  # None: not begun
    seconds: float  # spent on it so far


def cards(root: Path) -> list[Card]:
    """All models under `root`: runs by their last activity, in each the best, the final, then the epochs, newest first."""
    return [card for run in all_runs(root) for path in run.models() if (card := _card(run, path)) is not None]


def find(root: Path, key: Any) -> Card:
    """The model with this key, the first one for None or "". Only models that are there: a key cannot name a path.

    Raises `UsageError`.
    """
    known = cards(root)
    if not known:
        raise UsageError("there is no model yet. Train one: the first is saved within minutes of Start.")
    if key is None or key == "":
        return known[0]
    for card in known:
        if card.key == key:
            return card
    raise UsageError("this model is not there any more: choose another one.")


def young(card: Card) -> int | None:
    """The training step of the earliest snapshot of this model's run, if there is one from before the model."""
    found = Run.of(card.path).young(card.step or 0)
    return found[1] if found else None


class Shelf:
    """Keeps the last few models loaded, so that asking again starts at once. May be used from several threads.

    `turn()` is entered for slices of work, so that a training run on the same device gets its turns too.
    """

    def __init__(self, turn: "Turn", device: str = "auto") -> None:
        self._turn, self._device = turn, device
        self._loaded: OrderedDict[Path, tuple[tuple[int, int], Generator]] = OrderedDict()
        self._lock = threading.Lock()

    def work(
        self, paths: Sequence[Path], walk: "Callable[[Generator], Iterable[Preview]]"
    ) -> "abc.Generator[tuple[Shot, ...], None, None]":
        """Loads these models and lets each go its walk, all at the same pace. Yields after every network call.

        The turn is held at a yield: whoever iterates must not wait there, and must close what they do not finish.
        Raises `StudioError`.
        """
        shots = [Shot(self.take(path), None, 0.0) for path in paths]
        walks = [iter(walk(shot.generator)) for shot in shots]
        while True:
            with self._turn():
                slice_began = time.monotonic()
                while True:
                    i = min(range(len(shots)), key=lambda i: _done(shots[i]))
                    began = time.monotonic()
                    preview = next(walks[i], None)
                    now = time.monotonic()
                    if preview is None:  # the one that is behind has nothing left to do: so have all
                        return
                    shots[i] = Shot(shots[i].generator, preview, shots[i].seconds + now - began)
                    yield tuple(shots)
                    if now - slice_began >= SLICE:
                        break

    def slices(self, walk: Iterable[T]) -> "abc.Generator[T, None, None]":
        """Goes `walk` in slices of turns. The turn is held at a yield, as in `work`."""
        steps = iter(walk)
        while True:
            with self._turn():
                began = time.monotonic()
                for step in steps:
                    yield step
                    if time.monotonic() - began >= SLICE:
                        break
                else:
                    return

    def take(self, path: Path) -> "Generator":
        """The model in this file, loaded anew if the file has changed. It takes the turn for that itself.

        Raises `StudioError`.
        """
        from ddpm_core.generator import Generator  # here, since torch takes seconds to import

        # One at a time: two who want the same model load it once.
        with self._lock:
            now = _stamp(path)
            if path in self._loaded and self._loaded[path][0] == now:
                self._loaded.move_to_end(path)
                return self._loaded[path][1]
            self._loaded.pop(path, None)  # before the new one comes: a large model should not be there twice
            while len(self._loaded) >= MOST_LOADED:
                self._loaded.popitem(last=False)
            generator = Generator.load(path, self._device, self._turn)
            generator.turn = contextlib.nullcontext
            self._loaded[path] = now, generator
            return generator


def _done(shot: Shot) -> float:
    return shot.preview.done if shot.preview is not None else 0.0


def _card(run: Run, path: Path) -> Card | None:
    try:
        size, step = _head(path, *_stamp(path))
        size = size or run.config().size
    except (OSError, StudioError):  # gone since it was listed
        return None
    kind = _NAMES.get(path.name) or path.stem.removeprefix("ddpm_").replace("_", " ")
    return Card(f"{run.name}/{path.name}", path, run.name, kind, size, step)


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return info.st_mtime_ns, info.st_size


@functools.lru_cache(maxsize=512)
def _head(path: Path, *stamp: int) -> tuple[int | None, int | None]:
    """(size, step) from a model file; None for what it does not say. Reads the pickle's opcodes, executes none of them."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(name) as file:
                head = file.read(1 << 20)
        values: list[Any] = []
        for opcode, value, _ in pickletools.genops(head):
            if value == "weights":  # what comes before is small
                break
            if isinstance(value, str | int) and "PUT" not in opcode.name and "GET" not in opcode.name:
                values.append(value)
        after = dict(zip(values, values[1:], strict=False))
        size = json.loads(after["config"])["size"]
        step = after["step"]
    except Exception:  # whatever a damaged file brings; loading it will tell
        return None, None
    return (size if isinstance(size, int) else None), (step if isinstance(step, int) else None)
