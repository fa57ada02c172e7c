"""A recipe becomes pictures again: which models made them, if they are still here, and the walk that they took.

What this version cannot set is refused, never left out: another picture would pass for the one that was asked for.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import recipes, shelf
from ddpm_core.config import SAMPLERS
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.exploring import parts as explored
from ddpm_core.stop import Part

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview, Turn

WHATS = ("sample", "interpolate", "pad", "compare")
HOW = ("sampler", "steps")  # the fields that Generator.sample, .interpolate and .pad take by these names,
MORE = ("spacing", "eta", "guidance", "classes", "interval", "autoguidance", "young")  # and these where they are given
_KNOWN = {"version", "what", "models", "run", "model", "hash", "trained_steps", "size", "seeds", "mix", *HOW, *MORE}


def models(root: Path | str, recipe: dict[str, Any]) -> list[shelf.Card]:
    """The models that made a checked recipe's pictures, in its order. A file that was moved or renamed is known by its hash.

    Raises `UsageError`, one line, for a model that is not here, or has been trained on since.
    """
    here = {card.key: card for card in shelf.cards(Path(root))}
    return [_find(here, model) for model in (recipe["models"] if recipe["what"] == "compare" else [recipe])]


def parts(
    recipe: dict[str, Any], root: Path | str = ".", turn: "Turn" = contextlib.nullcontext
) -> "Callable[[Generator], Iterator[Part]]":
    """What each of the recipe's models has to do for its pictures, one walk after the other; see `exploring.parts.of`.

    Raises `UsageError` for what cannot be done here, also where a person's own picture is gone from under `root`.
    """
    if explored.known(recipe):
        return explored.of(recipe, root, turn)
    one, count = walk(recipe), recipes.count(recipe) // len(recipe.get("models", [recipe]))
    return lambda generator: iter([Part(1, count, one(generator))])


def walk(recipe: dict[str, Any]) -> "Callable[[Generator], Iterator[Preview]]":
    """What each of the recipe's models has to do for its pictures. Raises `UsageError` for what cannot be done here."""
    settings = how(recipe)
    if recipe["what"] == "compare":
        sizes = sorted({model["size"] for model in recipe["models"]})
        return lambda generator: generator.sample(recipe["seeds"], beside=sizes, **settings)
    if recipe["what"] == "sample":
        return lambda generator: generator.sample(recipe["seeds"], **settings)
    if recipe["what"] == "pad":
        return lambda generator: generator.pad(recipe["seeds"], recipe["mix"], **settings)
    (a, b), frames = recipe["seeds"], len(recipe["mix"])
    if frames < 2 or not np.allclose(np.ravel(recipe["mix"]), np.linspace(0, 1, frames), rtol=0, atol=1e-9):
        raise UsageError("this walk goes another way than evenly from end to end, which cannot be made again here.")
    return lambda generator: generator.interpolate(a, b, frames, **settings)


def how(recipe: dict[str, Any]) -> dict[str, Any]:
    """How a checked recipe's pictures were sampled, as Generator.sample takes it. Raises `UsageError` for what cannot be set here."""
    if recipe["what"] not in WHATS:
        raise UsageError(f"a picture of this kind ({recipe['what']}) cannot be made again from its recipe alone.")
    if "seeds" not in recipe:
        raise UsageError("this picture was made from a person's own ones, which its recipe only names.")
    if unknown := sorted(recipe.keys() - _KNOWN):
        raise UsageError(f"this picture was made with {', '.join(unknown)}, which cannot be set here.")
    if recipe["sampler"] not in SAMPLERS:
        raise UsageError(f"this picture was made with the sampler {recipe['sampler']}, which is not one of ours.")
    settings = {name: recipe[name] for name in (*HOW, *MORE) if name in recipe}
    if "classes" in settings:  # null: not told
        settings["classes"] = [-1 if which is None else which for which in settings["classes"]]
    if "interval" in settings:
        settings["guidance_interval"] = tuple(settings.pop("interval"))
    return settings


def _find(here: dict[str, shelf.Card], model: dict[str, Any]) -> shelf.Card:
    name = f"{model['run']}/{model['model']}"
    named = here.get(name)
    for card in ([named] if named else []) + [card for card in here.values() if card is not named]:
        if _hash(card) == model["hash"]:
            if card.size != model["size"]:
                raise UsageError(
                    f"the model {card.key} draws {card.size} x {card.size} pixels, and this recipe says {model['size']}:"
                    " another program has changed it."
                )
            return card
    if named:
        raise UsageError(
            f"the model {name} has changed since: the picture was made at step {model['trained_steps']:,} (hash"
            f" {model['hash']}), and this one is another (hash {_hash(named) or 'none, it is damaged'})."
        )
    if any(card.run == model["run"] for card in here.values()):
        raise UsageError(
            f"the run {model['run']} has no model {model['model']} any more: put the file with hash {model['hash']} back."
        )
    raise UsageError(
        f"the run {model['run']} that made this picture is not here: copy it into the output folder, then try again."
    )


def _hash(card: shelf.Card) -> str:
    try:
        return recipes.model_hash(card.path)
    except CheckpointError:
        return ""
