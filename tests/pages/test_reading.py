"""The sentence about a run is true: checked against losses made for each case."""

import math
import random

import pytest

from pages.reading import sentence, trend
from pages.texts import t


def noisy(values, spread, seed=0):
    chance = random.Random(seed)
    return [value + chance.gauss(0, spread) for value in values]


FALLING = noisy([1 - i / 400 for i in range(300)], 0.02)
LEVEL = noisy([0.2] * 300, 0.05)
RISING = noisy([0.1 + i / 400 for i in range(300)], 0.02)


@pytest.mark.parametrize(("losses", "word"), [(FALLING, "falling"), (LEVEL, "level"), (RISING, "rising")])
def test_trend_and_its_sentence(losses, word):
    key, early, late = trend(losses)
    assert key == word
    assert (late < early) == (word == "falling") or word == "level"
    assert sentence("running", 300, 19_200, 60.0, "", losses).startswith(t("sentence." + word).split("{")[0])


def test_a_change_too_small_to_matter_is_called_level():
    assert trend([0.2 - i * 1e-6 for i in range(3000)])[0] == "level"


def test_chance_is_not_called_a_trend():
    wrong = sum(trend(noisy([0.2] * 90, 0.05, seed))[0] != "level" for seed in range(300))
    assert wrong <= 6  # 3 standard errors: 0.3 % expected, 2 % allowed


@pytest.mark.parametrize(
    ("state", "losses", "words"),
    [
        ("preparing", [], "being prepared"),
        ("unknown", [], "no training step"),
        ("running", [0.5] * 5, "Just started: 320 pictures"),
        ("running", [0.5] * 40 + [None], "diverged"),
        ("running", [0.5] * 40 + [math.nan, math.nan], "diverged"),
        ("paused", [0.5] * 40, "Held at step 1,234"),
        ("stopped", [0.5] * 40, "Stopped at step 1,234"),
        ("interrupted", [0.5] * 40, "Interrupted at step 1,234"),
        ("failed", [0.5] * 40, "Failed at step 1,234: the disk is full"),
        ("finished", [0.9] + [0.5] * 40, "Finished: 320 pictures seen in 2 min 5 s. The loss went from 0.9 to 0.5"),
        ("finished", [], "no training step"),
    ],
)
def test_each_state_has_its_sentence(state, losses, words):
    text = sentence(state, 1234, 320, 125.0, "the disk is full", losses)
    assert words in text and "\n" not in text and "{" not in text


def test_a_run_that_was_stopped_before_its_first_step_is_not_called_saved():
    assert sentence("stopped", 0, 0, 0.0, "", []) == "Stopped before the first step."


def test_one_lost_line_is_not_called_divergence():
    assert "diverged" not in sentence("running", 300, 19_200, 60.0, "", [None, *LEVEL])
