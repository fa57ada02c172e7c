"""All pictures of one recipe on one sheet, which is what a PNG shows, and the sheet cut up again. Knows no torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ddpm_core import pictures, recipes
from ddpm_core.errors import UsageError

GAP = 2  # white pixels between the pictures, before they are enlarged


def shown_gap(side: int) -> int:
    """Pixels between the pictures of a grid as the page shows it, transparent there."""
    return max(1, side // 16)


def draw(
    recipe: dict[str, Any], made: Sequence[np.ndarray], scale: int | None = None, columns: int | None = None
) -> Image.Image:
    """The sheet of a checked recipe. `made` is uint8 (N, S, S, C), one for each of its models (all but "compare" have one).

    Viewers blur small pictures, so each pixel becomes scale x scale; None: so many that a picture is about 128 pixels high.
    `columns` None: as many as `columns_of` says. What is written beside the pictures of a comparison comes from the recipe
    alone: drawn anew, it is the same.
    """
    if recipe["what"] == "compare":
        return pictures.comparison([(_label(model), rows) for model, rows in zip(recipe["models"], made, strict=True)])
    grid = pictures.grid(made[0], columns or columns_of(recipe), GAP)
    return pictures.enlarge(grid, scale or max(1, 128 // recipe["size"]))


def columns_of(recipe: dict[str, Any]) -> int:
    """The columns of a sheet that is no comparison, where nobody chose others: each number of steps has one, each seed under
    several averages, each stop of a trajectory; else as square as it goes."""
    by = {"steps": "steps", "ema": "seeds", "trajectory": "stops"}.get(recipe["what"])
    return len(recipe[by]) if by else pictures.near_square(recipes.count(recipe))


def cut(recipe: dict[str, Any], sheet: np.ndarray) -> list[np.ndarray]:
    """The pictures on a sheet that `draw` made, the command line, or the page (pages/drawing.py), at any scale and in any number
    of columns: uint8 (N, S, S, C) for each model, just as they were.

    `sheet` is uint8 (H, W, C). Those of a comparison and of the page come back with their sheet's three channels. Raises `UsageError` for a
    sheet that is laid out otherwise.
    """
    compared = recipe["what"] == "compare"
    made = _cut_comparison(recipe, sheet) if compared else [_cut_grid(recipe, sheet)]
    if any(rows is None for rows in made):
        raise UsageError("this picture was laid out by another program: its parts cannot be told apart.")
    return [rows for rows in made if rows is not None]


def layout(recipe: dict[str, Any], sheet: np.ndarray) -> tuple[int, int] | None:
    """(columns, scale) of a sheet that is no comparison, uint8 (H, W, C); None where no layout fits.

    There is one at most: of two with the same gap and width, the one with fewer columns is enlarged more and has no fewer
    rows, so it is higher.
    """
    count, gap = recipes.count(recipe), _gap(recipe, sheet)
    height, width = sheet.shape[:2]
    step = recipe["size"] + gap
    for columns in range(1, count + 1):
        scale, rows = width // (columns * step + gap), -(-count // columns)
        if scale and (height, width) == ((rows * step + gap) * scale, (columns * step + gap) * scale):
            return columns, scale
    return None


def _gap(recipe: dict[str, Any], sheet: np.ndarray) -> int:
    """Pixels between its pictures: none where one is alone, as a place on the pad is; the page's where it can be seen through."""
    if recipes.count(recipe) == 1 and sheet.shape[:2] == (recipe["size"], recipe["size"]):
        return 0
    return shown_gap(recipe["size"]) if sheet.shape[2] == 4 else GAP


def _cut_grid(recipe: dict[str, Any], sheet: np.ndarray) -> np.ndarray | None:
    found = layout(recipe, sheet)
    if found is None:
        return None
    columns, scale = found
    side, gap, small = recipe["size"], _gap(recipe, sheet), sheet[::scale, ::scale, :3]
    corners = (divmod(index, columns) for index in range(recipes.count(recipe)))
    tops = [(gap + row * (side + gap), gap + column * (side + gap)) for row, column in corners]
    return np.stack([small[top : top + side, left : left + side] for top, left in tops])


def _cut_comparison(recipe: dict[str, Any], sheet: np.ndarray) -> list[np.ndarray | None]:
    sides, count = [model["size"] for model in recipe["models"]], len(recipe["seeds"])
    largest = max(sides)
    # A stranger's recipe may say anything: nothing larger than this sheet is drawn to compare with it.
    if sum(count * (side * pictures.comparison_scale(side, largest)) ** 2 for side in sides) > sheet[..., 0].size:
        return [None]
    blank = [np.zeros((count, side, side, 1), np.uint8) for side in sides]
    if draw(recipe, blank).size != (sheet.shape[1], sheet.shape[0]):
        return [None]
    top, made, gap = 0, [], pictures.COMPARISON_GAP
    for side in sides:
        scale = pictures.comparison_scale(side, largest)
        large, top = side * scale, top + pictures.BAND + gap
        lefts = [gap + index * (large + gap) for index in range(count)]
        made.append(np.stack([sheet[top : top + large : scale, left : left + large : scale] for left in lefts]))
        top += large + gap
    return [*made]


def _label(model: dict[str, Any]) -> str:
    return (
        f"{model['run']} ({model['model']}), step {model['trained_steps']:,}, {model['size']} x {model['size']} pixels"
    )
