"""A fair lock: training steps and picture making take turns on one device."""

import contextlib
import threading
import time
from collections.abc import Iterator


class Turns:
    """`with turns():` waits its turn, first come first served.

    An ordinary lock would do for safety, but a training loop that lets go and grabs again would never let anyone else in.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._last_ticket = 0
        self._now_serving = 1

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._condition:
            self._last_ticket += 1
            ticket = self._last_ticket
            self._condition.wait_for(lambda: self._now_serving == ticket)
        try:
            yield
        finally:
            with self._condition:
                self._now_serving += 1
                self._condition.notify_all()


class Timed:
    """The same turns, for one thread that wants to know how long it has waited for them in all."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waited = 0.0
        self._since: float | None = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self._since = began = time.monotonic()
        with self._turns():
            self._waited, self._since = self._waited + time.monotonic() - began, None
            yield

    @property
    def seconds(self) -> float:
        """Waited so far, the wait that is going on included. May be asked from any thread."""
        waited, since = self._waited, self._since
        return waited if since is None else waited + time.monotonic() - since
