"""What the explorers draw, from its recipe: by the very functions that they draw it with. Imports no torch.

Some of it is several walks one after the other (`Part`), since between two of them another network is built.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_core import own_pictures
from ddpm_core.config import SAMPLERS
from ddpm_core.errors import UsageError
from ddpm_core.exploring import averages, own, steps
from ddpm_core.making import story
from ddpm_core.stop import Part

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Turn

Parts = Callable[["Generator"], Iterator[Part]]
_ALWAYS = {"version", "what", "run", "model", "hash", "trained_steps", "size", "sampler", "steps"}


def known(recipe: dict[str, Any]) -> bool:
    """Whether `of` is the one to ask for this kind of picture."""
    return recipe["what"] in _KINDS and (recipe["what"] != "interpolate" or "pictures" in recipe)


def of(recipe: dict[str, Any], root: Path | str, turn: "Turn" = contextlib.nullcontext) -> Parts:
    """What its model has to do for a checked recipe's pictures: the parts give them in order, all together.

    Own pictures are those under `root`. `turn` is for the building of networks, which happens between two parts: who goes a
    part takes the turn, and does not hold it when asking for the next one. Raises `UsageError` for what cannot be done here.
    """
    check(recipe)
    _, parts = _KINDS[recipe["what"]]
    return parts(recipe, Path(root), turn)


def check(recipe: dict[str, Any]) -> None:
    """Raises `UsageError` for settings that this version cannot set, whatever is here."""
    needs, _ = _KINDS[recipe["what"]]
    if unknown := sorted(recipe.keys() - _ALWAYS - needs):
        raise UsageError(f"this picture was made with {', '.join(unknown)}, which cannot be set here.")
    names = recipe["sampler"] if isinstance(recipe["sampler"], list) else [recipe["sampler"]]
    if others := [name for name in names if name not in SAMPLERS]:
        raise UsageError(f"this picture was made with the sampler {others[0]}, which is not one of ours.")
    if recipe["what"] in ("steps", "trajectory") and len(recipe["seeds"]) != 1:
        raise UsageError(f"this picture has {len(recipe['seeds'])} seeds, where its kind has one.")
    if recipe["what"] == "trajectory":
        stops, calls = recipe["stops"], steps.calls(names, [recipe["steps"]])
        if stops != sorted(set(stops)) or stops[-1] > calls:
            raise UsageError(
                f"this picture shows stops that a walk of {calls} network calls does not make in this order."
            )
    if recipe["what"] in ("redraw", "fill") and len(recipe["pictures"]) != 1:
        raise UsageError(f"this picture was made from {len(recipe['pictures'])} own ones, where its kind has one.")


def _steps(recipe: dict[str, Any], root: Path, turn: "Turn") -> Parts:
    (seed,), samplers, counts = recipe["seeds"], recipe["sampler"], recipe["steps"]
    everything = steps.calls(samplers, counts)

    def parts(generator: "Generator") -> Iterator[Part]:
        for sampler, count, walk in steps.walks(generator, seed, samplers, counts):
            yield Part(steps.calls([sampler], [count]) / everything, 1, walk)

    return parts


def _averages(recipe: dict[str, Any], root: Path, turn: "Turn") -> Parts:
    def parts(generator: "Generator") -> Iterator[Part]:
        material = averages.kept(generator)
        if material.latest != recipe.get("ema_step", material.latest):
            raise UsageError(
                f"the run {recipe['run']} has trained on since: these averages end at step {recipe['ema_step']:,}, and what it"
                f" keeps of them ends at step {material.latest:,} now."
            )
        for drawing in averages.under(generator, material, recipe["ema"], turn):
            walk = drawing.sample(recipe["seeds"], steps=recipe["steps"], sampler=recipe["sampler"])
            yield Part(1 / len(recipe["ema"]), len(recipe["seeds"]), walk)

    return parts


def _between(recipe: dict[str, Any], root: Path, turn: "Turn") -> Parts:
    if recipe["sampler"] != own.WALK_SAMPLER:
        raise UsageError(f"a walk between own pictures goes by {own.WALK_SAMPLER}, this one by {recipe['sampler']}.")
    names = ("first picture", "second picture")
    ends = [
        own_pictures.find(root, recipe["run"], digest, name)
        for digest, name in zip(recipe["pictures"], names, strict=True)
    ]
    mix = [spot for (spot,) in recipe["mix"]]
    return lambda generator: iter([Part(1, len(mix), own.between(generator, ends, recipe["steps"], mix))])


def _redraw(recipe: dict[str, Any], root: Path, turn: "Turn") -> Parts:
    picture = _picture(recipe, root)

    def parts(generator: "Generator") -> Iterator[Part]:
        way = _way(recipe, generator)
        yield Part(1, len(way.seeds), way.redraw(picture, way.strength(recipe["level"])))

    return parts


def _fill(recipe: dict[str, Any], root: Path, turn: "Turn") -> Parts:
    picture = _picture(recipe, root)
    mask = own_pictures.find(root, recipe["run"], recipe["mask"], "mask")[..., 0] > 0

    def parts(generator: "Generator") -> Iterator[Part]:
        way = _way(recipe, generator)
        yield Part(1, len(way.seeds), way.fill(picture, mask))

    return parts


def _trajectory(recipe: dict[str, Any], root: Path, turn: "Turn") -> Parts:
    from ddpm_core import remake

    how = remake.how({**{name: value for name, value in recipe.items() if name != "stops"}, "what": "sample"})
    (seed,), stops = recipe["seeds"], recipe["stops"]
    return lambda generator: iter([Part(1, 2 * len(stops), story.walk(generator, seed, stops, **how))])


def _picture(recipe: dict[str, Any], root: Path) -> Any:
    return own_pictures.find(root, recipe["run"], recipe["pictures"][0], "picture")


def _way(recipe: dict[str, Any], generator: "Generator") -> own.Way:
    return own.Way(generator, recipe["seeds"], recipe["sampler"], recipe["steps"])


# What each kind needs beside what all have, and how it is drawn.
_KINDS: dict[str, tuple[set[str], Callable[[dict[str, Any], Path, "Turn"], Parts]]] = {
    "steps": ({"seeds"}, _steps),
    "ema": ({"seeds", "ema", "ema_step"}, _averages),
    "interpolate": ({"pictures", "mix"}, _between),
    "redraw": ({"seeds", "pictures", "level", "strength"}, _redraw),
    "fill": ({"seeds", "pictures", "mask"}, _fill),
    "trajectory": (
        {"seeds", "stops", "spacing", "eta", "guidance", "classes", "interval", "autoguidance", "young"},
        _trajectory,
    ),
}
