"""Every ten epochs means every ten epochs, also after a resume, but not ten thousand files for eight pictures."""

import pytest

from ddpm_core.training import cadence


def numbers(every, steps, pictures, batch_size, resumed=0):
    """{step: number} of what is due in a run's steps after `resumed`, the first ones having been made by a run before."""
    rhythm, found = cadence.checkpoints(every), {}
    rhythm.replay(resumed, pictures, batch_size)
    for step in range(resumed + 1, steps + 1):
        due = rhythm.due((step - 1) * batch_size // pictures, step * batch_size // pictures, step)
        found |= {step: due} if due is not None else {}
    return found


def test_a_common_set_has_one_every_ten_epochs():
    assert [*numbers(10, steps=15_000, pictures=4495, batch_size=32).values()] == list(range(10, 101, 10))


def test_a_short_run_on_few_pictures_has_them_too():
    assert [*numbers(10, steps=20, pictures=8, batch_size=4).values()] == [10]
    assert [*numbers(5, steps=20, pictures=8, batch_size=4).values()] == [5, 10]


def test_eight_pictures_do_not_fill_the_disk():
    found = [*numbers(10, steps=31_250, pictures=8, batch_size=32).values()]
    assert 60 < len(found) < 130
    assert all(number % 10 == 0 for number in found) and found == sorted(set(found))
    assert len(numbers(1, steps=30, pictures=8, batch_size=32)) == 3


def test_the_best_model_is_written_now_and_then_where_epochs_are_short():
    rhythm = cadence.best()
    times = sum(rhythm.due((step - 1) // 60, step // 60, step) is not None for step in range(1, 20_001))
    assert 40 <= times <= 60  # of 333 epochs


@pytest.mark.parametrize(("pictures", "batch_size"), [(47_500, 128), (4271, 32), (8, 4), (8, 32), (100, 32)])
def test_a_resumed_run_keeps_time(pictures, batch_size):
    whole = numbers(10, 4000, pictures, batch_size)
    first = min(whole)
    for resumed in (1, first - 1, first, first + 1, 3500, max(whole) - 1):
        after = {step: number for step, number in whole.items() if step > resumed}
        assert numbers(10, 4000, pictures, batch_size, resumed) == after


def test_the_forecast_counts_what_the_run_does():
    for steps, pictures, batch_size in ((15_000, 4495, 32), (20, 8, 4), (5000, 100, 32), (3000, 8, 32), (5, 4495, 32)):
        told = cadence.checkpoints(10).replay(steps, pictures, batch_size)
        assert told == len(numbers(10, steps, pictures, batch_size))
