"""What several of the benchmarks' command lines ask for."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from ddpm_core.commandline import whole

T = TypeVar("T")


def several(one: Callable[[str], T], least: int = 0) -> Callable[[str], list[T]]:
    """For `type=`: as `one` reads them, with commas between; at least so many."""

    def parse(text: str) -> list[T]:
        found = [one(part.strip()) for part in text.split(",") if part.strip()]
        if len(found) < least:
            raise argparse.ArgumentTypeError(f"{text!r} names none.")
        return found

    return parse


SEEDS = several(whole(0, 2**31 - 1), least=1)
COUNT = whole(1, 1_000_000)  # rounds, steps, pictures
