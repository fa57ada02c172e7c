"""Training in the background: what the studio's page talks to. One run at a time, one thread, no browser needed.

The run's folder is the truth; the session only holds what a folder cannot: the thread, and what is going on before the
folder exists.
"""

import contextlib
import dataclasses
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from ddpm_core.beginning import new_run, resume_run
from ddpm_core.config import RunConfig
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.hold import Hold
from ddpm_core.runs import ALIVE, Run, Status
from ddpm_core.shelf import Shelf
from ddpm_core.training.control import Control
from ddpm_core.trajectory import Trails
from ddpm_core.turns import Timed, Turns

ENDED = ("finished", "stopped", "failed", "interrupted")


class Session:
    """Trains runs under `root` (the folder of checkpoints/, samples/ and training_progress/), one after the other.

    Every method returns at once, except `close` and `quiet`. All may be called from any thread. `turns` is the lock under which
    training steps and picture making share the device.
    """

    def __init__(self, root: Path, data_dir: Path) -> None:
        self.root = root
        self.data_dir = data_dir
        self.turns = Turns()
        self._training_turns = Timed(self.turns)
        self.shelf = Shelf(self.turns)  # the models that make pictures
        self.trails = Trails()  # how the last of them came to be
        self._hold = Hold()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._control = Control()
        self._run: Run | None = None
        self._status: Status | None = None

    def start(self, config: RunConfig, *, resume: bool = False, explicit_name: bool = False) -> Run:
        """Starts training in the background; `resume` continues the run `config.name`. Raises `StudioError`."""
        from ddpm_core.data import catalogue

        with self._lock:
            if self.running:
                raise UsageError(
                    f"{self._run.name if self._run else 'A run'} is training: stop it first, or wait until it ends."
                )
            if resume:
                # No limit in `config` means that there shall be none, not "as it was", which None stands for.
                changes = {"epochs": config.epochs, "max_steps": config.max_steps or 0}
                run, config = resume_run(self.root, config.name, changes)
            else:
                run, config = new_run(self.root, config, explicit_name=explicit_name)
            catalogue.describe(config.dataset, self.data_dir)
            self._run = run
            self._control = Control(self._training_turns)
            self._status = run.begun(resume)
            # A daemon: a program that dies must not hang on it. An orderly end goes through `close`, which saves and waits.
            self._thread = threading.Thread(
                target=self._train, args=(run, config, resume), name="training", daemon=True
            )
            self._thread.start()
            return run

    def pause(self) -> None:
        self._hold.forget()
        self._control.pause()

    def unpause(self) -> None:
        self._hold.forget()
        self._control.unpause()

    def hold(self, who: str) -> None:
        """Pauses the run for `who`, until they let go, or have not called `still_holds` for hold.PATIENCE seconds.

        Raises `UsageError` where there is nothing to hold.
        """
        status = self._status
        if not self.running or status is None or status.state not in ("running", "paused"):
            raise UsageError("nothing is training here right now that could be paused.")
        if self._control.paused and not self.held:  # asked for is enough: a long step may still be going on
            raise UsageError("the training is paused already: unpause it first.")
        self._hold.take(self._control, who)

    def still_holds(self, who: str) -> bool:
        """The sign of life of who holds the run: whether they still do. A person's Pause or Unpause ends it."""
        return self._hold.beat(who) and self.held

    def let_go(self, who: str) -> None:
        self._hold.let_go(who)

    @property
    def held(self) -> bool:
        """Whether somebody holds the run."""
        return self.running and self._hold.holds(self._control)

    @property
    def waited(self) -> float:
        """Seconds that training has waited so far for its turn on the device: what making pictures beside it costs."""
        return self._training_turns.seconds

    def stop(self) -> None:
        self._control.stop()

    def finish(self) -> None:
        self._hold.forget()
        self._control.finish()

    def sample_now(self) -> None:
        self._control.sample_now()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """A turn in which no run is being prepared either: for what takes the time of its work on the device.

        A run that is started meanwhile waits with its preparation until the turn is over.
        """
        while True:
            with self.turns():
                if not self._preparing:
                    yield
                    return
            time.sleep(0.1)

    @property
    def _preparing(self) -> bool:
        return self.running and self._status is not None and self._status.state == "preparing"

    @property
    def running(self) -> bool:
        """Whether a run of this session is at work (also while it reads pictures, pauses, or saves at its end)."""
        return self._thread is not None and self._thread.is_alive()

    def current(self) -> tuple[Run | None, Status | None]:
        """The session's run, the present or the last one, and its status; (None, None) before the first."""
        return self._run, self._status

    def status_of(self, run: Run) -> Status | None:
        """What the run's folder says, or this session if it knows better: that a resume failed or is beginning, or that a run has
        ended whose disk was too full to write it down."""
        stored = run.status()
        own, status = self.current()
        if own is not None and own.name == run.name and status is not None:
            return status if stored is None or status.updated >= stored.updated else stored
        if stored is not None and stored.state in ALIVE and stored.pid == os.getpid():  # an earlier one of ours
            return dataclasses.replace(stored, state="interrupted", seconds_left=None)
        return stored

    def close(self) -> None:
        """Stops, saves and waits."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _train(self, run: Run, config: RunConfig, resume: bool) -> None:
        try:
            with self.turns():  # whoever measures in `quiet` ends first
                pass
            # Here and not above: torch takes seconds to import, and the page is wanted at once.
            from ddpm_core.training.trainer import train

            self.shelf.clear()  # a run plans with the memory that is free when it begins
            self._status = train(
                run, config, data_dir=self.data_dir, resume=resume, control=self._control, report=self._see
            )
        except StudioError as error:
            print(f"error: {run.name}: {error}", file=sys.stderr, flush=True)
            self._fail(str(error))
        except BaseException as error:
            traceback.print_exc()
            self._fail(
                f"Training ended by a fault in the program ({type(error).__name__}: {error}). The terminal shows where."
            )

    def _see(self, status: Status) -> None:
        self._status = status

    def _fail(self, message: str) -> None:
        if self._status is not None:
            self._status = dataclasses.replace(self._status, state="failed", message=message, updated=time.time())
