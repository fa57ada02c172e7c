"""A run is one experiment's folder: settings, metrics, checkpoints, pictures, status, lock.

The folder is the truth. The trainer writes it, everything else reads it, so a run started from a command line and one
started in the browser look the same. No torch here: the page lists runs at once.

    checkpoints/NAME/        ddpm_best.pt  ddpm_final.pt  ddpm_epoch_10.pt  last.pt (to resume)
                             averages/step_256.pt (see training/snapshots.py)
    samples/NAME/            epoch_10_samples.png  loss_curve_epoch_10.png
    training_progress/NAME/  config.json  metrics.jsonl  status.json  quick_step_16.png  quick_epoch_5.png
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddpm_core import atomic, run_name
from ddpm_core.config import RunConfig
from ddpm_core.errors import CheckpointError, RunInUseError, UsageError

ALIVE = ("preparing", "running", "paused")
STATES = (*ALIVE, "finished", "stopped", "failed", "interrupted")


@dataclass(frozen=True)
class Status:
    """Where a run stands. Times are unix seconds."""

    state: str  # one of STATES
    step: int = 0
    total_steps: int = 0
    epoch: int = 0  # completed
    epochs: int = 0
    saved: int | None = None  # the step of the last point to resume from; None = not saved yet, or by an older version
    images: int = 0  # pictures seen, with repetitions
    images_per_second: float = 0.0
    seconds_left: float | None = None
    loss: float | None = None
    held_out: float | None = None  # the averaged network's loss on pictures that it was never trained on,
    trained: float | None = None  # and on as many that it was
    device: str = ""  # in words
    memory: int = 0  # bytes in use: of a card by all programs, of a processor's memory by this one,
    memory_total: int = 0  # of so many in all
    busy: float | None = None  # share of the device's time that was used lately; None = not known
    message: str = ""  # one line for a person; why it failed
    pid: int = 0  # of the training process
    born: str = ""  # of that process, as `process_born` tells: a number is used again, this pair is not
    pid_started: float = 0.0  # instead of it, by an older version: unix seconds
    started: float = 0.0
    updated: float = field(default_factory=time.time)

    @property
    def resumes_from(self) -> int:
        """The step that a resumed run goes on from: what was made after the last save is lost where a run was killed."""
        return self.step if self.saved is None else self.saved


class Run:
    """The files of the run `name` under `root`. Making this object touches nothing; `UsageError` if the name cannot be one."""

    def __init__(self, root: Path | str, name: str) -> None:
        run_name.check(name)
        self.root = Path(root)
        self.name = name
        self.checkpoints = self.root / "checkpoints" / name
        self.samples = self.root / "samples" / name
        self.progress = self.root / "training_progress" / name
        self.config_path = self.progress / "config.json"
        self.metrics_path = self.progress / "metrics.jsonl"
        self.status_path = self.progress / "status.json"
        self.state_path = self.checkpoints / "last.pt"
        self.best_path = self.checkpoints / "ddpm_best.pt"
        self.final_path = self.checkpoints / "ddpm_final.pt"
        self.averages = self.checkpoints / "averages"

    @classmethod
    def of(cls, model: Path) -> "Run":
        """The run that this file of a model lies in."""
        folder = model.absolute().parent  # ROOT/checkpoints/NAME
        return cls(folder.parent.parent, folder.name)

    def __repr__(self) -> str:
        return f"Run({str(self.root)!r}, {self.name!r})"

    def epoch_path(self, epoch: int) -> Path:
        return self.checkpoints / f"ddpm_epoch_{epoch}.pt"

    def snapshot_path(self, step: int) -> Path:
        return self.averages / f"step_{step}.pt"

    # ---- settings

    def exists(self) -> bool:
        return os.path.isfile(self.config_path)  # also where its folder is closed: pathlib would raise

    def create(self, config: RunConfig) -> None:
        """Makes the folders and writes the settings (again, with what changed, when a run is resumed)."""
        with self._writing():
            for folder in (self.checkpoints, self.samples, self.progress):
                folder.mkdir(parents=True, exist_ok=True)
            _write(self.config_path, config.to_json(), durable=True)  # as the points to resume from, which need it

    def config(self) -> RunConfig:
        """The stored settings. Raises CheckpointError if they are missing or damaged."""
        try:
            config = RunConfig.from_json(self.config_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"there is no run {self.name} in {self.root.absolute()}: check its name.") from None
        except OSError as error:
            raise CheckpointError(
                f"cannot read {self.config_path} ({error.strerror}): check its permissions."
            ) from None
        except (UsageError, UnicodeDecodeError, TypeError) as error:
            raise CheckpointError(f"{self.config_path}: {error}") from None
        return dataclasses.replace(config, name=self.name)  # the folder may have been renamed

    # ---- status

    def write_status(self, status: Status) -> None:
        _write(self.status_path, json.dumps(_finite(dataclasses.asdict(status))) + "\n")

    def status(self) -> Status | None:
        """The last status, None before the first. "interrupted" if it says running and the process is gone."""
        try:
            values = json.loads(self.status_path.read_bytes())
            known = {f.name for f in dataclasses.fields(Status)}
            status = Status(**{key: value for key, value in values.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        if status.state not in STATES:
            return None
        if status.state in ALIVE and not _process_lives(status):
            return dataclasses.replace(status, state="interrupted", seconds_left=None)
        return status

    def begun(self, resume: bool) -> Status:
        """The status of a run that is being prepared by this process: a resumed one stands where it stood."""
        before = (self.status() if resume else None) or Status(state="preparing")
        now = time.time()
        return dataclasses.replace(
            before, state="preparing", message="", seconds_left=None,
            images_per_second=0.0, memory=0, memory_total=0, busy=None,  # of this machine nothing is known yet
            pid=os.getpid(), born=process_born(), started=now, updated=now,
        )  # fmt: skip

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held by whoever trains the run. Raises RunInUseError at once if another does, be it in this process.

        The operating system holds the lock and frees it when the process dies, however it dies.
        """
        import filelock

        with self._writing():
            self.progress.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.progress / "run.lock", timeout=0)
            try:
                lock.acquire()
            except filelock.Timeout:
                status = self.status()
                who = f"process {status.pid}" if status and status.state in ALIVE else "another program"
                raise RunInUseError(
                    f"{self.name} is being trained by {who}: wait, stop that one, or choose another name."
                ) from None
        try:
            yield
        finally:
            lock.release()

    # ---- metrics

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds one line. Numbers that are not finite become null: browsers cannot read them."""
        with open(self.metrics_path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(_finite(row)) + "\n")

    def truncate_metrics(self, step: int) -> None:
        """Drops what a run logged after `step`, where it resumes, and a last line that a crash tore."""
        try:
            data = self.metrics_path.read_bytes()
        except FileNotFoundError:
            return
        kept = b"".join(line + b"\n" for line in data.split(b"\n") if (row := _row(line)) and row["step"] <= step)
        if kept != data:
            with atomic.writing(self.metrics_path) as file:
                file.write(kept)

    def metrics(self, since: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The rows written after the cursor `since` (0: all), and the next cursor. Lines that cannot be read are left out.

        If the log was cut back since then (a resume), all rows come again; so before adding the answer to the rows you
        hold, drop those whose step is not below the first new one's.
        """
        try:
            with open(self.metrics_path, "rb") as file:
                # The cursor is the place in the file, marked with which file it was: a cut-back log is a new file.
                info = os.fstat(file.fileno())
                mark = (info.st_ino & 0xFFFFF) << 32
                place = since & 0xFFFFFFFF
                if since - place != mark or place > info.st_size:
                    place = 0
                file.seek(place)
                data = file.read()
        except OSError:
            return [], 0
        whole = data[: data.rfind(b"\n") + 1]
        return [row for line in whole.split(b"\n") if (row := _row(line))], mark | (place + len(whole))

    # ---- what there is to see

    def quick_pictures(self) -> list[tuple[Path, str, int]]:
        """The sample grids so far, oldest first: (path, "step" or "epoch", its number).

        The order is that of training, not of file times, which a copy of the folder would lose.
        """
        found: dict[tuple[str, int], Path] = {}
        for folder, pattern, kind in (
            (self.samples, r"epoch_(\d+)_samples\.png", "epoch"),
            (self.progress, r"quick_epoch_(\d+)\.png", "epoch"),  # wins over the one above: same epoch, same seeds
            (self.progress, r"quick_now_(\d+)\.png", "step"),
            (self.progress, r"quick_step_(\d+)\.png", "step"),
        ):
            for path, number in _numbered(folder, pattern):
                found[kind, number] = path
        steps_per_epoch = self._steps_per_epoch()
        order = sorted(found, key=lambda key: (key[1] * (steps_per_epoch if key[0] == "epoch" else 1), key[0]))
        return [(found[key], *key) for key in order]

    def models(self) -> list[Path]:
        """The model files: best, final, then those of epochs, newest first."""
        named = [path for path in (self.best_path, self.final_path) if path.is_file()]
        epochs = sorted(_numbered(self.checkpoints, r"ddpm_epoch_(\d+)\.pt"), key=lambda item: -item[1])
        return named + [path for path, _ in epochs]

    def snapshots(self) -> list[tuple[Path, int]]:
        """The snapshots of the weight averages with their steps, oldest first."""
        return sorted(_numbered(self.averages, r"step_(\d+)\.pt"), key=lambda item: item[1])

    def young(self, before: int, step: int | None = None) -> tuple[Path, int] | None:
        """The earliest of these snapshots, or the one of `step`, if it is from before this training step."""
        kept = [(path, at) for path, at in self.snapshots() if at < before and step in (None, at)]
        return kept[0] if kept else None

    def can_resume(self) -> bool:
        """Whether there is a state to go on from (checkpoint.load_state knows these three names)."""
        return any((self.checkpoints / f"last{word}.pt").is_file() for word in ("", ".new", ".prev"))

    def in_the_way(self) -> str:
        """The folders that keep a new run from this name, in words; "" if the name is free.

        Generated pictures in the samples folder do no harm, but grids of a run that was deleted would pass for the new one's.
        """
        folders = [folder for folder in (self.progress, self.checkpoints) if os.path.lexists(folder)]
        if _numbered(self.samples, r"epoch_(\d+)_samples\.png"):
            folders.append(self.samples)
        return " and ".join(map(str, folders))

    def last_active(self) -> float:
        """Unix seconds of the last sign of life; 0.0 if there is none."""
        times = [0.0]
        for path in (self.status_path, self.metrics_path, self.config_path):
            with contextlib.suppress(OSError):
                times.append(path.stat().st_mtime)
        return max(times)

    def _steps_per_epoch(self) -> float:
        """From the last metrics line; huge if unknown, which puts epochs after the early steps."""
        with contextlib.suppress(OSError), open(self.metrics_path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            for line in reversed(file.read().split(b"\n")):
                row = _row(line)
                if row and isinstance(row.get("epoch"), int | float) and row["epoch"] > 0:
                    return row["step"] / row["epoch"]
        return 1e12

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"cannot write the run's folders in {self.root.absolute()} ({error.strerror or error}):"
                " choose another output folder, or free this one."
            ) from None


