"""Known pictures have their known spectra, and those of two resolutions can be laid one on the other."""

import subprocess
import sys

import numpy as np
import pytest

from ddpm_core.evaluation.spectrum import radial_power


def noise(count=64, size=32, channels=3, seed=0, deviation=30.0):
    levels = np.random.default_rng(seed).normal(128, deviation, (count, size, size, channels))
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def wave(frequency, size=64, angle=0.0, phase=0.3, height=100.0):
    """One grey picture of a wave with so many cycles over its side."""
    at = (np.arange(size) + 0.5) / size
    along = at[None, :] * np.cos(angle) + at[:, None] * np.sin(angle)
    return np.rint(128 + height * np.sin(2 * np.pi * frequency * along + phase)).astype(np.uint8)[None, :, :, None]


def falling(slope, size, count=24, seed=0):
    """Pictures whose coefficients have power 1 / frequency^slope, the same large shapes at every size."""
    generator = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(size, 1 / size), np.arange(size // 2 + 1)
    radius = np.maximum(np.hypot(rows[:, None], columns), 1.0)
    shape = (count, size, len(columns))
    coefficients = (generator.normal(size=shape) + 1j * generator.normal(size=shape)) / radius ** (slope / 2)
    coefficients[:, 0, 0] = 0
    pictures = np.fft.irfft2(coefficients, (size, size))
    return np.clip(np.rint(128 + 35 * pictures / pictures.std()), 0, 255).astype(np.uint8)[..., None]


def slope_of(frequency, power, low, high):
    there = (frequency >= low) & (frequency <= high)
    return np.polyfit(np.log(frequency[there]), np.log(power[there]), 1)[0]


@pytest.mark.parametrize("frequency, angle", [(5, 0.0), (5, np.pi / 2), (12, 0.6), (25, 0.2)])
def test_a_wave_is_a_peak_at_its_frequency_in_any_direction(frequency, angle):
    at, power = radial_power(wave(frequency, angle=angle))
    assert at[power.argmax()] == frequency
    assert power[np.abs(at - frequency) > 3].max() < power.max() / 1000


def test_all_coefficients_together_have_the_variance():
    pictures = noise(size=64)
    frequency, power = radial_power(pictures)
    there = np.hypot(*np.meshgrid(np.fft.fftfreq(64, 1 / 64), np.fft.fftfreq(64, 1 / 64)))
    inside = np.array([(np.rint(there) == k).sum() for k in frequency])
    share = inside.sum() / (64 * 64)  # the corners are left out
    assert (power * inside).sum() == pytest.approx(share * (pictures / 255).var(), rel=0.02)


def test_white_noise_is_flat():
    frequency, power = radial_power(noise(200))
    assert frequency.tolist() == list(range(1, 17))
    assert power.max() / power.min() < 1.15
    assert power.mean() == pytest.approx((30 / 255) ** 2 / 32**2, rel=0.02)


@pytest.mark.parametrize("slope", [1, 2, 3])
def test_a_power_law_keeps_its_slope(slope):
    assert slope_of(*radial_power(falling(slope, 128)), 4, 60) == pytest.approx(-slope, abs=0.15)


def test_a_picture_and_its_enlargement_agree_at_low_frequencies():
    small = falling(2, 64)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    (f, power), (f_large, power_large) = radial_power(small), radial_power(large)
    assert len(f) == 32 and len(f_large) == 64 and np.array_equal(f_large[:32], f)
    assert power_large[:8] == pytest.approx(power[:8], rel=0.06)


def test_the_same_wave_has_the_same_power_at_every_resolution():
    tops = [radial_power(wave(4, size))[1][:6] for size in (32, 64, 256)]
    assert tops[0] == pytest.approx(tops[1], rel=0.02, abs=tops[1].max() / 1000)
    assert tops[2] == pytest.approx(tops[1], rel=0.02, abs=tops[1].max() / 1000)


def test_edges_that_do_not_fit_together_do_not_pass_for_detail():
    """A ramp from black to white has no detail at all; without fading it would have a step at its edge."""
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[None, None, :, None], (1, 64, 64, 1))
    _, power = radial_power(ramp)
    plain = np.abs(np.fft.fft2(ramp[0, :, :, 0] / 255)) ** 2 / 64**4
    assert power[20:].max() < 1e-8 and plain[0, 21:32].min() > 1e-5
    assert power[0] > 1e4 * power[20:].max()


def test_the_brightness_and_a_plain_picture_have_no_power():
    for level in (0, 128, 255):
        assert radial_power(np.full((2, 32, 32, 3), level, np.uint8))[1].max() < 1e-25
    darker = noise(deviation=20) // 2
    assert radial_power(darker + 100)[1] == pytest.approx(radial_power(darker)[1])


def test_grey_and_the_same_in_three_channels_agree():
    grey = noise(8, channels=1)
    assert radial_power(grey.repeat(3, axis=-1))[1] == pytest.approx(radial_power(grey)[1])


def test_the_mean_is_over_all_pictures_however_many_go_at_once():
    pictures = noise(130)
    parts = [radial_power(pictures[i : i + 1])[1] for i in range(130)]
    assert radial_power(pictures)[1] == pytest.approx(np.mean(parts, axis=0))


def test_sides_may_be_odd_or_differ():
    frequency, power = radial_power(noise(200, 31)[:, :, :21])
    assert frequency.tolist() == list(range(1, 11)) and power.max() / power.min() < 1.25


def test_spectra_need_no_torch():
    code = "import sys, ddpm_core.evaluation.spectrum; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
