"""Which sampler draws best from few network calls, and how fast: ours, and the same checkpoint through diffusers' schedulers.

    python -m benchmarks.samplers --model checkpoints/openmoji_32x32/ddpm_final.pt --dataset openmoji

Every cell of the table is the Frechet distance of pictures from the same seeds, so that cells differ by the sampler and not by
luck. A row is one JSON in benchmarks/results/samplers/ that is written anew after every cell. Cells that are there already are
kept, and a line says so: a command that was broken off goes on. `--anew` measures all again. Each of our samplers walks the staircase
that suits it best (config.SPACING_OF); `--spacings` measures the others as well, which is how that table was made.

What diffusers gets: its own steps and staircases over a table of 1000 rows that ends where this network's training ended, beliefs
that are clipped as ours are, and the exact noise level of each step (its own time steps are rounded). Its pictures start from
the same noise. At the end both draw 1 and 64 pictures in turns, ours by the generator, theirs by a diffusers pipeline with the
same network: images a second, and their ratio within each round.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import distance, encoder, machine
from benchmarks.arguments import several
from benchmarks.peer_networks import diffusers_package
from benchmarks.records import RESULTS, can_stand_beside, kept, read, write
from benchmarks.tables.samplers import of_samplers
from ddpm_core import checkpoint, devices, pictures, seeds
from ddpm_core.commandline import number, whole
from ddpm_core.config import SAMPLERS, SPACING_OF, SPACINGS, TWO_CALLS
from ddpm_core.diffusion import latents, objective
from ddpm_core.diffusion.guidance import WHERE_IT_MATTERS
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.generator import Generator
from ddpm_core.network.unet import UNet

CALLS = (5, 8, 10, 15, 20, 50, 100)
ANCESTRAL = 1000  # the steps of the paper, for the ancestral samplers alone
AT_ONCE = 16  # pictures in a network call
REQUEST = 256  # pictures of ours in one request
AUTOGUIDANCE = 1.5  # what the form calls a good start
_FIRST_SEED = 1_000_000  # far from the seeds of training

# diffusers' schedulers by the names of ours: class, options, whether it can walk Karras' staircase
PEERS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "dpm++2m": ("DPMSolverMultistepScheduler", {}, True),
    "dpm++3m": ("DPMSolverMultistepScheduler", {"solver_order": 3}, True),
    "unipc": ("UniPCMultistepScheduler", {"solver_order": 3}, True),
    "deis": ("DEISMultistepScheduler", {"solver_order": 3}, True),
    "heun": ("HeunDiscreteScheduler", {}, True),
    "euler": ("EulerDiscreteScheduler", {}, True),
    "ddim": ("DDIMScheduler", {"clip_sample": False}, False),
    "dpm++2m-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, True),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}, False),
}


def steps_for(sampler: str, calls: int) -> int:
    """The steps that make as many network calls, or one less."""
    return (calls + 1) // 2 if sampler in TWO_CALLS else calls


def guided_steps(generator: Generator, calls: int) -> int:
    """The most steps that make no more network calls with autoguidance, whose second call is for some of them."""
    low, high = WHERE_IT_MATTERS
    spacing, sigma_max = SPACING_OF[SAMPLERS[0]], generator.model.config.sigma_max
    for steps in range(calls, 1, -1):
        sigmas = [sigma / alpha for alpha, sigma in generator.schedule.levels(steps, sigma_max, spacing)[:-1].tolist()]
        if steps + sum(low < sigma <= high for sigma in sigmas) <= calls:
            return steps
    return 1


# ---- drawing


def ours(generator: Generator, sampler: str, spacing: str, calls: int, count: int) -> np.ndarray:
    """uint8 (count, C, H, W)."""
    return _drawn(generator, count, steps=steps_for(sampler, calls), sampler=sampler, spacing=spacing)


def autoguided(generator: Generator, sampler: str, spacing: str, calls: int, count: int) -> np.ndarray:
    """The same, away from the run's earliest snapshot."""
    how = {"steps": guided_steps(generator, calls), "sampler": sampler, "spacing": spacing}
    return _drawn(generator, count, **how, autoguidance=AUTOGUIDANCE)


