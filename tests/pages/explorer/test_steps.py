"""Steps and samplers side by side: every cell arrives, each is the model's own picture, and the clock is honest."""

import numpy as np
import pytest

from ddpm_core import gallery, pictures, recipes
from ddpm_core.config import SAMPLERS
from pages.explorer import steps

HOW = {"model": "toys/ddpm_best.pt", "seed": 7, "counts": [5, 2, 3], "samplers": ["ddim", "dpm++2m"]}


def follow(shown, every):
    """The cells that a watcher has who looks only now and then, and at the end."""
    cells = {}
    shown = list(shown)
    for show in [*shown[::every], shown[-1]]:
        cells |= {(cell["sampler"], cell["steps"]): cell for cell in show().get("cells", [])}
    return cells


@pytest.mark.parametrize("every", [1, 3, 1000])
def test_every_cell_is_the_models_own_picture_and_none_is_lost(session, made, listen, every):
    cells = follow(steps.make(session, HOW), every)
    assert sorted(cells) == [(name, count) for name in ("ddim", "dpm++2m") for count in (2, 3, 5)]
    for (name, count), cell in cells.items():
        assert cell["done"] and cell["seconds"] >= 0
        assert (listen.pixels(cell["src"]) == made([7], count, name)[0]).all()


def test_the_file_is_a_grid_with_a_row_a_sampler_and_a_column_a_number_of_steps(session, made, listen):
    told = listen.last(steps.make(session, HOW))
    assert told["done"] == 1 and told["line"] == "The picture of seed 7, again and again."
    (file,) = told["files"]
    assert file["name"] == "toys_steps_seed7.png"
    recipe = recipes.read_recipe(listen.content(file["href"]))
    chosen = [name for name in SAMPLERS if name in HOW["samplers"]]
    assert (recipe["what"], recipe["sampler"], recipe["steps"], recipe["seeds"]) == ("steps", chosen, [2, 3, 5], [7])
    drawn = listen.tiles(listen.pixels(file["href"]), 16, gap=2, scale=8)
    own = [made([7], count, name)[0] for name in chosen for count in (2, 3, 5)]
    assert (drawn == np.stack(own)).all()
    (entry,) = gallery.history(session.root)
    assert (entry.run, entry.what, entry.seed, entry.count) == ("toys", "steps", 7, 6)
    assert (entry.sampler, entry.steps) == ("several", None)
    kept = entry.path.read_bytes()
    assert recipes.read_recipe(kept) == recipe
    assert (gallery.pixels(kept) == np.asarray(pictures.grid(np.stack(own), 3))).all()


def test_progress_counts_network_calls(session):
    told = [show() for show in steps.make(session, {**HOW, "counts": [2], "samplers": ["ddim"]})]
    assert [each["line"] for each in told[:2]] == ["Network call 1 of 2.", "Network call 2 of 2."]
    assert [each["done"] for each in told] == [0.5, 1, 1]


def test_the_seconds_are_the_pictures_own_whoever_had_a_turn_meanwhile(session, monkeypatch):
    """Each look at the clock takes a second here, and each turn begins with an hour of somebody else's training."""
    now = [0.0]

    class Clock:
        @staticmethod
        def monotonic():
            now[0] += 1
            return now[0]

    turns = session.turns

    def late():
        now[0] += 3600
        return turns()

    monkeypatch.setattr(steps, "time", Clock)
    monkeypatch.setattr(session.shelf, "_turn", late)
    cells = follow(steps.make(session, HOW), 1)
    assert len(cells) == 6
    for (_, count), cell in cells.items():
        assert cell["seconds"] == count


@pytest.mark.parametrize("counts", [[], [1, 2, 3, 4, 5, 6, 7], None, 20, "20", {"0": 20}])
def test_too_few_and_too_many_numbers_of_steps(session, listen, counts):
    assert listen.refused(steps.make(session, {**HOW, "counts": counts})) == "Choose one to 6 numbers of steps."


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([0], "is 0"),
        ([1001], "is 1001"),
        ([2, "3"], "is '3'"),
        ([[2]], "is [2]"),
        ([2.5], "is 2.5"),
        ([True], "is True"),
        ([float("nan")], "is nan"),
        ([None], "is empty"),
    ],
)
def test_numbers_of_steps_that_are_none(session, listen, counts, words):
    assert "number of steps " + words in listen.refused(steps.make(session, {**HOW, "counts": counts}))


@pytest.mark.parametrize(
    ("samplers", "words"),
    [
        ([], "at least one sampler"),
        (None, "at least one sampler"),
        ("ddim", "at least one sampler"),
        (["rk45"], "no sampler 'rk45'"),
        (["ddim", "rk45"], "no sampler 'rk45'"),
        ([["ddim"]], "no sampler ['ddim']"),
        ([3], "no sampler 3"),
    ],
)
def test_samplers_that_are_none(session, listen, samplers, words):
    assert words in listen.refused(steps.make(session, {**HOW, "samplers": samplers}))


@pytest.mark.parametrize("seed", [-1, "7", True, 1e300, float("inf"), [7], 2**53, None])
def test_seeds_that_are_none(session, listen, seed):
    assert listen.refused(steps.make(session, {**HOW, "seed": seed})).startswith("the seed is ")


def test_more_work_than_anybody_waits_for_is_refused(session, listen):
    asked = {**HOW, "counts": [998, 999, 1000]}
    assert "more than 4000 network calls" in listen.refused(steps.make(session, asked))


def test_the_same_twice_is_drawn_once(session):
    asked = {**HOW, "counts": [2, 2.0, 2], "samplers": ["ddim", "ddim"]}
    assert list(follow(steps.make(session, asked), 1)) == [("ddim", 2)]
