"""How long a run is."""

import dataclasses

import pytest

from ddpm_core.config import RunConfig, default_epochs
from ddpm_core.training.length import Length, epochs_begun

CONFIG = RunConfig(batch_size=32)


@pytest.mark.parametrize(
    ("epochs", "max_steps", "expected"),
    [
        (3, None, (3, 10)),  # 300 pictures: nine batches and a part
        (3, 7, (3, 7)),
        (3, 10, (3, 10)),
        (3, 11, (3, 10)),
        (1, None, (1, 4)),
    ],
)
def test_epochs_are_steps_of_a_batch_and_a_limit_only_shortens(epochs, max_steps, expected):
    assert Length.of(dataclasses.replace(CONFIG, epochs=epochs, max_steps=max_steps), 100) == expected


def test_without_epochs_a_run_is_as_long_as_suits_its_set():
    epochs, steps = Length.of(CONFIG, 400)
    assert epochs == default_epochs(400) == 2500 and steps == 2500 * 400 / 32


def test_an_epoch_has_begun_with_its_first_picture():
    assert [epochs_begun(step, CONFIG, 64) for step in (0, 1, 2, 3, 5)] == [0, 1, 1, 2, 3]
    assert [epochs_begun(step, CONFIG, 16) for step in (1, 2)] == [2, 4]
