"""Every ten epochs means every ten epochs, but not ten thousand files for eight pictures."""

from ddpm_core.training import cadence


def numbers(every, steps, pictures, batch_size):
    rhythm, found = cadence.checkpoints(every), []
    for step in range(1, steps + 1):
        due = rhythm.due((step - 1) * batch_size // pictures, step * batch_size // pictures, step)
        found += [due] if due is not None else []
    return found


def test_a_common_set_has_one_every_ten_epochs():
    assert numbers(10, steps=15_000, pictures=4495, batch_size=32) == list(range(10, 101, 10))


def test_a_short_run_on_few_pictures_has_them_too():
    assert numbers(10, steps=20, pictures=8, batch_size=4) == [10]
    assert numbers(5, steps=20, pictures=8, batch_size=4) == [5, 10]


def test_eight_pictures_do_not_fill_the_disk():
    found = numbers(10, steps=31_250, pictures=8, batch_size=32)
    assert 60 < len(found) < 130
    assert all(number % 10 == 0 for number in found) and found == sorted(set(found))


def test_the_forecast_counts_what_the_run_does():
    for steps, pictures, batch_size in ((15_000, 4495, 32), (20, 8, 4), (5000, 100, 32), (3000, 8, 32), (5, 4495, 32)):
        told = cadence.count(cadence.checkpoints(10), steps, pictures, batch_size)
        assert told == len(numbers(10, steps, pictures, batch_size))
