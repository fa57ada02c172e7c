"""All pictures of one recipe on one sheet, which is what a PNG shows, and the sheet cut up again. Knows no torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ddpm_core import pictures, recipes
from ddpm_core.errors import UsageError

GAP = 2  # white pixels between the pictures, before they are enlarged


def draw(recipe: dict[str, Any], made: Sequence[np.ndarray], scale: int | None = None) -> Image.Image:
    """The sheet of a checked recipe. `made` is uint8 (N, S, S, C), one for each of its models (all but "compare" have one).

    Viewers blur small pictures, so each pixel becomes scale x scale; None: so many that a picture is about 128 pixels high.
    What is written beside the pictures of a comparison comes from the recipe alone: drawn anew, it is the same.
    """
    if recipe["what"] == "compare":
        return pictures.comparison([(_label(model), rows) for model, rows in zip(recipe["models"], made, strict=True)])
    return pictures.enlarge(pictures.grid(made[0], gap=GAP), scale or max(1, 128 // recipe["size"]))


def cut(recipe: dict[str, Any], sheet: np.ndarray) -> list[np.ndarray]:
    """The pictures on a sheet that `draw` made, at any scale: uint8 (N, S, S, C) for each model, just as they were.

    `sheet` is uint8 (H, W, C). Those of a comparison come back with its sheet's three channels. Raises `UsageError` for a
    sheet that is laid out otherwise.
    """
    compared = recipe["what"] == "compare"
    made = _cut_comparison(recipe, sheet) if compared else [_cut_grid(recipe, sheet)]
    if any(rows is None for rows in made):
        raise UsageError("this picture was laid out by another program: its parts cannot be told apart.")
    return [rows for rows in made if rows is not None]


def place(recipe: dict[str, Any], index: int) -> tuple[int, int]:
    """(row, column) of picture `index` on a sheet that is no comparison."""
    return divmod(index, pictures.near_square(recipes.count(recipe)))


def _cut_grid(recipe: dict[str, Any], sheet: np.ndarray) -> np.ndarray | None:
    count, side = recipes.count(recipe), recipe["size"]
    columns = pictures.near_square(count)
    rows = -(-count // columns)
    width, height = columns * (side + GAP) + GAP, rows * (side + GAP) + GAP
    scale = sheet.shape[1] // width
    if scale < 1 or sheet.shape[:2] != (height * scale, width * scale):
        return None
    small = sheet[::scale, ::scale]
    corners = (place(recipe, index) for index in range(count))
    tops = [(GAP + row * (side + GAP), GAP + column * (side + GAP)) for row, column in corners]
    return np.stack([small[top : top + side, left : left + side] for top, left in tops])


def _cut_comparison(recipe: dict[str, Any], sheet: np.ndarray) -> list[np.ndarray | None]:
    sides, count = [model["size"] for model in recipe["models"]], len(recipe["seeds"])
    blank = [np.zeros((count, side, side, 1), np.uint8) for side in sides]
    if draw(recipe, blank).size != (sheet.shape[1], sheet.shape[0]):
        return [None]
    top, made, gap = 0, [], pictures.COMPARISON_GAP
    for side in sides:
        scale = pictures.comparison_scale(side, max(sides))
        large, top = side * scale, top + pictures.BAND + gap
        lefts = [gap + index * (large + gap) for index in range(count)]
        made.append(np.stack([sheet[top : top + large : scale, left : left + large : scale] for left in lefts]))
        top += large + gap
    return [*made]


def _label(model: dict[str, Any]) -> str:
    return (
        f"{model['run']} ({model['model']}), step {model['trained_steps']:,}, {model['size']} x {model['size']} pixels"
    )
