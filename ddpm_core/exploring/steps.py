"""One seed under several samplers and numbers of steps. Imports no torch."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ddpm_core.config import TWO_CALLS

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview


def walks(
    generator: "Generator", seed: int, samplers: Sequence[str], counts: Sequence[int]
) -> "Iterator[tuple[str, int, Iterator[Preview]]]":
    """(sampler, steps, its walk), one picture each: a row a sampler, a column a number of steps, row by row."""
    for sampler in samplers:
        for count in counts:
            yield sampler, count, generator.sample([seed], steps=count, sampler=sampler)


def calls(samplers: Sequence[str], counts: Sequence[int]) -> int:
    """Network calls of all these walks together."""
    return sum(2 * count - 1 if sampler in TWO_CALLS else count for sampler in samplers for count in counts)
