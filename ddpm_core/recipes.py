"""What a picture says about its own making, so that it can be made again: a plain dict in its PNG. Knows no torch.

| field | holds |
|---|---|
| version, what | 1, and one of WHATS |
| run, model, hash, trained_steps, size | the model: its run, file name, `model_hash`, training steps and side in pixels |
| models | for "compare" instead of these: a list of such five, one a row |
| sampler, steps, spacing | how it was sampled; lists of samplers and of step counts for "steps" |
| eta | noise that the sampler adds, 0 = none, 1 = as much as DDPM |
| guidance, interval | strength of class guidance, the sigmas between which it acts |
| autoguidance, young | strength of guidance away from the model's own snapshot of the training step `young` |
| classes | the class of each picture (null: none); for "interpolate" and "pad" of the two ends and four corners, mixed between |
| seeds | one a picture; for "interpolate" the two ends, for "pad" the four corners |
| mix | one row a picture, 0 to 1: [way from first to second], or [across, down] the pad |
| ema, ema_step | length of the weight average; a list for "ema", and the training step that these averages end at |
| pictures, mask | hashes of a person's own pictures and mask, see own_pictures.py |
| level, strength | the noise level (sigma) that a picture was redrawn from, and what was asked for, 0 to 1 |
| stops | for "trajectory": the network calls that are shown, above what it was given, below what it made of that |

A PNG may come from anywhere. So what is read from one is bounded in size and has only these fields, each of its type and in
its range; whether the run is there, or the sampler is one of ours, is for those to say who use it.
"""

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ddpm_core import run_name, seal
from ddpm_core.config import MOST_PICTURES
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.pictures import RECIPE_KEY

VERSION = 1
WHATS = ("sample", "interpolate", "pad", "redraw", "fill", "compare", "steps", "ema", "trajectory")
MOST_BYTES = 64 << 20  # of a PNG; our largest are a few MB
_MOST_TEXT = 1 << 20  # of a recipe; 1024 pictures with seed, class and mix are 0.1 MB
_UNTOUCHED = "Its settings were not taken over."

_Check = Callable[[Any], bool]


def compose(what: str, **fields: Any) -> dict[str, Any]:
    """A recipe of this version from what is known (None: not). Raises `UsageError` if it would not be taken back."""
    given = {name: value for name, value in fields.items() if value is not None}
    if "classes" in given:
        given["classes"] = [None if which == -1 else which for which in given["classes"]]  # as a request says "any"
    # As it will come out of the file: tuples are lists there.
    return check(json.loads(json.dumps({"version": VERSION, "what": what, **given})))


def read_recipe(png: bytes) -> dict[str, Any] | None:
    """The recipe in a PNG of ours; None for any other file. Decodes no pixels.

    Raises `UsageError`, one line, for one of ours that is cut short, was changed, or is of a newer version.
    """
    if len(png) > MOST_BYTES:
        raise UsageError(
            f"this file has {len(png) >> 20} MB: choose a picture that this studio made, they are smaller."
        )
    text = _text(png)
    if text is None:
        return None
    try:
        return check(json.loads(text))
    except (ValueError, RecursionError):  # no JSON; or a thousand brackets
        raise UsageError(f"the recipe in this picture cannot be read. {_UNTOUCHED}") from None


