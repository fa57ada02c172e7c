"""How much of a picture is in large shapes and how much in fine detail: power spectra, averaged over directions.

Beside the data's own spectrum a model's shows at one glance what the eye sees late: missing detail (the line falls away
on the right), leftover noise (it flattens out), washed-out large shapes (it starts too low). Knows no torch.
"""

import numpy as np

_CHUNK = 64  # pictures transformed at once


def radial_power(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, H, W, C), N >= 1 -> frequency (K,) in cycles per picture, 1 to half the shorter side, and power (K,).

    power[k] is the mean square of one Fourier coefficient of the picture, values 0..1, over all directions with
    frequency[k], the pictures and the channels; summed over all coefficients it is the pictures' variance. A coefficient is
    of a wave over the whole picture, whatever its pixels: a picture enlarged twice has the same power at the same
    frequency, and spectra of 32 and 256 px lie in one chart. The corners beyond half a side, where rings are not whole, are
    left out. White noise is flat; photographs fall about as 1 / frequency^2.
    """
    count, height, width, _ = pictures.shape
    total = sum(_power(pictures[i : i + _CHUNK]) for i in range(0, count, _CHUNK))
    rings, times = _rings(height, width)
    last = min(height, width) // 2
    inside = np.bincount(rings.ravel(), times.ravel())
    sums = np.bincount(rings.ravel(), (times * total / count).ravel())
    return np.arange(1, last + 1, dtype=float), (sums / np.maximum(inside, 1))[1 : last + 1]


def _power(pictures: np.ndarray) -> np.ndarray:
    """(N, H, W, C) -> (H, W // 2 + 1): the power of each coefficient, summed over the pictures, mean over the channels.

    A Fourier series takes what leaves a picture on the right to come in again on the left. Where the two do not fit, that
    jump is a shape with all frequencies, and it covers exactly what a chart like this is for: the missing detail of a
    blurred picture. So pictures fade out towards their edges (Hann window), after their mean was taken away, or the fading
    of a white ground would be the largest shape of all. The price: neighbouring frequencies mix a little (the lowest, which
    has the mean for a neighbour, comes out 7 % low for noise), and the middle of a picture counts more than its rim.
    """
    _, height, width, channels = pictures.shape
    window = np.outer(_hann(height), _hann(width))[None, :, :, None]
    x = pictures.astype(np.float64) / 255
    x -= x.mean((1, 2), keepdims=True)
    coefficients = np.fft.rfft2(x * window, axes=(1, 2))
    squares = (coefficients.real**2 + coefficients.imag**2).sum((0, 3)) / channels
    return squares / (height * width * (window**2).sum())


def _hann(side: int) -> np.ndarray:
    """Taken at the middles of the pixels, so that it is the same curve over the picture at every resolution."""
    return np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2


def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """For each coefficient of rfft2: its distance from the origin in whole cycles per picture, and how often it stands in the
    full plane: twice, but in the columns that hold their own mirror images."""
    rows, columns = np.fft.fftfreq(height, 1 / height), np.arange(width // 2 + 1)
    rings = np.rint(np.hypot(rows[:, None], columns[None, :])).astype(int)
    alone = (columns == 0) | (2 * columns == width)
    return rings, np.broadcast_to(np.where(alone, 1.0, 2.0), rings.shape)
