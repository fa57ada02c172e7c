"""What the person watching may ask of a running loop, from any thread: stop, pause, a sample now."""

import contextlib
import threading
from collections.abc import Callable


class Stopped(Exception):
    """A stop was asked for in the middle of work that is to be begun anew, and of which there is nothing to save."""


class Control:
    """The trainer looks at this between two steps. Every method returns at once and may be called from any thread.

    `turn` is a context manager taken around each piece of work on the device, so that picture making can go in between.
    """

    def __init__(self, turn: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext) -> None:
        self.turn = turn
        self._changed = threading.Condition()
        self._stop = False
        self._paused = False
        self._sample = False
        self._finish = False

    def stop(self) -> None:
        self._set(_stop=True)

    def pause(self) -> None:
        self._set(_paused=True)

    def unpause(self) -> None:
        self._set(_paused=False)

    def sample_now(self) -> None:
        self._set(_sample=True)

    def finish(self) -> None:
        """Cool down now: over some last steps the learning rate falls to zero, then the run is finished."""
        self._set(_finish=True, _paused=False)

    @property
    def stopping(self) -> bool:
        return self._stop

    def stops_within(self, seconds: float) -> bool:
        """Whether a stop is asked for now, or in the next `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stop, timeout=seconds)

    @property
    def paused(self) -> bool:
        return self._paused and not self._stop

    def take_sample_request(self) -> bool:
        """True once for each time a sample was asked for."""
        return self._take("_sample")

    def take_finish_request(self) -> bool:
        """True once for each time the end was asked for."""
        return self._take("_finish")

    def wait_while_paused(self, seconds: float) -> None:
        """Sleeps until the pause ends, a stop or a sample is asked for, or `seconds` are over."""
        with self._changed:
            self._changed.wait_for(lambda: not self.paused or self._sample, timeout=seconds)

    def _take(self, flag: str) -> bool:
        with self._changed:
            if not getattr(self, flag):
                return False
            # Not read and cleared in one go: a request that a signal's handler makes between the two would be forgotten.
            setattr(self, flag, False)
            return True

    def _set(self, **flags: bool) -> None:
        with self._changed:
            for name, value in flags.items():
                setattr(self, name, value)
            self._changed.notify_all()
