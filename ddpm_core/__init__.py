"""A small library that trains pixel-space diffusion models (DDPM) and makes pictures with them.

Nothing here knows about a browser. Import the room you need:

    from ddpm_core.config import RunConfig
    from ddpm_core.training.trainer import Trainer
    from ddpm_core.generator import Generator
"""

__version__ = "0.1.0"
