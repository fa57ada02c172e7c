"""Make it again: a kept picture from its recipe, and whether it is the same, bit for bit."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import gallery, pictures, recipes, remake, sheet
from ddpm_core.errors import UsageError
from ddpm_core.gallery import Difference
from pages import drawing
from pages.explorer.stream import Asked, Shown, Told
from pages.texts import number, t

if TYPE_CHECKING:
    from ddpm_core.generator import Preview
    from ddpm_core.session import Session

PREVIEW_PIXELS = 300_000


def make(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: key. Told: preview, one grid, while it goes on; at the end same (bool), says, and where it is not the same
    again and difference, two sheets."""
    entry = gallery.find(session.root, str(asked.get("key")))
    png = entry.path.read_bytes()
    recipe = recipes.read_recipe(png)
    if recipe is None:
        raise UsageError(t("recall.foreign"))
    walk, cards = remake.walk(recipe), remake.models(session.root, recipe)
    kept = sheet.cut(recipe, gallery.pixels(png))
    hashes = [model["hash"] for model in recipe.get("models", [recipe])]

    made: list[np.ndarray] = []
    for card, named in zip(cards, hashes, strict=True):
        generator = session.shelf.take(card.path)
        if generator.model.hash != named:  # a run that trains has replaced the file since it was looked at
            raise UsageError(t("again.replaced", model=card.key))
        for preview in session.shelf.slices(walk(generator)):

            def show(preview: "Preview" = preview, before: int = len(made)) -> Told:
                line = t("again.line", step=preview.step, steps=preview.steps)
                done = (before + preview.done) / len(cards)
                grid = drawing.grid(drawing.thinned(preview.pictures, PREVIEW_PIXELS))
                return {"preview": pictures.to_data_uri(grid), "done": done, "line": line}

            yield show
        made.append(preview.pictures)
    told = compared(recipe, kept, made)
    yield lambda: told


def compared(recipe: dict[str, Any], kept: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> Told:
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
    drawn = {name: pictures.to_data_uri(sheet.draw(recipe, which)) for name, which in sheets.items()}
    return {"done": 1.0, "same": False, "says": says, **drawn}
