"""Work on a thread of its own, watched from elsewhere: the newest state wins, and cancelling takes effect at once.

A network call cannot be broken off. So whoever watches never waits for the thread: after `cancel` the watcher is free
within a wink, and the thread ends when the call that it is in returns.
"""

import contextlib
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from ddpm_core.errors import StudioError

T = TypeVar("T")
PATIENCE = 0.25  # seconds after which a watcher with no news hears so


class Job(Generic[T]):
    """Runs `work()`, a generator of states, and stops between two states when it is cancelled."""

    def __init__(self, work: Callable[[], Generator[T, None, None]], number: int = 0) -> None:
        self.number = number  # of the question, see `Desk`
        self.cancelled = False
        self.error: StudioError | None = None  # why it ended early, in one line for a person
        self._work = work
        self._change = threading.Condition()
        self._news: list[T] = []  # the newest state, if nobody has seen it yet
        self._over = False
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        """Returns at once; may be called at any time, from any thread, again and again."""
        with self._change:
            self.cancelled = self.cancelled or not self._over
            self._change.notify_all()

    def join(self, seconds: float | None = None) -> bool:
        """Waits until the thread has ended; whether it has. One that never began has."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def follow(self, pause: float = 0.1) -> Iterator[T | None]:
        """The newest state again and again, at most one in `pause` seconds, the last one surely; None when there is no news.

        Ends when the work is over, has failed, or was cancelled.
        """
        while True:
            with self._change:
                self._change.wait_for(lambda: self._news or self._over or self.cancelled, PATIENCE)
                if self.cancelled or (self._over and not self._news):
                    return
                state = self._news.pop() if self._news else None
            yield state
            with self._change:
                self._change.wait_for(lambda: self._over or self.cancelled, pause)

    def _run(self) -> None:
        try:
            with contextlib.closing(self._work()) as states:  # closed at once, with whatever it holds
                for state in states:
                    with self._change:
                        self._news[:] = [state]
                        self._change.notify_all()
                        if self.cancelled:
                            break
        except StudioError as error:
            self.error = error
        except BaseException as error:
            traceback.print_exc()
            self.error = StudioError(_fault(error))
        with self._change:
            self._over = True
            self._change.notify_all()


class Desk:
    """Which job works for whom. Whoever asks anew takes back what they asked before.

    Who counts their questions tells the `number`: on a busy machine one can overtake another on its way here, and the one with the
    lower number is the older one. (Who does not has zeros, and the order in which they come.)
    """

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def begin(self, owner: str, work: Callable[[], Generator[T, None, None]], number: int = 0) -> Job[T]:
        """The job, at work; or taken back before it began, where a newer one is there."""
        job = Job(work, number)
        with self._lock:
            before = self._jobs.get(owner)
            late = before is not None and before.number > number
            if not late:
                self._jobs[owner] = job
        if late:
            job.cancel()
            return job
        if before is not None:
            before.cancel()
        job.start()
        return job

    def current(self, owner: str) -> Job | None:
        with self._lock:
            return self._jobs.get(owner)

    def clear(self, owner: str, job: Job | None = None, upto: int | None = None) -> None:
        """Cancels the owner's job and forgets it; only if it still is `job`, or none newer than number `upto`, where that is given."""
        with self._lock:
            mine = self._jobs.get(owner)
            if mine is not None and job in (None, mine) and (upto is None or mine.number <= upto):
                del self._jobs[owner]
                mine.cancel()


def _fault(error: BaseException) -> str:
    from ddpm_core import devices  # here, as it imports torch: whoever fails for memory has it by now

    if devices.is_out_of_memory(error):
        return "the device has too little free memory for this: ask for fewer pictures, or pause what trains beside it."
    first = str(error).strip().split("\n")[0][:200]
    return f"a fault in the program ended this ({type(error).__name__}: {first}). The terminal shows where."
