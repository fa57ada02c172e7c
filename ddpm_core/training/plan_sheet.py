"""The whole plan of a run on one page of text, for --plan and for whoever wants to see how the forecast's figures come about."""

import torch

from ddpm_core.training import memory
from ddpm_core.training.memory import GB, Fit
from ddpm_core.training.plan import Forecast, duration, in_words, size

# What comes and goes, at the moment when most is there.
HIGHEST = {"step": "feature maps", "update": "the update", "grid": "sample grids"}


def sheet(plan: Forecast) -> str:
    """Some twenty lines: `facts`, then other cards."""
    return "\n".join([*(f"  {name:9} {text}" for name, text in facts(plan)), "", *cards(plan)])


def facts(plan: Forecast) -> list[tuple[str, str]]:
    """(name, text): device, network, pictures, batch, steps, time, memory piece by piece, disk; without a name it goes on with the
    one above."""
    config, needs = plan.config, plan.memory
    pieces = [
        ("of weights", needs.weights),
        ("of gradients", needs.gradients),
        ("of the optimizer", needs.optimizer),
        ("of two averages" if config.snapshots else "of the average", needs.averages),
        (f"of {HIGHEST[needs.highest]}", needs.activations),
        ("of pictures", needs.pictures),
        ("beside them", needs.beside),
    ]
    span = "left" if plan.step else "in all"
    found = [
        ("device", plan.device),
        ("", f"torch {torch.__version__}" + (f", CUDA {torch.version.cuda}" if plan.device_type == "cuda" else "")),
        ("preset", f"{config.preset}, {plan.parameters / 1e6:.1f} million weights"),
        ("", f"a model file of {4e-6 * plan.parameters:.0f} MB, {plan.flops / 1e9:.3g} GFLOP a picture"),
        ("pictures", f"{plan.pictures:,} to learn from, {plan.held_out:,} held out"),
        ("batch", batch_in_words(plan.config.batch_size, plan.micro_batch)),
        ("steps", f"{plan.steps:,} ({in_words(plan.epochs, 'epoch')} of {plan.steps_per_epoch:.4g} steps)"),
        *([("", f"{plan.step:,} of them made")] if plan.step else []),
        ("pace", f"{plan.images_per_second:.3g} images/s"),
        ("time", f"{duration(plan.seconds_per_epoch)} an epoch, {duration(plan.seconds)} {span}"),
        *([] if plan.step else [("", f"first pictures after {duration(plan.first_sample_seconds)}")]),
        ("memory", f"{size(needs.total)} of {size(plan.room)} free: {plan.verdict}"),
        *(("", f"{size(bytes_):>8} {name}") for name, bytes_ in pieces if bytes_),
        ("disk", size(plan.disk)),
    ]
    change = (
        memory.smallest_change(config, plan.channels, plan.room, plan.arithmetic) if plan.verdict != "fits" else None
    )
    if change:
        found.append(("to fit", f"it would fit with {change.words}"))
    return found


def cards(plan: Forecast) -> list[str]:
    """One line for each of the graphics cards that people have."""
    lines = ["  on a graphics card of its own"]
    for each in plan.fits:
        name, verdict, words = card(plan, each)
        lines.append(f"  {name:>9} {verdict}, {words}")
    return lines


def card(plan: Forecast, fit: Fit) -> tuple[str, str, str]:
    """("12 GB", "fits", what it takes there and how the batch is made, or what would fit instead)."""
    words = f"{size(fit.memory.total)}, {batch_in_words(plan.config.batch_size, fit.micro_batch)}"
    if fit.verdict != "fits":
        words = f"{size(fit.memory.total)}{_instead(plan, fit)}"
    return f"{fit.card // GB} GB", fit.verdict, words


def _instead(plan: Forecast, fit: Fit) -> str:
    kind = memory.Arithmetic(card=True, half=plan.config.amp)
    change = memory.smallest_change(plan.config, plan.channels, fit.card, kind)
    return f"; it would with {change.words}" if change else ""


def batch_in_words(batch_size: int, micro_batch: int) -> str:
    """The effective batch, and how it is made of what is in memory at once."""
    if micro_batch >= batch_size:
        return f"{batch_size} pictures a step, all at once"
    return f"{batch_size} pictures a step, {micro_batch} at a time, {-(-batch_size // micro_batch)} times"