def check(recipe: Any) -> dict[str, Any]:
    """The recipe, if it is one by the table above. Raises `UsageError`, one line."""
    if isinstance(recipe, dict) and "version" not in recipe and {"run", "images", "seeds"} <= recipe.keys():
        # (training/previews.py; its model has learned on since)
        raise UsageError(
            "this grid was drawn by a run while it trained: under Grid its model draws the same seeds as it is now."
        )
    if not isinstance(recipe, dict) or type(recipe.get("version")) is not int or recipe["version"] < 1:
        raise UsageError(f"the recipe in this picture is of no known version. {_UNTOUCHED}")
    if recipe["version"] > VERSION:
        raise UsageError("this picture was made by a newer version of DDPM Studio: update, then try again.")
    what = recipe.get("what")
    if what not in WHATS:
        raise _refusal("what", what, f"one of {', '.join(WHATS)}")
    for name, value in recipe.items():
        if name not in _FIELDS:
            raise UsageError(f"the recipe in this picture has a setting {_shown(name)} that is none. {_UNTOUCHED}")
        fits, wish = _FIELDS[name]
        if not fits(value):
            raise _refusal(name, value, wish)
    needed = {"sampler", "steps", *_NEEDS[what], *(() if what == "compare" else _MODEL)}
    if what == "interpolate":
        needed.add("pictures" if "pictures" in recipe else "seeds")
    if missing := sorted(needed - recipe.keys()):
        raise UsageError(f"the recipe in this picture lacks {', '.join(missing)}. {_UNTOUCHED}")
    for name, kinds in _ONLY_OF.items():
        if name in recipe and what not in kinds:
            raise UsageError(f"the recipe in this picture has {name}, which is for {' and '.join(kinds)}. {_UNTOUCHED}")
    for name, spread in (("sampler", "steps"), ("steps", "steps"), ("ema", "ema")):
        if isinstance(recipe.get(name), list) != (what == spread) and name in recipe:
            raise _refusal(name, recipe[name], "a list" if what == spread else "one")
    columns = {"interpolate": 1, "pad": 2}.get(what)
    if columns:
        between = recipe["pictures" if columns == 1 and "pictures" in recipe else "seeds"]
        if len(between) != 2 * columns or any(len(row) != columns for row in recipe["mix"]):
            raise _refusal("mix", recipe["mix"], f"rows of {columns} between {2 * columns} ends")
        # A walk of an older version has one class for each frame, all alike.
        fitting = {2, len(recipe["mix"])} if columns == 1 else {4}
        if "classes" in recipe and len(recipe["classes"]) not in fitting:
            raise _refusal("classes", recipe["classes"], f"one for each of the {2 * columns} ends")
    return recipe


def count(recipe: dict[str, Any]) -> int:
    """How many pictures a checked recipe makes."""
    times = len(recipe.get("mix") or recipe.get("seeds") or recipe["pictures"])
    for name in ("models", "sampler", "steps", "ema"):
        times *= len(recipe[name]) if isinstance(recipe.get(name), list) else 1
    return times * 2 * len(recipe["stops"]) if recipe["what"] == "trajectory" else times


def model_hash(path: Path | str) -> str:
    """12 letters that name a checkpoint file's content: the first of the sha256 that it is sealed with.

    Nothing is hashed anew, so this takes no time; that the seal is true is checked whenever the file is loaded. Raises
    `CheckpointError` for a file that is missing or has no seal.
    """
    try:
        with open(path, "rb") as file:
            digest = seal.claimed(file)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path} ({error.strerror or error}): choose a model that is there."
        ) from None
    if digest is None:
        raise CheckpointError(f"{path} has no seal: choose a checkpoint that train_high_res.py made.")
    return digest[:12]


def picture_hash(picture: np.ndarray) -> str:
    """16 letters that name a person's own picture, uint8 (H, W, C), as the network saw it: by its pixels, not its file."""
    return hashlib.sha256(f"{picture.shape} ".encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()[:16]


# ---- the table above, to check with


def _whole(low: int, high: int) -> tuple[_Check, str]:
    return lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}"


def _number(low: float, high: float) -> tuple[_Check, str]:
    return lambda value: type(value) in (int, float) and low <= value <= high, f"a number from {low:g} to {high:g}"


def _word(pattern: str, wish: str) -> tuple[_Check, str]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, wish


def _list(item: tuple[_Check, str], least: int, most: int) -> tuple[_Check, str]:
    fits, wish = item
    return (
        lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(fits, value)),
        f"{least} to {most} times {wish}",
    )


def _or(one: tuple[_Check, str], other: tuple[_Check, str]) -> tuple[_Check, str]:
    return lambda value: one[0](value) or other[0](value), f"{one[1]}, or {other[1]}"


def _is_run(value: Any) -> bool:
    try:
        run_name.check(value)
    except UsageError:
        return False
    return True


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == _MODEL.keys() and all(_MODEL[k][0](v) for k, v in value.items())


