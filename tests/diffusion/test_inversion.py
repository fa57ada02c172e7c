import math
import weakref
from itertools import pairwise

import pytest
import torch

from ddpm_core.diffusion import inversion, latents, samplers, schedule

SHAPE = (3, 8, 8)


def a_gaussian(s=0.5):
    """The exact belief where pictures are N(0, s^2); s is a number, or one a channel: (C, 1, 1)."""

    def denoise(x, alpha, sigma):
        return alpha * s**2 / (alpha**2 * s**2 + sigma**2) * x

    return denoise


def two_points(a, b):
    """The exact belief where there are two pictures, a and b (C, H, W), equally often: between them it turns within a step."""

    def denoise(x, alpha, sigma):
        far = [((x - alpha * point) ** 2).flatten(1).sum(1) / (2 * sigma**2) for point in (a, b)]
        share = torch.sigmoid(far[1] - far[0]).view(-1, 1, 1, 1)
        return share * a + (1 - share) * b

    return denoise


def some_pictures(count=3):
    return 0.5 * latents.noise(range(50, 50 + count), SHAPE)


def last(walk):
    return list(walk)[-1].x


def there_and_back(denoise, x0, levels, **options):
    noise = last(inversion.invert(denoise, x0, levels, clip=False, **options))
    return noise, last(samplers.ddim(denoise, noise, levels, clip=False))


def smooth_levels(steps):
    """Even in ln(sigma / alpha), from 40 to 0.01, then the picture."""
    rows = torch.stack(schedule.at(torch.linspace(math.log(40), math.log(0.01), steps, dtype=torch.float64)), 1)
    return torch.cat([rows, torch.tensor([[1.0, 0.0]], dtype=torch.float64)])


@pytest.mark.parametrize("table", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [5, 20, 200])
def test_a_picture_comes_back_from_its_noise(table, steps):
    """On the tables' own staircases, whose last steps are the longest ones: 20 of them go from sigma 0.08 to 0."""
    x0, levels = some_pictures(), schedule.by_name(table).levels(steps, sigma_max=80.0)
    _, again = there_and_back(a_gaussian(), x0, levels, refinements=3)
    assert (again - x0).abs().max() < 1e-3


def test_the_noise_is_the_one_that_the_exact_walk_comes_from():
    """For a Gaussian it only scales by the ratio of standard deviations; the error of a walk of first order halves with its steps."""
    x0, errors = some_pictures(), []
    for steps in (50, 100, 200):
        levels = smooth_levels(steps)
        (alpha, sigma), exact = levels[0].tolist(), math.hypot(0.5 * levels[0, 0], levels[0, 1]) / 0.5
        noise, _ = there_and_back(a_gaussian(), x0, levels)
        assert 0.8 < exact * 0.5 / math.hypot(0.5 * alpha, sigma) < 1.2
        errors.append(((noise - exact * x0).norm() / (exact * x0).norm()).item())
    assert errors[0] < 0.1
    assert all(1.7 < coarse / fine < 2.3 for coarse, fine in pairwise(errors)), errors


def test_the_round_trip_gets_better_with_refinements_and_with_steps():
    x0 = some_pictures()
    denoise = a_gaussian(
        torch.tensor([0.1, 0.5, 2.0])[:, None, None]
    )  # of one s alone, the second guess would be right

    def error(steps, refinements):
        _, again = there_and_back(denoise, x0, smooth_levels(steps), refinements=refinements)
        return (again - x0).abs().max().item()

    by_refinements = [error(20, refinements) for refinements in (0, 1, 2)]
    assert all(better < worse / 3 for worse, better in pairwise(by_refinements)), by_refinements
    by_steps = [error(steps, 0) for steps in (20, 40, 80)]
    assert all(better < worse / 1.5 for worse, better in pairwise(by_steps)), by_steps


def test_steps_in_which_sigma_more_than_doubles_are_undone_too():
    """Where the belief follows x, plain repetition multiplies its error by up to the ratio less one: here 1.6, it diverges."""
    sigmas = torch.tensor([2.6**-k for k in range(5)], dtype=torch.float64)
    levels = torch.cat([torch.stack(schedule.at(sigmas.log()), 1), torch.tensor([[1.0, 0.0]], dtype=torch.float64)])
    denoise = a_gaussian(torch.tensor([0.5, 2.0, 4.0])[:, None, None])
    errors = [
        (there_and_back(denoise, some_pictures(), levels, refinements=refinements)[1] - some_pictures()).abs().max()
        for refinements in (0, 2, 4, 8)
    ]
    assert all(better < worse / 3 for worse, better in pairwise(errors)), errors
    assert errors[1] < 0.1 and errors[-1] < 1e-3, errors


