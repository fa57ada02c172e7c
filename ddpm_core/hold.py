"""A pause that nobody can forget: a run is held as long as somebody says so again and again."""

import threading
import time

from ddpm_core.training.control import Control

# Seconds without a word after which a holder counts as gone. Browsers let a page in the background speak once a minute.
PATIENCE = 75.0


class Hold:
    """Pauses one run for those who hold it. Every method returns at once and may be called from any thread.

    The run goes on when the last holder lets go or falls silent. A person's own Pause or Unpause wins: see `forget`.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._change = threading.Condition()
        self._control: Control | None = None
        self._deadlines: dict[str, float] = {}  # holder -> when they count as gone

    def take(self, control: Control, who: str) -> None:
        """Pauses this run for `who`; saying it again is the sign of life."""
        with self._change:
            if self._control is not control:  # another run than the one that was held: that one is over
                self._end()
            self._control = control
            alone = not self._deadlines
            self._deadlines[who] = time.monotonic() + self._patience
            if alone:
                control.pause()
                threading.Thread(target=self._watch, args=(control,), name="hold", daemon=True).start()

    def beat(self, who: str) -> bool:
        """The sign of life: whether `who` still holds the run."""
        with self._change:
            if who in self._deadlines:
                self._deadlines[who] = time.monotonic() + self._patience
            return who in self._deadlines

    def let_go(self, who: str) -> None:
        with self._change:
            if self._deadlines.pop(who, None) is not None and not self._deadlines:
                self._end()

    def forget(self) -> None:
        """Somebody paused or unpaused the run by hand: that is how it stays."""
        with self._change:
            self._deadlines.clear()
            self._change.notify_all()

    def holds(self, control: Control) -> bool:
        """Whether it is this run that somebody holds."""
        with self._change:
            return self._control is control and bool(self._deadlines)

    def _end(self) -> None:
        self._deadlines.clear()
        if self._control is not None:
            self._control.unpause()
        self._change.notify_all()

    def _watch(self, control: Control) -> None:
        with self._change:
            while self._control is control and self._deadlines:
                now = time.monotonic()
                gone = [who for who, deadline in self._deadlines.items() if deadline <= now]
                for who in gone:
                    del self._deadlines[who]
                if gone and not self._deadlines:
                    self._end()
                elif self._deadlines:
                    self._change.wait(min(self._deadlines.values()) - now)
