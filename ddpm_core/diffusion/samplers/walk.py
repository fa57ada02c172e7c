"""What all samplers share: the staircase they walk down, the belief, and the step that every other one corrects."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

Noise = Callable[[int], Tensor]
Level = tuple[float, float]  # alpha, sigma


@dataclass(frozen=True)
class Step:
    """What there is after one network call."""

    index: int  # 1..steps
    steps: int  # network calls of the whole walk
    x: Tensor  # (B, C, H, W), the state at the level just reached; at the last step the picture
    x0: Tensor  # (B, C, H, W), the picture the network believed in when it was asked


def staircase(levels: Tensor) -> Iterator[tuple[int, int, Level, Level]]:
    """(index from 1, steps, this level, the next level) as Python floats."""
    rows = [(alpha, sigma) for alpha, sigma in levels.double().tolist()]
    for index, (here, there) in enumerate(pairwise(rows), start=1):
        yield index, len(rows) - 1, here, there


def belief(x0: Tensor, clip: bool) -> Tensor:
    return x0.clamp(-1.0, 1.0) if clip else x0


def move(x: Tensor, here: Level, there: Level, x0: Tensor, fresh: float = 0.0) -> Tensor:
    """From one level to the next as if x0 were known: the picture's part becomes alpha' x0, the noise's part shrinks to fit.

    That is alpha' x0 + sqrt(sigma'^2 - fresh^2) eps with eps = (x - alpha x0) / sigma (DDIM, Song et al. 2020, arXiv
    2010.02502, eq. 12), where `fresh` is the standard deviation of noise that the caller adds. Exact as long as the
    belief stays x0 on the way: higher orders put a better guess at its mean there.
    """
    (alpha, sigma), (next_alpha, next_sigma) = here, there
    kept = math.sqrt(max(0.0, next_sigma**2 - fresh**2)) / sigma
    return kept * x + (next_alpha - kept * alpha) * x0


def lost(here: Level, there: Level) -> float:
    """The standard deviation of the noise at the next level once this one's x and x0 are known: the ancestral walk's (Ho et
    al. 2020, arXiv 2006.11239, eq. 7, beta tilde)."""
    (alpha, sigma), (next_alpha, next_sigma) = here, there
    return next_sigma / sigma * math.sqrt(max(0.0, 1 - (alpha / next_alpha) ** 2))


def half_logsnr(level: Level) -> float:
    """lambda = ln(alpha / sigma), in which the belief changes smoothly; infinite where there is no noise."""
    alpha, sigma = level
    return math.log(alpha / sigma) if sigma > 0 else math.inf


def need(noise: Noise | None, name: str) -> Noise:
    if noise is None:
        raise ValueError(f"{name} adds noise at each step: give noise(index).")
    return noise
