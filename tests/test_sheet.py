"""What is drawn on a sheet can be cut out of it again, just as it was, whatever the scale."""

import numpy as np
import pytest

from ddpm_core import gallery, pictures, recipes, sheet
from ddpm_core.errors import UsageError

MODEL = {"run": "toy", "model": "ddpm_best.pt", "hash": "0123456789ab", "trained_steps": 1482, "size": 16}
HOW = {"sampler": "ddim", "steps": 5}


def noise(count, side=16, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def grid(count, **fields):
    return recipes.compose("sample", **{**MODEL, **HOW, "seeds": list(range(count)), **fields})


def there_and_back(recipe, made, scale=None):
    """Through the very PNG."""
    png = pictures.to_png_bytes(sheet.draw(recipe, made, scale), recipe=recipe)
    return sheet.cut(recipe, gallery.pixels(png))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17])
@pytest.mark.parametrize("scale", [None, 1, 3])
def test_a_grid_there_and_back(count, scale, channels):
    made = noise(count, channels=channels)
    (back,) = there_and_back(grid(count), [made], scale)
    assert np.array_equal(back, made)


def test_a_walk_there_and_back():
    made = noise(7)
    recipe = recipes.compose("interpolate", **MODEL, **HOW, seeds=[1, 2], mix=[[i / 6] for i in range(7)])
    assert np.array_equal(there_and_back(recipe, [made])[0], made)


@pytest.mark.parametrize("sides", [[16], [16, 32], [64, 16, 48], [256, 32]])
def test_a_comparison_of_any_sizes_there_and_back(sides):
    models = [{**MODEL, "size": side} for side in sides]
    recipe = recipes.compose("compare", models=models, **HOW, seeds=[3, 4])
    made = [noise(2, side, seed=side) for side in sides]
    back = there_and_back(recipe, made)
    assert all(np.array_equal(one, other) for one, other in zip(back, made, strict=True))


def test_a_grey_model_in_a_comparison_comes_back_with_three_equal_channels():
    recipe = recipes.compose("compare", models=[MODEL, MODEL], **HOW, seeds=[3])
    grey, colour = noise(1, channels=1), noise(1)
    back = there_and_back(recipe, [grey, colour])
    assert np.array_equal(back[0], np.broadcast_to(grey, (1, 16, 16, 3))) and np.array_equal(back[1], colour)


def test_small_pictures_become_large_enough_for_viewers_that_blur():
    assert sheet.draw(grid(4), [noise(4)]).width >= 2 * 128
    assert sheet.draw(grid(4, size=256), [noise(4, 256)]).width == 2 * 258 + 2


def test_a_sheet_that_is_laid_out_otherwise_is_refused():
    drawn = np.asarray(sheet.draw(grid(4), [noise(4)]))
    for wrong in (drawn[:-1], drawn[:, :-1], drawn[:8, :8], drawn.repeat(2, 0)):
        with pytest.raises(UsageError, match="laid out by another program"):
            sheet.cut(grid(4), wrong)
    with pytest.raises(UsageError):
        sheet.cut(grid(25), drawn)
    compared = recipes.compose("compare", models=[MODEL], **HOW, seeds=[3])
    with pytest.raises(UsageError):
        sheet.cut(compared, drawn)


@pytest.mark.parametrize("columns", [1, 2, 4, 6, 7])
@pytest.mark.parametrize("scale", [1, 3])
def test_a_grid_of_any_width_there_and_back(columns, scale):
    made, recipe = noise(7), grid(7)
    drawn = pictures.enlarge(pictures.grid(made, columns), scale)
    (back,) = sheet.cut(recipe, np.asarray(drawn))
    assert np.array_equal(back, made) and sheet.layout(recipe, np.asarray(drawn)) == (columns, scale)
    assert np.array_equal(np.asarray(sheet.draw(recipe, [made], scale, columns)), np.asarray(drawn))


def test_no_two_layouts_have_one_size():
    """Otherwise a sheet could be cut up wrongly, and another picture would pass for a spoiled one."""
    for size in (1, 16, 30):
        for count in (1, 2, 7, 24):
            step, seen = size + 2, set()
            for columns in range(1, count + 1):
                rows = -(-count // columns)
                for scale in range(1, 40):
                    shape = ((rows * step + 2) * scale, (columns * step + 2) * scale)
                    assert shape not in seen
                    seen.add(shape)
                    if columns in (1, count):  # (all of them take a second)
                        blank = np.broadcast_to(np.uint8(0), (*shape, 3))
                        assert sheet.layout(grid(count, size=size), blank) == (columns, scale)


def test_each_kind_has_its_own_columns():
    steps = recipes.compose("steps", **MODEL, seeds=[1], sampler=["ddim", "heun"], steps=[2, 3, 5])
    averages = recipes.compose("ema", **MODEL, **HOW, seeds=[1, 2], ema=[0.1, 0.2, 0.25])
    story = recipes.compose("trajectory", **MODEL, **HOW, seeds=[1], stops=[1, 2, 4, 5])
    assert [sheet.columns_of(recipe) for recipe in (steps, averages, story, grid(5))] == [3, 2, 4, 3]
    assert [recipes.count(recipe) for recipe in (steps, averages, story)] == [6, 6, 8]
    assert sheet.draw(steps, [noise(6)], 1).size == (3 * 18 + 2, 2 * 18 + 2)


@pytest.mark.parametrize("side", [16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_as_the_page_shows_it(side, channels):
    """Saved from the page with the browser's own menu: the paper between its pictures is transparent there."""
    from pages import drawing

    made, recipe = noise(5, side, channels), grid(5, size=side)
    (back,) = sheet.cut(recipe, gallery.pixels(pictures.to_png_bytes(drawing.grid(made), recipe=recipe)))
    assert np.array_equal(back, np.broadcast_to(made, (5, side, side, 3)))


def test_one_picture_without_anything_around_it():
    made = noise(1)
    recipe = recipes.compose("pad", **MODEL, **HOW, seeds=[1, 2, 3, 4], mix=[[0.5, 0.25]])
    assert np.array_equal(sheet.cut(recipe, made[0])[0], made)
    assert np.array_equal(sheet.cut(grid(1), made[0])[0], made)


def test_a_comparison_that_would_be_larger_than_its_sheet_is_not_drawn(monkeypatch):
    """A few bytes of a stranger's recipe could ask for all memory."""
    models = [{**MODEL, "size": 4096}] * 32
    recipe = recipes.compose("compare", models=models, **HOW, seeds=[3] * 1024)
    monkeypatch.setattr(sheet, "draw", lambda *_: pytest.fail("drawn"))
    with pytest.raises(UsageError, match="laid out by another program"):
        sheet.cut(recipe, np.zeros((100, 100, 3), np.uint8))
