"""What a trained small model saves: how soon a larger one that starts from it is as good as one trained from scratch.

    python -m benchmarks.growing --dataset openmoji --from-size 32 --size 64 --minutes 5

Three trainings with the same preset: the small pictures for `--minutes`, the large ones from scratch for `--minutes`, and the
large ones from the small model until the loss on held-out pictures is what scratch ended with. The loss is that of the
averaged weights on the 5 % of pictures that no training sees, always with the same noise. The clock runs during training
steps only (as in benchmarks/quality.py); the table also says what the ratio is when the small model's minutes count too.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine, quality
from benchmarks.arguments import SEEDS
from benchmarks.methods import Ours
from benchmarks.records import RESULTS, kind_of, write
from benchmarks.tables.quality import of_growing
from ddpm_core import checkpoint, devices
from ddpm_core.commandline import number
from ddpm_core.config import PRESETS, preset
from ddpm_core.data import catalogue
from ddpm_core.data.batches import Batches
from ddpm_core.errors import StudioError
from ddpm_core.network import growing
from ddpm_core.training import held_out
from ddpm_core.training.loss import DiffusionLoss

LOOKS = 24  # times that the held-out loss is taken, evenly over the time
HELD_OUT = 0.05


class HeldOut:
    """The averaged network's loss on pictures that no training sees: the same pictures, noise and noise levels every time."""

    def __init__(self, method: Ours, images: np.ndarray) -> None:
        self.method = method
        self.images = images
        config = method.config
        batches = Batches(images, len(images), config.seed, method.device)
        self.loss = DiffusionLoss(config, batches, method.device)

    @torch.no_grad()
    def __call__(self) -> float:
        network = self.method.state.ema.network.eval()
        return self.loss(network, 0).item()


def trained(
    method: Ours, held: HeldOut, minutes: float, until: float | None = None
) -> tuple[list[dict[str, float]], float]:
    """Trains for `minutes`, or until the held-out loss is `until`; the losses seen on the way, and the seconds it took."""
    seen: list[dict[str, float]] = [{"seconds": 0.0, "images": 0, "loss": held()}]

    class Enough(Exception):
        pass

    def look(seconds: float, steps: int, _: float) -> None:
        seen.append({"seconds": seconds, "images": steps * method.batch_size, "loss": held()})
        if until is not None and seen[-1]["loss"] <= until:
            raise Enough

    marks = [60 * minutes * (i + 1) / LOOKS for i in range(LOOKS - 1)]
    try:
        _, steps, loss = quality.train(method, minutes, marks, look, method.device)
        look(60 * minutes, steps, loss)
    except Enough:
        pass
    return seen, seen[-1]["seconds"]


def run(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    device = machine.device_of(options.device)
    settings: dict[str, Any] = {"seed": seed, "device": str(device)}

    def pictures(size: int) -> tuple[np.ndarray, np.ndarray]:
        """(trained on, held out)."""
        images = catalogue.load(options.dataset, size, options.data_dir).images
        learned, apart = held_out.split(len(images), HELD_OUT, seed)
        return images[learned.numpy()], images[apart.numpy()]

    small_config = preset(options.dataset, options.from_size, options.preset, **settings)
    images, unseen = pictures(options.from_size)
    small = Ours("small", small_config, images, device)
    small_seen, _ = trained(small, HeldOut(small, unseen), options.minutes)
    model = checkpoint.Model(
        small_config, small.state.channels, (), small.state.step, 0, 0, None, small.state.ema.network.state_dict()
    )

    config = growing.fit(preset(options.dataset, options.size, options.preset, **settings), model.config)
    images, unseen = pictures(options.size)
    if device.type == "cuda":
        Ours("warm-up", config, images, device).step(0.0)  # or scratch alone would pay for compiling
    scratch = Ours("scratch", config, images, device)
    scratch_seen, seconds = trained(scratch, HeldOut(scratch, unseen), options.minutes)

    grown = Ours("grown", config, images, device)
    weights = growing.weights(model, grown.state.network, config, grown.state.channels)
    for network in (grown.state.network, *(average.network for average in grown.state.averages)):
        network.load_state_dict(weights)
    goal = scratch_seen[-1]["loss"]
    grown_seen, grown_seconds = trained(grown, HeldOut(grown, unseen), options.minutes, until=goal)
    reached = grown_seen[-1]["loss"] <= goal
    return {
        "dataset": options.dataset,
        "from_size": options.from_size,
        "size": options.size,
        "preset": options.preset,
        "seed": seed,
        "minutes": options.minutes,
        "scratch_loss": goal,
        "grown_loss": grown_seen[-1]["loss"],
        "reached": reached,
        "seconds": grown_seconds,
        "ratio": grown_seconds / seconds if reached else None,
        "small": small_seen,
        "scratch": scratch_seen,
        "grown": grown_seen,
        "machine": machine.describe(options.command, device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="openmoji")
    parser.add_argument("--from-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--minutes", type=number(0.1, 10_000), default=5.0)
    parser.add_argument("--seeds", type=SEEDS, default=[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--results", type=Path, help="a folder instead of the usual one")
    options = parser.parse_args()
    options.command = " ".join(["python -m benchmarks.growing", *sys.argv[1:]])
    devices.keep_freed_memory()
    results = []
    try:
        folder = options.results or RESULTS / f"growing{kind_of(machine.device_of(options.device))}"
        what = f"{options.dataset}_{options.from_size}_to_{options.size}_{options.preset}_{options.minutes:g}min"
        for seed in options.seeds:
            path = folder / f"{what}_s{seed}.json"
            result = run(options, seed)
            write(path, result)
            results.append(result)
    except StudioError as error:
        sys.exit(f"error: {error}")
    print(of_growing(results))


if __name__ == "__main__":
    main()
