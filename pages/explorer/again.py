"""Make it again: a kept picture from its recipe, and whether it is the same, bit for bit."""

import functools
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import gallery, pictures, recipes, remake, sheet
from ddpm_core.errors import UsageError
from ddpm_core.gallery import Difference
from ddpm_core.stop import Drawn
from pages import drawing
from pages.explorer.stream import Asked, Shown, Told
from pages.texts import number, t

if TYPE_CHECKING:
    from ddpm_core.session import Session

BLANK = 127  # where a picture is to come


def make(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: key. Told: preview, one grid, while it goes on; at the end same (bool), says, and where it is not the same
    again and difference, two sheets."""
    entry = gallery.find(session.root, str(asked.get("key")))
    png = entry.path.read_bytes()
    recipe = recipes.read_recipe(png)
    if recipe is None:
        raise UsageError(t("recall.foreign"))
    recipe = gallery.at_home(entry, recipe)
    parts, cards = remake.parts(recipe, session.root, session.turns), remake.models(session.root, recipe)
    was = gallery.pixels(png)
    kept = sheet.cut(recipe, was)
    columns = None if recipe["what"] == "compare" else (sheet.layout(recipe, was) or (None,))[0]
    hashes = [model["hash"] for model in recipe.get("models", [recipe])]

    made: list[np.ndarray] = []
    for card, named in zip(cards, hashes, strict=True):
        generator = session.shelf.take(card.path)
        if generator.model.hash != named:  # a run that trains has replaced the file since it was looked at
            raise UsageError(t("again.replaced", model=card.key))
        drawn: list[np.ndarray] = []
        behind, count = float(len(made)), len(kept[len(made)])
        for part in parts(generator):
            for stop in session.shelf.slices(part.walk):
                last, done = stop, (behind + part.share * stop.done) / len(cards)
                yield functools.partial(_progress, stop, done, tuple(drawn), count, columns)
            assert last.pictures is not None
            drawn.append(last.pictures)
            behind += part.share
        made.append(np.concatenate(drawn))
    told = compared(recipe, kept, made, columns)
    yield lambda: told


def _progress(stop: Drawn, done: float, drawn: Sequence[np.ndarray], count: int, columns: int | None) -> Told:
    """How far it is; with the pictures so far, `drawn` by earlier parts, of `count`."""
    told = {"done": done, "line": t("again.line", step=stop.step, steps=stop.steps)}
    if stop.pictures is None:
        return told
    so_far = np.concatenate([*drawn, stop.pictures])
    blank = np.full((count - len(so_far), *so_far.shape[1:]), BLANK, np.uint8)
    thinned = drawing.thinned(np.concatenate([so_far, blank]))
    return {**told, "preview": pictures.to_data_uri(drawing.grid(thinned, columns))}


def compared(
    recipe: dict[str, Any], kept: Sequence[np.ndarray], made: Sequence[np.ndarray], columns: int | None = None
) -> Told:
    """What there is to say about pictures that were made again: for each model uint8 (N, S, S, C), as they were and are."""
    # A comparison's sheet has three channels, also where a model is grey.
    made = [np.broadcast_to(new, old.shape) if new.shape[-1] == 1 else new for old, new in zip(kept, made, strict=True)]
    apart = [gallery.difference(old, new) for old, new in zip(kept, made, strict=True)]
    all_apart = Difference(
        sum(part.differing for part in apart), sum(part.values for part in apart), max(part.largest for part in apart)
    )
    if all_apart.equal:
        return {"done": 1.0, "same": True, "says": t("again.same")}
    says = t(
        "again.differs",
        differing=number(all_apart.differing),
        values=number(all_apart.values),
        largest=all_apart.largest,
    )
    # The largest difference becomes white: most are of one level, which nobody would see.
    stretch = 255 / all_apart.largest
    difference = [
        np.rint(np.abs(old.astype(np.int16) - new) * stretch).astype(np.uint8)
        for old, new in zip(kept, made, strict=True)
    ]
    sheets = {"again": made, "difference": difference}
    drawn = {name: pictures.to_data_uri(sheet.draw(recipe, which, columns=columns)) for name, which in sheets.items()}
    return {"done": 1.0, "same": False, "says": says, **drawn}
