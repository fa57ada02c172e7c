"""What each choice of the recipe buys: one setting changed at a time, the same number of pictures seen, one table.

    python -m benchmarks.ablation
    python -m benchmarks.ablation --dataset fashion_mnist --only base,v,adamw --seeds 0,1,2
    python -m benchmarks.ablation --dataset fashion_mnist --network patch-2

Each (variant, seed) that is finished is one JSON in benchmarks/results/ablation/. One that is there already is kept, and a line
says so: a command that was broken off goes on, and two side by side (with other `--only`) share the work. `--anew` measures all
again. Distances do not depend on how fast or how busy the machine is, as every variant sees the same number of pictures.
(`images_per_second` in the JSON tells what its steps cost beside the default's, where nothing else was running.)
"""

import argparse
import dataclasses
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import distance, encoder, machine
from benchmarks.arguments import COUNT, SEEDS
from benchmarks.methods import Ours
from benchmarks.records import RESULTS, can_stand_beside, kept, write
from benchmarks.tables.quality import of_ablation
from benchmarks.variants import VARIANTS, settings_of
from ddpm_core import devices
from ddpm_core.commandline import whole
from ddpm_core.config import PRESETS, RunConfig, preset
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError


def run(
    variant: str, seed: int, options: argparse.Namespace, images: np.ndarray, real: distance.Reference
) -> dict[str, Any]:
    """Trains one variant until it has seen `options.images` pictures, and judges what it draws."""
    device = machine.device_of(options.device)
    config = _config(variant, options, seed)
    title = VARIANTS[variant][0]
    if variant == "base" and (options.preset, options.network) != (
        "cpu",
        "",
    ):  # (a variant's network has the weights of its time)
        title = f"`{options.preset}` as it is{', all noise levels alike' if options.network else ''}"
    method = Ours(title, config, images, device)
    steps = -(-options.images // config.batch_size)
    seconds, losses = [], []
    for step in range(steps):
        start = time.perf_counter()
        loss = method.step(step / steps).item()
        seconds.append(time.perf_counter() - start)
        losses.append(loss)
    judged = dataclasses.asdict(real.judge(method.sample(options.samples, options.sampling_steps)))
    del judged["name"], judged["pictures"]
    return {
        "variant": variant,
        "title": title,
        "seed": seed,
        "dataset": options.dataset,
        "size": options.size,
        "preset": options.preset,
        "network": options.network,
        "images": steps * config.batch_size,
        "parameters": method.parameters,
        "images_per_second": round(config.batch_size / statistics.median(seconds), 1),
        "loss": statistics.mean(losses[-100:]),
        "encoder": real.encoder.name,
        "samples": options.samples,
        "sampling_steps": options.sampling_steps,
        **judged,
        "machine": machine.describe(options.command, device),
    }


def _config(variant: str, options: argparse.Namespace, seed: int = 0) -> RunConfig:
    every: dict[str, Any] = {"seed": seed, "device": options.device}
    base = preset(options.dataset, options.size, options.preset, **every)
    if options.network:
        every |= settings_of(options.network, base)
    return preset(options.dataset, options.size, options.preset, **(every | settings_of(variant, base)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="openmoji")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--preset", choices=PRESETS, default="cpu", help="what is changed, one setting at a time")
    parser.add_argument("--network", default="", help="a variant's network instead of the preset's, in all rows")
    parser.add_argument("--images", type=COUNT, default=40_000, help="pictures seen in training")
    parser.add_argument("--only", help="variants, with commas between them; without: all")
    parser.add_argument("--seeds", type=SEEDS, default=[0])
    parser.add_argument("--samples", type=whole(10, 1_000_000), default=2000)
    parser.add_argument("--sampling-steps", type=whole(1, 1000), default=20, help="network calls a picture")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--results", type=Path, default=RESULTS / "ablation")
    parser.add_argument("--anew", action="store_true", help="measure also what is there already")
    options = parser.parse_args()
    options.command = " ".join(["python -m benchmarks.ablation", *sys.argv[1:]])
    try:
        _main(options)
    except StudioError as error:
        sys.exit(f"ablation: {error}")


def _main(options: argparse.Namespace) -> None:
    variants = options.only.split(",") if options.only else list(VARIANTS)
    for variant in [*variants, *filter(None, [options.network])]:
        if variant not in VARIANTS:
            raise UsageError(f"there is no variant {variant!r}: choose from {', '.join(VARIANTS)}.")
    # At 32 px levels that are not shifted are the default's, and `standard` has batches of 64 by itself at 64 px.
    base = _config("base", options)
    same = [
        variant for variant in variants
        if variant != "base" and (_config(variant, options) == base or (variant == "unshifted" and options.size == 32))
    ]  # fmt: skip
    if options.only and same:
        raise UsageError(f"{same[0]!r} is what `{options.preset}` does at {options.size} px by itself: leave it out.")
    variants = [variant for variant in variants if variant not in same]
    machine.device_of(options.device)  # where these benchmarks do not know it, that is said before anything is read
    devices.keep_freed_memory()
    coder = encoder.load(options.dataset, options.size)
    images = np.array(catalogue.load(options.dataset, options.size, options.data_dir).images)
    shown = encoder.reference_pictures(options.dataset, options.size, options.data_dir).images
    real = distance.Reference(coder, shown)
    wanted = {"encoder": coder.name, "samples": options.samples, "sampling_steps": options.sampling_steps}
    of = "" if options.preset == "cpu" else f"_{options.preset}"
    of += f"_{options.network}" if options.network else ""
    compared = f"{options.dataset}_{options.size}{of}_{options.images}"
    can_stand_beside(options.results.glob(f"{compared}_*.json"), wanted)
    results = []
    for seed in options.seeds:
        for variant in variants:
            path = options.results / f"{compared}_{variant}_s{seed}.json"
            result = kept(path, f"{variant}, seed {seed}", options.anew)
            if result is None:
                result = run(variant, seed, options, images, real)
                write(path, result)
                print(f"{variant}, seed {seed}: FD {result['frechet']:.1f} ± {result['frechet_error']:.1f},"
                      f" loss {result['loss']:.4f}, {result['images_per_second']:.0f} images/s", flush=True)  # fmt: skip
            results.append(result)
    print(of_ablation(results, options.command))


if __name__ == "__main__":
    main()
