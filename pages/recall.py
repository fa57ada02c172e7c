"""A recipe in words, and as the settings of the form that made it.

What the form cannot hold is refused in one line: half of the settings would make another picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_core import own_pictures, pictures, remake, shelf
from ddpm_core.config import SAMPLERS
from ddpm_core.errors import UsageError
from ddpm_core.exploring import parts as explored
from pages.explorer import averages, inbox, own
from pages.explorer.classes import ANY
from pages.fields import LARGEST_SEED, LONGEST_SLIDER, MOST, SAME
from pages.texts import number, t

Told = dict[str, Any]
MODES = {"sample": "grid", "interpolate": "walk", "pad": "pad", "compare": "models"}  # assets/explorer.js names them
BUTTONS = {"grid": "generation.generate", "walk": "generation.interpolate", "models": "generation.compare"}


def settings(root: Path, recipe: dict[str, Any]) -> Told:
    """mode, what to say, and the fields by their elem_id, each as an update for its component; for the pad, which is no form,
    also `room`: its corners, and the place on it.

    Raises `UsageError` where a model is not here as it was, or the form has no place for a setting.
    """
    if explored.known(recipe):
        return _trajectory(root, recipe) if recipe["what"] == "trajectory" else _room(root, recipe)
    how = remake.how(recipe)
    cards = remake.models(root, recipe)
    seeds = recipe["seeds"]
    if max(seeds) > LARGEST_SEED:
        raise UsageError(t("recall.seed", seed=max(seeds), most=number(LARGEST_SEED)))
    if placeless := sorted(how.keys() & {"spacing", "eta", "guidance_interval"}):
        raise UsageError(t("recall.no-place", names=", ".join(placeless)))
    which = [str(one) if one >= 0 else ANY for one in how.get("classes", [-1])]
    keys = [card.key for card in cards]
    if how.get("young") not in (None, shelf.young(cards[0])):  # the form's is the earliest that there is now
        raise UsageError(t("recall.no-place", names=t("recall.name.young")))
    fields: dict[str, Any] = {"sampler": how["sampler"], "autoguidance": how.get("autoguidance", 1.0)}
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
        asked = {"classes": set(which) != {ANY}, "autoguidance": "autoguidance" in how}
        if placeless := [t("recall.name." + name) for name, there in asked.items() if there]:
            raise UsageError(t("recall.no-place", names=", ".join(placeless)))
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
    updates = {**{name: {"value": value} for name, value in fields.items()}, "steps": longest}
    for name, usual in (("guidance", 5), ("autoguidance", 3)):  # the command line takes 0 to 20
        if name in fields:
            updates[name] |= {"minimum": min(1, fields[name]), "maximum": max(usual, fields[name])}
    return updates


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
    if name in ("ema_step", "young"):
        return number(value)
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


def _row(seeds: Sequence[int], name: str, most: int | None = None) -> int:
    """How many they are, if they count up by one, as the form's do."""
    if list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))):
        raise UsageError(t("recall.row"))
    _check(name, len(seeds), most or MOST[name])
    return len(seeds)


def _check(name: str, count: int, most: int) -> None:
    if count > most:
        raise UsageError(t("recall.many", name=t("recall.name." + name), count=count, most=most))


# ---- what the explorers made


def with_own(root: Path, recipe: dict[str, Any], told: Told) -> Told:
    """The same with the person's own pictures for the page; where one is not here, the line says so."""
    room = told.get("room", {})
    if not room.get("own"):
        return told
    room, line = {**room}, told["line"]
    try:
        for slot, digest in room.pop("own").items():
            picture = own_pictures.find(root, recipe["run"], digest)
            # Shown as squares, not blurred: this is what the model saw.
            src = pictures.to_data_uri(picture, scale=max(1, inbox.THUMB // len(picture)))
            room[slot] = {**inbox.bring(pictures.to_png_bytes(picture)), "src": src}
        if "mask" in recipe:
            mask = own_pictures.find(root, recipe["run"], recipe["mask"])
            room["mask"] = "".join("1" if covered else "0" for covered in mask.ravel())
    except UsageError:
        line = f"{line} {t('recall.own')}"
    return {**told, "room": room, "line": line}


def _trajectory(root: Path, recipe: dict[str, Any]) -> Told:
    """The form makes its picture, and the canvas tells how that came to be."""
    told = settings(root, {**{name: value for name, value in recipe.items() if name != "stops"}, "what": "sample"})
    return {**told, "line": t("recall.done", title=title(recipe), button=t(BUTTONS[told["mode"]]))}


def _room(root: Path, recipe: dict[str, Any]) -> Told:
    """For what an explorer made that has a room of its own: also `room`, what that takes (its file in assets/), where a person's
    own pictures are still hashes, see `with_own`."""
    explored.check(recipe)
    (card,) = remake.models(root, recipe)
    what, seeds, rest = recipe["what"], recipe.get("seeds", [0]), ""
    if max(seeds) > LARGEST_SEED:
        raise UsageError(t("recall.seed", seed=max(seeds), most=number(LARGEST_SEED)))
    fields: dict[str, Any] = {"model": {"value": card.key}}
    if what in ("ema", "redraw", "fill"):
        steps = recipe["steps"]
        fields |= {"sampler": {"value": recipe["sampler"]}}
        fields |= {"steps": {"value": steps, "maximum": max(LONGEST_SLIDER, steps)}}
    if what == "steps":
        mode, button = "steps", "steps.go"
        room = {"seed": seeds[0], "counts": recipe["steps"], "samplers": recipe["sampler"]}
    elif what == "ema":
        mode, button = "averages", "averages.go"
        room = {"seed": seeds[0], "samples": _row(seeds, "samples", averages.MOST)}
    else:
        mode, (room, rest) = "own", _own(recipe, card.size)
        button = "own.go." + room["task"]
    line = t("recall.done", title=title(recipe), button=t(button))
    line = f"{line} {t('recall.rest', names=rest)}" if rest else line
    return {"mode": mode, "fields": fields, "room": room, "line": line}


def _own(recipe: dict[str, Any], size: int) -> tuple[Told, str]:
    """For the room of a person's own pictures; and what cannot be set there."""
    task = "walk" if recipe["what"] == "interpolate" else recipe["what"]
    room: Told = {"task": task, "side": size, "own": dict(zip("ab", recipe["pictures"], strict=False))}
    if task == "walk":
        _check("frames", len(recipe["mix"]), own.MOST_FRAMES)
        rest = "" if recipe["steps"] == own.WALK_STEPS else t("recall.name.steps")
        return {**room, "frames": len(recipe["mix"])}, rest
    room |= {"seed": recipe["seeds"][0], "samples": _row(recipe["seeds"], "samples", own.MOST_SAMPLES)}
    if task == "fill":
        return room, ""
    percent = 100 * recipe.get("strength", -1)
    if percent < 0 or abs(percent - round(percent)) > 1e-6:
        return room, t("recall.name.strength")
    return {**room, "strength": round(percent)}, ""
