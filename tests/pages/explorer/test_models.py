"""Models side by side: one noise for all sizes, and the chart of what their pictures are made of."""

import json

import numpy as np
import pytest
import torch

from ddpm_core.diffusion import latents, mixing
from pages.explorer import models
from pages.maker import Maker

HOW = {"steps": 3, "sampler": "ddim"}


@pytest.fixture
def maker(session, toy_run):
    toy_run(session.root, "large", size=32)
    toy_run(session.root, "grey", size=16, channels=1)
    session.current = lambda: (None, None)
    return Maker(session)


def compared(maker, names, samples=2, seed=5):
    keys = [f"{name}/ddpm_best.pt" for name in names]
    *_, told = (told for told in maker.compare("me", keys, samples, seed, **HOW) if "busy" in told)
    return told


def test_the_smallest_size_has_the_seeds_own_noise():
    noise = mixing.shared([5, 6], [16, 32], 16, 3)
    assert torch.equal(noise, latents.noise([5, 6], (3, 16, 16)))


def test_large_shapes_agree_between_sizes_and_with_grey():
    small, large = (mixing.shared([5], [16, 64], size, 3) for size in (16, 64))
    blocks = large.reshape(1, 3, 16, 4, 16, 4).mean((3, 5)) * 4
    torch.testing.assert_close(blocks, small, rtol=1e-4, atol=1e-5)
    grey = mixing.shared([5], [16, 64], 16, 1)
    assert grey.shape == (1, 1, 16, 16)
    torch.testing.assert_close(grey[:, 0], small.sum(1) / 3**0.5)


def test_the_smallest_models_pictures_are_its_own_bit_for_bit(maker, made, listen):
    told = compared(maker, ["toys", "large"])
    drawn = listen.tiles(listen.pixels(told["models"][0]["grid"]["src"])[..., :3], 16, gap=1)
    assert (drawn == made([5, 6], **HOW)).all()


def test_alone_every_model_draws_its_own_pictures(maker, made, listen):
    told = compared(maker, ["large"])
    drawn = listen.tiles(listen.pixels(told["models"][0]["grid"]["src"])[..., :3], 32, gap=2)
    assert (drawn == made([5, 6], **HOW, model="large")).all()


def test_the_chart_has_a_line_a_model_and_can_be_sent(maker):
    told = compared(maker, ["toys", "large", "grey"])
    assert [trace["name"].split(" · ")[0] for trace in told["figure"]["data"]] == ["toys", "large", "grey"]
    json.dumps(told["figure"], allow_nan=False)


def test_the_data_lies_under_the_lines_where_it_can_be_had(session, toy_run):
    rng = np.random.default_rng(0)
    folder = session.root / "pictures"
    folder.mkdir()
    from PIL import Image

    for i in range(6):
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8)).save(folder / f"{i}.png")
    from dataclasses import replace

    from ddpm_core.runs import Run

    run = Run(session.root, "toys")
    run.create(replace(run.config(), dataset=str(folder)))
    named = [("mine", rng.integers(0, 255, (2, 16, 16, 3), np.uint8))]
    figure = models.spectra(named, "toys", session.root, session.root)
    assert [trace["name"] for trace in figure["data"]] == ["the data", "mine"]


@pytest.mark.parametrize("run", ["toys", "gone"])
def test_without_the_data_the_models_are_compared_with_each_other(session, run):
    black = np.zeros((2, 16, 16, 1), np.uint8)
    figure = models.spectra([("one", black), ("two", black + 9)], run, session.root, session.root)
    assert [trace["name"] for trace in figure["data"]] == ["one", "two"]
    json.dumps(figure, allow_nan=False)


def test_a_part_of_the_models_is_never_lost(maker):
    told = compared(maker, ["toys", "large", "grey"])
    assert [model["name"] for model in told["models"]] == ["toys", "large", "grey"]
    assert all(model["grid"]["src"] and model["seconds"] for model in told["models"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": ["toys/ddpm_best.pt", ["large/ddpm_best.pt"]]}, "not there any more"),
        ({"models": {"toys/ddpm_best.pt": 1}}, "not there any more"),
        ({"models": [None]}, "not there any more"),
        ({"seed": "5"}, "the seed is '5'"),
        ({"seed": -1}, "the seed is -1"),
        ({"seed": float("inf")}, "the seed is inf"),
        ({"seed": True}, "the seed is true"),
        ({"samples": 17}, "the number of samples is 17"),
        ({"samples": [4]}, "the number of samples is [4]"),
        ({"sampler": ["ddim"]}, "no sampler ['ddim']"),
    ],
)
def test_a_question_that_cannot_work_is_one_line(maker, change, words):
    asked = {"models": ["toys/ddpm_best.pt"], "samples": 2, "seed": 5, **HOW, **change}
    (told,) = (told for told in maker.compare("me", **asked) if "busy" in told)
    assert set(told) == {"busy", "line"} and words in told["line"].lower()
    assert "\n" not in told["line"]


def test_a_damaged_model_among_them_is_one_line_and_the_turn_is_free(maker, session, listen):
    path = session.root / "checkpoints/large/ddpm_best.pt"
    path.write_bytes(path.read_bytes()[:-100])
    told = compared(maker, ["toys", "large"])
    assert set(told) == {"busy", "line"} and "incomplete or damaged" in told["line"]
    assert listen.turn_is_free(session)


def test_cancelled_or_closed_the_turn_is_free(maker, session, listen):
    keys = ["toys/ddpm_best.pt", "large/ddpm_best.pt"]
    for end in (lambda answers: maker.relay.cancel("me"), lambda answers: answers.close()):
        answers = maker.compare("me", keys, 16, 0, 1000, "ddim")
        assert any(told.get("view") for told in answers)  # on a busy machine words come first, any number of them
        end(answers)
        assert listen.turn_is_free(session)
