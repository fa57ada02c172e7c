"""Where something that is drawn stands after a network call. Knows no torch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np


class Drawn(Protocol):
    """A `Stop`, or a generator's `Preview`."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def done(self) -> float: ...
    @property
    def pictures(self) -> np.ndarray | None: ...


@dataclass(frozen=True)
class Stop:
    """Costs nothing until somebody looks at its pictures."""

    step: int  # network calls that all pictures have behind them in this phase
    steps: int
    done: float  # part of all the work; 1 at the last
    draw: Callable[[], np.ndarray] | None  # None where there is nothing to see yet
    phase: str = "draw"

    @cached_property
    def pictures(self) -> np.ndarray | None:
        """uint8 (N, S, S, C); at the last stop the finished ones."""
        return self.draw() if self.draw else None


@dataclass(frozen=True)
class Part:
    """One walk of several that follow each other; it begins when its first stop is asked for."""

    share: float  # of all the work; the shares of all parts add up to 1
    count: int  # pictures
    walk: Iterator[Drawn]