def all_runs(root: Path | str) -> list[Run]:
    """The runs under `root`, the last active first. Whatever else lies there is passed over in silence."""
    root = Path(root)
    found = []
    try:
        folders = [entry.name for entry in os.scandir(root / "training_progress") if entry.is_dir()]
    except OSError:
        return []
    for name in folders:
        with contextlib.suppress(UsageError, CheckpointError, OSError):
            run = Run(root, name)
            run.config()
            # A link in place of a run could make the page show files from anywhere. (checkpoints/ itself may well be a link
            # to a larger disk: whoever owns the folder made it.)
            if all(f.resolve() == f.parent.resolve() / name for f in (run.progress, run.checkpoints, run.samples)):
                found.append(run)
    return sorted(found, key=lambda run: (-run.last_active(), run.name))


def _numbered(folder: Path, pattern: str) -> list[tuple[Path, int]]:
    """The files in `folder` whose whole name is `pattern`, with the number in it."""
    with contextlib.suppress(OSError):
        matches = [(entry, re.fullmatch(pattern, entry.name)) for entry in os.scandir(folder) if entry.is_file()]
        return [(Path(entry.path), int(match[1])) for entry, match in matches if match]
    return []


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _write(path: Path, text: str, durable: bool = False) -> None:
    with atomic.writing(path, durable=durable) as file:
        file.write(text.encode())


def process_born(pid: int | None = None) -> str:
    """What tells the process `pid`, or this one, from all others that had or will have its number. Raises `psutil.Error` if it is
    gone.

    On Linux which start of the computer it was, and the seconds since then: the kernel notes no other time, and the one that
    psutil makes of it moves when the clock is set (as a virtual machine does when its host wakes up). Elsewhere unix seconds,
    noted once and for all.
    """
    import psutil

    if not psutil.LINUX:
        return f"{psutil.Process(pid).create_time():.2f}"
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    booted = psutil.boot_time()
    return f"{boot} {psutil.Process(pid).create_time() - booted:.2f}"


def _process_lives(status: Status) -> bool:
    import psutil

    try:
        if status.born:
            return process_born(status.pid) == status.born
        return abs(psutil.Process(status.pid).create_time() - status.pid_started) < 2.0
    except (psutil.Error, ValueError, OverflowError, TypeError):
        return False
