"""Randomness by counter: every random number is a function of (seed, purpose, counters), never of what ran before.

So a resumed run draws what the uninterrupted one draws, a preview disturbs nothing, and picture k of seed s is the same
picture at any batch size.
"""

import hashlib

import torch


def mix(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit number from a seed, a purpose ("noise", "order", ...) and counters (step, epoch, rank, ...)."""
    key = ":".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def generator(device: torch.device | str, seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A torch generator on `device` that starts at `mix(...)`, of which torch's one for processors takes the lower 32 bits."""
    return torch.Generator(device).manual_seed(mix(seed, purpose, *counters))
