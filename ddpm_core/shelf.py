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
    classes: tuple[str, ...]  # names of what it can be asked for; () if it knows no classes, or its file does not say


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

    def clear(self) -> None:
        """Lets go of all models, and of the memory that they had; whoever works with one keeps it until that is done."""
        import torch

        with self._lock:
            self._loaded.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _done(shot: Shot) -> float:
    return shot.preview.done if shot.preview is not None else 0.0


def _card(run: Run, path: Path) -> Card | None:
    try:
        size, step, classes = _head(path, *_stamp(path))
        size = size or run.config().size
    except (OSError, StudioError):  # gone since it was listed
        return None
    kind = _NAMES.get(path.name) or path.stem.removeprefix("ddpm_").replace("_", " ")
    return Card(f"{run.name}/{path.name}", path, run.name, kind, size, step, classes)


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return info.st_mtime_ns, info.st_size


@functools.lru_cache(maxsize=512)
def _head(path: Path, *stamp: int) -> tuple[int | None, int | None, tuple[str, ...]]:
    """(size, step, classes) from a model file; None and () for what it does not say."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(name) as file:
                values = _plain(file.read(1 << 20))  # what comes before the weights is small
        config = json.loads(values["config"])
        size, step = config["size"], values["step"]
        classes = tuple(values["classes"][: config["network"].get("classes", 0)])
    except Exception:  # whatever a damaged file brings; loading it will tell
        return None, None, ()
    texts = all(isinstance(name, str) for name in classes)
    return size if isinstance(size, int) else None, step if isinstance(step, int) else None, classes if texts else ()


def _plain(pickled: bytes) -> dict[str, Any]:
    """What a pickled dict holds before its first value that is no text, number or list of them. Executes no opcode."""
    stack: list[Any] = []  # the dict, then its keys and values by turns
    marks: list[int] = []
    memo: dict[Any, Any] = {}  # a text that comes again, as a class called like a key, is only pointed at
    for opcode, value, _ in pickletools.genops(pickled):
        match opcode.name:
            case "PROTO":
                pass
            case "EMPTY_DICT" if not stack:
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "NONE":
                stack.append(value)
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "MARK":
                marks.append(len(stack))
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "APPENDS":
                first = marks.pop()
                stack[first - 1] += stack[first:]
                del stack[first:]
            case _:
                break
    return dict(zip(stack[1::2], stack[2::2], strict=False))
