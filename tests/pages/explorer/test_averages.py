"""The averages explorer: each length that the snapshots can make, drawn by exactly those weights, and no other."""

import dataclasses
import json
import threading

import numpy as np
import pytest

from ddpm_core import gallery, pictures, recipes
from ddpm_core.exploring.averages import LENGTHS
from pages.explorer import KNOWN, averages
from pages.explorer.stream import Explorers

HOW = {"model": "toys/ddpm_best.pt", "seed": 3, "samples": 2, "steps": 3, "sampler": "ddim"}


@pytest.fixture
def run(session, toy_snapshots):
    return toy_snapshots(session.root, "toys", range(256, 2305, 256))


def drawn_by(session, run, length, seeds, **how):
    from ddpm_core.generator import Generator
    from ddpm_core.training import snapshots

    plain = session.shelf.take(run.best_path)
    model = dataclasses.replace(plain.model, weights=snapshots.reconstruct(run, length))
    *_, last = Generator(model, run.best_path, plain.device, session.turns).sample(seeds, **how)
    return last.pictures


def follow(shown, every):
    told = {}
    shown = list(shown)
    for show in [*shown[::every], shown[-1]]:
        told |= {each["length"]: each for each in show().get("averages", [])}
    return told


@pytest.mark.parametrize("every", [1, 1000])
def test_every_average_arrives_drawn_by_its_own_weights(session, run, listen, every):
    told = follow(averages.make(session, HOW), every)
    assert sorted(told) == list(LENGTHS) and all(each["done"] for each in told.values())
    for length in (0.03, 0.2):
        drawn = listen.tiles(listen.pixels(told[length]["src"]), 16, gap=1)
        assert (drawn == drawn_by(session, run, length, [3, 4], steps=3, sampler="ddim")).all()
    assert len({each["src"] for each in told.values()}) == len(LENGTHS)


def test_the_file_is_a_grid_with_a_row_an_average_and_a_column_a_seed(session, run, listen):
    told = listen.last(averages.make(session, HOW))
    assert told["done"] == 1 and told["line"].startswith("Drag the slider")
    (file,) = told["files"]
    assert file["name"] == "toys_averages_seed3.png"
    recipe = recipes.read_recipe(listen.content(file["href"]))
    assert (recipe["what"], recipe["seeds"], recipe["ema"]) == ("ema", [3, 4], list(LENGTHS))
    assert (recipe["sampler"], recipe["steps"], recipes.count(recipe)) == ("ddim", 3, 14)
    assert recipe["ema_step"] == 2304
    drawn = listen.tiles(listen.pixels(file["href"]), 16, gap=2, scale=8)
    assert (drawn[2:4] == drawn_by(session, run, LENGTHS[1], [3, 4], steps=3, sampler="ddim")).all()
    (entry,) = gallery.history(session.root)
    assert (entry.run, entry.what, entry.seed, entry.count) == ("toys", "ema", 3, 14)
    kept = entry.path.read_bytes()
    assert recipes.read_recipe(kept) == recipe
    assert (gallery.pixels(kept) == np.asarray(pictures.grid(drawn, 2))).all()


def test_what_the_snapshots_cannot_make_is_left_out(session, toy_snapshots):
    toy_snapshots(session.root, "toys", [256, 512])
    told = follow(averages.make(session, HOW), 1)
    assert 0 < len(told) < len(LENGTHS) and 0.25 not in told
    recipe = recipes.read_recipe(gallery.history(session.root)[0].path.read_bytes())
    assert recipe["ema"] == sorted(told)


def test_without_snapshots_it_says_why(session, listen):
    assert "toys has no snapshots of its weight averages" in listen.refused(averages.make(session, HOW))


def test_a_damaged_snapshot_is_one_line_with_its_name(session, run, listen):
    path = run.snapshot_path(512)
    path.write_bytes(path.read_bytes()[:-300])
    assert "step_512.pt is incomplete or damaged" in listen.refused(averages.make(session, HOW))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": -1}, "the seed is -1"),
        ({"seed": "3"}, "the seed is '3'"),
        ({"seed": float("inf")}, "the seed is inf"),
        ({"seed": True}, "the seed is True"),
        ({"seed": None}, "the seed is empty"),
        ({"seed": 2**53 - 1}, "the seed is 9007199254740991"),
        ({"samples": 0}, "the number of samples is 0"),
        ({"samples": 17}, "the number of samples is 17"),
        ({"samples": [9]}, "the number of samples is [9]"),
        ({"steps": 0}, "the number of steps is 0"),
        ({"steps": [3]}, "the number of steps is [3]"),
        ({"sampler": "rk45"}, "no sampler 'rk45'"),
        ({"sampler": ["ddim"]}, "no sampler ['ddim']"),
        ({"sampler": {"a": 1}}, "no sampler {'a': 1}"),
    ],
)
def test_what_cannot_work_is_one_line(session, run, listen, change, words):
    assert words in listen.refused(averages.make(session, {**HOW, **change}))


def test_cancel_stops_between_two_network_calls_and_the_next_question_works_at_once(session, run, listen, monkeypatch):
    from ddpm_core.generator import Generator

    calls, inside, go_on, advance = [], threading.Event(), threading.Event(), Generator._advance

    def watched(self, walks):
        calls.append(len(walks))
        if len(calls) == 4:
            inside.set()
            assert go_on.wait(30)
        return advance(self, walks)

    monkeypatch.setattr(Generator, "_advance", watched)
    explorers = Explorers(session, KNOWN)
    asked = {**HOW, "steps": 50}
    lines = explorers._lines("page/averages", lambda: averages.make(session, asked))
    assert json.loads(next(lines)) == {"busy": True}
    job = explorers.desk.current("page/averages")
    assert inside.wait(30)
    explorers.desk.clear("page/averages")  # as Cancel does
    assert json.loads(list(lines)[-1])["cancelled"] is True
    go_on.set()
    assert job.join(30), "its thread goes on"
    assert len(calls) == 4  # the one that was under way was the last
    assert listen.turn_is_free(session) and gallery.history(session.root) == []

    again = [json.loads(line) for line in explorers._lines("page/averages", lambda: averages.make(session, HOW))]
    assert again[-1]["cancelled"] is False and "error" not in again[-1]
    assert len(gallery.history(session.root)) == 1