_WORD = _word(r"[a-z0-9][a-z0-9+.-]{0,23}", "a short name")
_STEPS, _EMA = _whole(1, 1000), _number(0, 1)
_NONE: tuple[_Check, str] = (lambda value: value is None, "null")
_HASH = _word(r"[0-9a-f]{16}", "16 letters of a hash")
_MODEL: dict[str, tuple[_Check, str]] = {
    "run": (_is_run, "the name of a run"),
    "model": _word(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.pt", "the name of a model file"),
    "hash": _word(r"[0-9a-f]{12}", "12 letters of a hash"),
    "trained_steps": _whole(0, 2**53),
    "size": _whole(1, 4096),
}
_FIELDS: dict[str, tuple[_Check, str]] = {
    "version": _whole(1, VERSION),
    "what": (lambda value: value in WHATS, "a thing to make"),
    **_MODEL,
    "models": _list((_is_model, f"a model's {', '.join(_MODEL)}"), 1, 32),
    "sampler": _or(_WORD, _list(_WORD, 1, 16)),
    "steps": _or(_STEPS, _list(_STEPS, 1, 16)),
    "spacing": _WORD,
    "eta": _number(0, 10),
    "guidance": _number(0, 100),
    "interval": _list(_number(0, 1e6), 2, 2),
    "autoguidance": _number(0, 100),
    "young": _whole(0, 2**53),
    "classes": _list(_or(_whole(0, 99_999), _NONE), 1, MOST_PICTURES),
    "seeds": _list(_whole(0, 2**63 - 1), 1, MOST_PICTURES),
    "mix": _list(_list(_number(0, 1), 1, 2), 1, MOST_PICTURES),
    "ema": _or(_EMA, _list(_EMA, 1, 32)),
    "pictures": _list(_HASH, 1, 2),
    "mask": _HASH,
    "level": _number(0, 1e6),
    "strength": _number(0, 1),
    "ema_step": _whole(0, 2**53),
    "stops": _list(_whole(1, 2000), 1, 64),
}
_NEEDS: dict[str, tuple[str, ...]] = {
    "sample": ("seeds",),
    "interpolate": ("mix",),
    "pad": ("seeds", "mix"),
    "redraw": ("pictures", "level", "seeds"),
    "fill": ("pictures", "mask", "seeds"),
    "compare": ("models", "seeds"),
    "steps": ("seeds",),
    "ema": ("seeds", "ema"),
    "trajectory": ("seeds", "stops"),
}


# How many pictures there are hangs on these: no other kind may have them.
_ONLY_OF = {"mix": ("interpolate", "pad"), "models": ("compare",)}


def _refusal(name: str, value: Any, wish: str) -> UsageError:
    return UsageError(f"the recipe in this picture has {name} {_shown(value)}: it must be {wish}. {_UNTOUCHED}")


def _shown(value: Any) -> str:
    """A stranger's value in a sentence: short, and without anything that is no plain letter."""
    text = ascii(value)
    return text if len(text) <= 40 else text[:37] + "..."


# ---- the one chunk of a PNG that matters here


def _text(png: bytes) -> bytes | None:
    """The text that pictures.to_png_bytes put before the pixels; None in a file without one. Compressed texts are not ours,
    so nothing can unfold."""
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    start, mark = 8, RECIPE_KEY.encode() + b"\0"
    for _ in range(1000):
        if start + 12 > len(png):
            return None
        length, kind = struct.unpack_from(">I4s", png, start)
        if kind in (b"IDAT", b"IEND"):
            return None
        if kind == b"tEXt" and png.startswith(mark, start + 8):
            if length > _MOST_TEXT:
                raise UsageError(f"the recipe in this picture has {length >> 10} KB and was not read. {_UNTOUCHED}")
            body = png[start + 4 : start + 8 + length]
            if not png.endswith(b"\0\0\0\0IEND\xae\x42\x60\x82") or png[start + 8 + length :][:4] != _crc(body):
                raise UsageError("this picture is cut short or damaged: copy it again, or choose another one.")
            return body[4 + len(mark) :]
        start += 12 + length
    return None


def _crc(body: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(body))