def _drawn(generator: Generator, count: int, **how: Any) -> np.ndarray:
    parts = []
    for first in range(0, count, REQUEST):
        wanted = range(_FIRST_SEED + first, _FIRST_SEED + min(first + REQUEST, count))
        for preview in generator.sample(wanted, **how):
            last = preview  # the others go: a thousand steps of them are gigabytes
        parts.append(last.pictures)
    return np.concatenate(parts).transpose(0, 3, 1, 2)


def table_of(generator: Generator) -> Tensor:
    """alpha_bar of 1000 rows, float64: the walk that training showed, from its most noise to the table's least."""
    levels = generator.schedule.levels(len(generator.schedule), generator.model.config.sigma_max)
    return levels[:-1, 0].flip(0) ** 2


def scheduler(name: str, spacing: str, alpha_bar: Tensor) -> Any:
    """diffusers' scheduler of this name over such a table, for a network that says x0."""
    kind, options, _ = PEERS[name]
    betas = 1 - alpha_bar / torch.cat([torch.ones(1, dtype=alpha_bar.dtype), alpha_bar[:-1]])
    karras = {"use_karras_sigmas": True} if spacing == "karras" else {}
    return getattr(diffusers_package(), kind)(
        trained_betas=betas.numpy(), prediction_type="sample", timestep_spacing="trailing", **karras, **options
    )


def theirs(generator: Generator, name: str, spacing: str, calls: int, count: int) -> np.ndarray:
    """uint8 (count, C, H, W), by diffusers' scheduler."""
    steps = scheduler(name, spacing, table_of(generator))
    denoise, parts = generator.denoise(), []
    draw = torch.Generator().manual_seed(seeds.mix(0, "diffusers", calls))
    for first in range(0, count, AT_ONCE):
        wanted = range(_FIRST_SEED + first, _FIRST_SEED + min(first + AT_ONCE, count))
        x = latents.noise(wanted, generator.shape, generator.device)
        with torch.inference_mode():
            parts.append(pictures.to_uint8(_walk(steps, denoise, x, steps_for(name, calls), draw)))
    return np.concatenate(parts).transpose(0, 3, 1, 2)


def _walk(steps: Any, denoise: objective.Denoise, x: Tensor, count: int, draw: torch.Generator) -> Tensor:
    steps.set_timesteps(count)
    if hasattr(steps, "set_begin_index"):
        steps.set_begin_index(0)  # rounded time steps may be alike, and it would begin with the second of them
    x = x * float(steps.init_noise_sigma)
    noisy = {"generator": draw} if "generator" in steps.step.__code__.co_varnames else {}
    for call, t in enumerate(steps.timesteps):
        asked = steps.scale_model_input(x, t)
        if hasattr(steps, "sigmas"):  # Heun's stand there twice, as it asks
            sigma = float(steps.sigmas[call])
        else:
            alpha_bar = float(steps.alphas_cumprod[t])
            sigma = ((1 - alpha_bar) / alpha_bar) ** 0.5
        alpha = 1 / (1 + sigma**2) ** 0.5
        x0 = denoise(asked, alpha, sigma * alpha).clamp(-1, 1)
        x = steps.step(x0, t, x, **noisy).prev_sample
    return x


# ---- the table's cells


def rows(options: argparse.Namespace, generator: Generator) -> Iterator[tuple[str, str, str, list[int]]]:
    """(who, sampler, spacing, network calls of its cells)."""
    with contextlib.suppress(UsageError):
        generator.snapshot()  # where the run kept none there is nothing to go away from
        yield "autoguided", SAMPLERS[0], SPACING_OF[SAMPLERS[0]], options.calls
    for name in SAMPLERS:
        for spacing in SPACINGS if options.spacings else [SPACING_OF[name]]:
            yield "ours", name, spacing, [*options.calls, *([options.ancestral] if name == "ddpm" else [])]
    for name, (_, _, karras) in PEERS.items():
        for spacing in ["trailing", "karras"] if karras else ["trailing"]:
            yield "diffusers", name, spacing, [*options.calls, *([options.ancestral] if name == "ddpm" else [])]


