"""A recipe in words, and as the settings of the form that made it.

What the form cannot hold is refused in one line: half of the settings would make another picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_core import remake
from ddpm_core.config import SAMPLERS
from ddpm_core.errors import UsageError
from pages.explorer.classes import ANY
from pages.generation import LARGEST_SEED, LONGEST_SLIDER, MOST, SAME
from pages.texts import number, t

Told = dict[str, Any]
MODES = {"sample": "grid", "interpolate": "walk", "pad": "pad", "compare": "models"}  # assets/explorer.js names them
BUTTONS = {"grid": "generation.generate", "walk": "generation.interpolate", "models": "generation.compare"}


def settings(root: Path, recipe: dict[str, Any]) -> Told:
    """mode, what to say, and the fields by their elem_id, each as an update for its component; for the pad, which is no form,
    also `room`: its corners, and the place on it.

    Raises `UsageError` where a model is not here as it was, or the form has no place for a setting.
    """
    how = remake.how(recipe)
    keys = [card.key for card in remake.models(root, recipe)]
    seeds = recipe["seeds"]
    if max(seeds) > LARGEST_SEED:
        raise UsageError(t("recall.seed", seed=max(seeds), most=number(LARGEST_SEED)))
    if placeless := sorted(how.keys() & {"spacing", "eta", "guidance_interval"}):
        raise UsageError(t("recall.no-place", names=", ".join(placeless)))
    which = [str(one) if one >= 0 else ANY for one in how.get("classes", [-1])]
    fields: dict[str, Any] = {"sampler": how["sampler"]}
    if set(which) != {ANY}:
        fields["guidance"] = how.get("guidance", 1.0)
    if recipe["what"] == "pad":
        return _pad(recipe, {"model": keys[0], **fields}, which)
    walk = recipe["what"] == "interpolate"
    if len(set(which)) > 1 and not (walk and len(which) == 2):
        raise UsageError(t("recall.no-place", names="classes"))
    if set(which) != {ANY}:
        fields["which_class"] = which[0]
        if walk:
            fields["which_end"] = SAME if which[-1] == which[0] else which[-1]
    if recipe["what"] == "compare":
        _check("models", len(keys), MOST["models"])
        fields |= {"compare_models": keys, "compare_samples": _row(seeds, "each"), "compare_seed": seeds[0]}
    elif walk:
        remake.walk(recipe)  # goes evenly from end to end, as the form's do
        _check("frames", len(recipe["mix"]), MOST["frames"])
        fields |= {"model": keys[0], "seed_a": seeds[0], "seed_b": seeds[1], "frames": len(recipe["mix"])}
    else:
        fields |= {"model": keys[0], "samples": _row(seeds, "samples"), "gen_seed": seeds[0]}
    mode = MODES[recipe["what"]]
    line = t("recall.done", title=title(recipe), button=t(BUTTONS[mode]))
    return {"mode": mode, "fields": _updates(fields, how["steps"]), "line": line}


def _pad(recipe: dict[str, Any], fields: dict[str, Any], which: list[str]) -> Told:
    """What a picture of the pad, or the first of a film, brings back."""
    across, down = recipe["mix"][0]
    corners = {
        "model": fields["model"],
        "seeds": recipe["seeds"],
        "classes": which if "classes" in recipe else [ANY] * 4,
    }
    line = t("recall.pad" if len(recipe["mix"]) == 1 else "recall.pad.film", title=title(recipe))
    told = {"mode": MODES["pad"], "fields": _updates(fields, recipe["steps"]), "line": line}
    return {**told, "room": {**corners, "u": across, "v": down}}


def _updates(fields: dict[str, Any], steps: int) -> dict[str, Told]:
    longest = {"value": steps, "maximum": max(LONGEST_SLIDER, steps)}
    return {**{name: {"value": value} for name, value in fields.items()}, "steps": longest}


def title(recipe: dict[str, Any]) -> str:
    """A checked recipe in a few words."""
    runs = " · ".join(dict.fromkeys(model["run"] for model in recipe.get("models", [recipe])))
    return t("recall.title", what=t("recall.what." + recipe["what"]), runs=runs)


def words(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """A checked recipe, line by line: (what, value)."""
    lines = []
    for model in recipe.get("models", [recipe]):
        step = number(model["trained_steps"])
        about = t("recall.model", run=model["run"], model=model["model"], step=step, size=model["size"])
        lines.append((t("generation.model"), about))
        lines.append((t("recall.hash"), model["hash"]))
    told = {"version", "what", "models", "run", "model", "hash", "trained_steps", "size"}
    lines += [(t("recall.name." + name), _value(name, recipe[name])) for name in recipe if name not in told]
    return lines


def _value(name: str, value: Any) -> str:
    if name == "seeds":
        return _seeds(value)
    if name == "mix":
        return t("recall.mix", count=len(value))
    if name == "sampler":
        return ", ".join(_sampler(each) for each in (value if isinstance(value, list) else [value]))
    if isinstance(value, list):
        shown = [t("recall.none") if each is None else str(each) for each in value[:12]]
        return ", ".join(shown) + (" …" if len(value) > len(shown) else "")
    return str(value)


def _sampler(name: str) -> str:
    return t("generation.sampler." + name) if name in SAMPLERS else name


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return t("recall.seeds", first=seeds[0], last=seeds[-1])
    return ", ".join(map(str, seeds[:12])) + (" …" if len(seeds) > 12 else "")


def _row(seeds: Sequence[int], name: str) -> int:
    """How many they are, if they count up by one, as the form's do."""
    if list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))):
        raise UsageError(t("recall.row"))
    _check(name, len(seeds), MOST[name])
    return len(seeds)


def _check(name: str, count: int, most: int) -> None:
    if count > most:
        raise UsageError(t("recall.many", name=t("recall.name." + name), count=count, most=most))