def test_two_pictures_come_back_each_as_itself():
    """The belief is anything but linear: at sigma about 1 it turns from one picture to the other."""
    a, b = some_pictures(2)
    x0 = torch.stack([a, b, a])
    noise, again = there_and_back(two_points(a, b), x0, smooth_levels(40))
    assert (again - x0).abs().max() < 1e-3
    assert torch.equal(noise[0], noise[2]) and (noise[0] - noise[1]).norm() > 0.1 * (a - b).norm()


def test_the_noise_that_a_picture_was_drawn_from_is_found_again():
    """Up to the last step, which forgets: pictures of one Gaussian keep all that their noise said."""
    noise, levels = latents.noise([1, 2], SHAPE), smooth_levels(60)
    x0 = last(samplers.ddim(a_gaussian(), noise, levels, clip=False))
    found = last(inversion.invert(a_gaussian(), x0, levels, clip=False))
    assert (found - noise).abs().max() < 1e-3


def test_a_staircase_that_ends_before_the_picture_is_walked_from_its_end():
    levels, x = smooth_levels(30)[:-1], latents.noise([1], SHAPE)
    down = last(samplers.ddim(a_gaussian(), x, levels, clip=False))
    up = last(inversion.invert(a_gaussian(), down, levels, clip=False, refinements=4))
    assert (up - x).abs().max() < 1e-3


def test_clipped_walks_are_undone_as_they_were_walked():
    x0 = some_pictures().mul(3).clamp(-1, 1)  # much of it black and white, as drawings are
    levels = smooth_levels(30)
    noise = last(inversion.invert(a_gaussian(2.0), x0, levels))
    again = last(samplers.ddim(a_gaussian(2.0), noise, levels))
    assert inversion.reconstruction_error(x0, again).psnr.min() > 45


@pytest.mark.parametrize("refinements", [0, 2])
def test_it_yields_after_every_call_and_knows_how_many_there_are(refinements):
    calls = []

    def denoise(x, alpha, sigma):
        calls.append((alpha, sigma))
        return a_gaussian()(x, alpha, sigma)

    x0, levels = some_pictures(), smooth_levels(10)
    kept = x0.clone()
    walk = inversion.invert(denoise, x0, levels, refinements=refinements)
    assert not calls
    for number, step in enumerate(walk, start=1):
        assert len(calls) == number == step.index and step.steps == 10 * (1 + refinements)
        assert step.x.shape == step.x0.shape == x0.shape and step.x.dtype == torch.float32
    assert len(calls) == 10 * (1 + refinements) and torch.equal(x0, kept)
    assert calls[:: 1 + refinements] == [
        tuple(row) for row in levels.flip(0)[1:].tolist()
    ]  # never at sigma 0, where no network was trained


def test_the_same_bits_alone_and_in_a_batch():
    a, b = some_pictures(2)
    x0, levels = some_pictures(5), schedule.cosine().levels(8)
    together = last(inversion.invert(two_points(a, b), x0, levels))
    for i in range(5):
        alone = last(inversion.invert(two_points(a, b), x0[i : i + 1], levels))
        assert torch.equal(alone[0], together[i])


def test_a_walk_of_many_steps_holds_no_more_than_one_of_few():
    alive, most = [], {}

    def denoise(x, alpha, sigma):
        alive.append(weakref.ref(x))
        return a_gaussian()(x, alpha, sigma)

    for steps in (10, 80):
        alive.clear()
        most[steps] = max(
            sum(state() is not None for state in alive)
            for _ in inversion.invert(denoise, some_pictures(), smooth_levels(steps))
        )
    assert most[10] == most[80] <= 4


def test_the_error_of_a_reconstruction_in_decibels_and_8_bit_steps():
    original = torch.zeros(2, 3, 4, 4)
    again = original.clone()
    again[1] += 2 / 255  # one step everywhere
    psnr, mean = inversion.reconstruction_error(original, again)
    assert psnr[0] == math.inf and mean[0] == 0
    assert psnr[1].item() == pytest.approx(20 * math.log10(255), abs=1e-3) and mean[1].item() == pytest.approx(1)
    outside = inversion.reconstruction_error(torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 1.5))
    assert outside.psnr == math.inf  # white is white on a screen