def measure(options: argparse.Namespace, generator: Generator, about: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows, those that are there already and those that are measured now."""
    coder, real, found = encoder.load(options.dataset, generator.size), None, []
    can_stand_beside(options.results.glob(f"{about['key']}_{options.samples}_*.json"), {"encoder": coder.name})
    draw: dict[str, Callable[..., np.ndarray]] = {"ours": ours, "autoguided": autoguided, "diffusers": theirs}
    for who, name, spacing, wanted in rows(options, generator):
        if options.only and not {name, f"{who}:{name}"} & set(options.only):
            continue
        path = options.results / f"{about['key']}_{options.samples}_{who}_{name.replace('+', 'p')}_{spacing}.json"
        here = machine.describe(options.command, generator.device)
        row = read(path) if options.anew else kept(path, f"{who}, {name}, {spacing}", anew=False)
        if row is None:
            row = {**about, "who": who, "sampler": name, "spacing": spacing, "encoder": coder.name, "cells": {}}
            row |= {"samples": options.samples, "machine": here}
        elif options.anew:
            row["cells"] = {calls: cell for calls, cell in row["cells"].items() if int(calls) not in wanted}
        for calls in (calls for calls in wanted if str(calls) not in row["cells"]):
            if real is None:
                shown = encoder.reference_pictures(options.dataset, generator.size, options.data_dir)
                real = distance.Reference(coder, shown.images)
            judged = real.judge(draw[who](generator, name, spacing, calls, options.samples))
            row["cells"][str(calls)] = {
                "frechet": judged.frechet,
                "frechet_error": judged.frechet_error,
                "kernel": judged.kernel,
                "machine": here,
            }
            write(path, row)
            print(f"{who}, {name}, {spacing}, {calls} calls: FD {judged.frechet:.1f} ± {judged.frechet_error:.1f}", flush=True)  # fmt: skip
        found.append(row)
    return found


# ---- speed


class Asked(nn.Module):
    """Our network as a diffusers pipeline calls it: unet(x, t).sample, here the clipped belief x0."""

    def __init__(self, network: UNet, generator: Generator) -> None:
        super().__init__()
        alpha_bar = table_of(generator)
        self.network, self.prediction = network, generator.model.config.prediction
        self.levels = torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()], dim=1).tolist()
        self.config = argparse.Namespace(in_channels=generator.channels, sample_size=generator.size)
        self.dtype, self.device = torch.float32, generator.device

    def forward(self, x: Tensor, t: Tensor) -> Any:
        alpha, sigma = self.levels[int(t)]
        return argparse.Namespace(
            sample=objective.denoiser(self.network, self.prediction)(x, alpha, sigma).clamp(-1, 1)
        )


def pipeline(generator: Generator, name: str) -> Any:
    """A diffusers pipeline with this model's network as it comes from its file."""
    with torch.random.fork_rng(devices=[]):
        network = UNet(generator.model.config.network, generator.channels).eval().requires_grad_(False)
    checkpoint.load_weights(network, generator.model.weights, generator.path)
    made: Any = diffusers_package().DDPMPipeline(Asked(network.to(generator.device), generator), scheduler(name, "trailing", table_of(generator)))  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def speed(options: argparse.Namespace, generator: Generator, about: dict[str, Any]) -> dict[str, Any]:
    """Images a second of ours and of the pipeline, in turns, for 1 and 64 pictures: medians, and ratios inside a round."""
    found: dict[str, Any] = {**about, "steps": options.steps, "rounds": options.rounds, "machine": machine.describe(options.command, generator.device)}  # fmt: skip
    found["rows"] = []
    for name in ("dpm++2m", "ddim"):
        pipe = pipeline(generator, name)

        def our_turn(count: int, name: str = name) -> None:
            *_, last = generator.sample(range(count), options.steps, name, spacing="trailing")
            assert last.pictures.shape[0] == count

        def their_turn(count: int, pipe: Any = pipe) -> None:
            images = pipe(count, num_inference_steps=options.steps, output_type="np").images
            assert images.shape[0] == count

        for count in (1, 64):
            both: list[tuple[float, float]] = []
            watch, disturbed = machine.Watch(), 0
            for round_ in range(options.rounds + 1):
                pace = tuple(_images_per_second(turn, count, options.seconds) for turn in (our_turn, their_turn))
                others = watch.lap().disturbed
                if round_:  # the first one warms up
                    both.append((pace[0], pace[1]))
                    disturbed += others
            ratios = [mine / other for mine, other in both]
            row = {
                "sampler": name,
                "pictures": count,
                "ours": round(statistics.median(mine for mine, _ in both), 2),
                "diffusers": round(statistics.median(other for _, other in both), 2),
                "ratio": round(statistics.median(ratios), 3),
                "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
                "disturbed_rounds": disturbed,
            }
            found["rows"].append(row)
            print(f"{name}, {count} pictures: ours {row['ours']} images/s, diffusers' pipeline {row['diffusers']}, ratio {row['ratio']}", flush=True)  # fmt: skip
    return found


def _images_per_second(turn: Callable[[int], None], count: int, seconds: float) -> float:
    """Over at least `seconds`, whole requests."""
    began, made = time.perf_counter(), 0
    while made == 0 or time.perf_counter() - began < seconds:
        turn(count)
        made += count
    return made / (time.perf_counter() - began)


# ---- the command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="a model file that this project trained")
    parser.add_argument(
        "--dataset", help="what its pictures are compared with, which needs an encoder; without: what it learned from"
    )
    parser.add_argument("--samples", type=whole(10, 1_000_000), default=2000, help="pictures of each cell")
    parser.add_argument("--calls", type=several(whole(1, 1000)), default=list(CALLS), help="network calls of the cells")
    parser.add_argument(
        "--ancestral", type=whole(1, 1000), default=ANCESTRAL, help="network calls of the ancestral reference"
    )
    parser.add_argument(
        "--only", type=several(str), default=[], help="these rows: unipc, or ours:unipc, diffusers:ddim"
    )
    parser.add_argument(
        "--spacings", action="store_true", help="our samplers on every staircase, not on their best alone"
    )
    parser.add_argument("--steps", type=whole(1, 1000), default=20, help="steps when speed is measured")
    parser.add_argument("--rounds", type=whole(0, 1000), default=5, help="of both in turns; 0 leaves speed out")
    parser.add_argument("--seconds", type=number(0.1, 3600), default=3.0, help="of each in a round")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--results", type=Path, default=RESULTS / "samplers")
    parser.add_argument("--anew", action="store_true", help="measure also what is there already")
    options = parser.parse_args()
    options.command = " ".join(["python -m benchmarks.samplers", *sys.argv[1:]])
    try:
        _main(options)
    except StudioError as error:
        sys.exit(f"error: {error}")


def _main(options: argparse.Namespace) -> None:
    known = {*SAMPLERS, *(f"ours:{name}" for name in SAMPLERS), *(f"diffusers:{name}" for name in PEERS)}
    known |= {f"autoguided:{SAMPLERS[0]}"}
    if unknown := sorted(set(options.only) - known):
        raise UsageError(f"there is no row {unknown[0]!r}: choose from {', '.join(sorted(known))}.")
    devices.keep_freed_memory()
    generator = Generator.load(options.model, str(machine.device_of(options.device)))
    model = generator.model
    options.dataset = options.dataset or model.config.dataset
    if (channels := encoder.load(options.dataset, generator.size).about["channels"]) != generator.channels:
        raise UsageError(
            f"{options.dataset} has {channels} channels and this model {generator.channels}: add the --dataset that it learned from."
        )
    mark = encoder.hash8(model.weights)
    about = {
        "key": f"{options.dataset}_{generator.size}_{mark}",
        "dataset": options.dataset,
        "size": generator.size,
        "preset": model.config.preset,
        "trained_steps": model.step,
        "trained_images": model.images,
        "weights": mark,
    }
    path = options.results / f"{about['key']}_speed.json"
    if options.rounds and not options.anew:
        can_stand_beside([path], {"steps": options.steps}, generator.device)
    found = measure(options, generator, about)
    timed = kept(path, "the speed beside diffusers' pipeline", options.anew and options.rounds > 0)
    if timed is None and options.rounds:
        timed = speed(options, generator, about)
        write(path, timed)
    print(of_samplers(found, timed))


if __name__ == "__main__":
    main()
