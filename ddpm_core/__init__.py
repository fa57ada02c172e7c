"""A small library that trains pixel-space diffusion models (DDPM) and makes pictures with them.

Nothing here knows about a browser. Import the room you need:

    from ddpm_core.config import preset
    from ddpm_core.training.trainer import train
    from ddpm_core.generator import Generator
"""

import os

__version__ = "0.1.0"

# Linux: torch's helper threads wait for each other by spinning, for milliseconds. On a processor that also serves a page
# and its browser, a thread that spins takes the core from the one it waits for, and training falls to a third of its pace.
# A short spin keeps nearly all of the quiet machine's pace. It counts only if torch is not imported yet; your own setting wins.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# NVIDIA: with workspaces of a fixed size, products of matrices have the same bits from start to start (devices.repeatable). It counts
# only if it is there before a card is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
