"""The nearest are the nearest, exactly; a copy is found out however often its picture is in the data."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from ddpm_core.errors import DataError, UsageError
from ddpm_core.evaluation import copies
from ddpm_core.evaluation.copies import Verdict, nearest


def some(count, size=8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def as_sample(picture):
    return picture.transpose(1, 2, 0).copy()


def nudged(picture, levels, seed=1):
    """The picture with every value up or down by `levels`, where the range allows."""
    sign = np.random.default_rng(seed).choice((-1, 1), picture.shape)
    return np.clip(picture.astype(int) + levels * sign, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels, size", [(1, 32), (3, 40), (3, 5)])
@pytest.mark.parametrize("flips", [True, False])
def test_distances_are_exact_and_in_order(channels, size, flips):
    images = some(700, size, channels)
    images[:3], images[3:6] = 255, 0  # the largest sums there can be
    for sample in (as_sample(some(1, size, channels, seed=9)[0]), as_sample(images[0]), as_sample(images[3])):
        found = nearest(sample, images, k=700, flips=flips)
        apart = images.astype(np.int64) - sample.transpose(2, 0, 1)
        mirrored = images.astype(np.int64) - sample.transpose(2, 0, 1)[:, :, ::-1]
        squares = np.stack([(d**2).sum((1, 2, 3)) for d in ((apart, mirrored) if flips else (apart,))]).min(0)
        assert np.array_equal(np.rint(found.distances**2).astype(np.int64), squares[found.indices])
        assert np.array_equal(found.distances, np.sqrt(squares[found.indices]))
        assert sorted(found.indices) == list(range(700)) and (np.diff(found.distances) >= 0).all()


def test_a_training_picture_finds_itself():
    images = some(50)
    found = nearest(as_sample(images[17]), images)
    assert found.indices[0] == 17 and found.distances[0] == 0 and not found.flipped[0]
    assert len(found.indices) == len(found.flipped) == len(found.distances) == 4
    assert (found.verdict, found.ratio, found.rms, found.twins) == (Verdict.COPY, 0, 0, 0)


def test_a_mirrored_copy_is_found_only_where_flips_count():
    images = some(50)
    mirrored = as_sample(images[17])[:, ::-1]
    found = nearest(mirrored, images)
    assert found.indices[0] == 17 and found.flipped[0] and found.verdict == "copy"
    assert nearest(mirrored, images, flips=False).verdict == "own"


def test_the_verdict_is_one_of_three_by_the_ratio():
    images = some(200, size=16)
    own = as_sample(some(1, 16, seed=5)[0])
    assert nearest(own, images).verdict == Verdict.OWN
    verdicts = []
    for levels in (20, 45, 100):
        found = nearest(as_sample(nudged(images[3], levels)), images)
        assert found.indices[0] == 3 and found.second == found.distances[1]
        assert found.ratio == found.distances[0] / found.distances[1]
        verdicts.append((found.ratio < 1 / 3, found.ratio < 2 / 3, str(found.verdict)))
    assert verdicts == [(True, True, "copy"), (False, True, "close"), (False, False, "own")]


@pytest.mark.parametrize("twin", ["equal", "mirrored", "recompressed"])
def test_twins_in_the_data_do_not_hide_a_copy(twin):
    images = some(100)
    images[40] = images[60] = {
        "equal": images[7],
        "mirrored": images[7, :, :, ::-1],
        "recompressed": nudged(images[7], 2, seed=3),
    }[twin]
    found = nearest(as_sample(nudged(images[7], 8)), images)
    assert set(found.indices[:3]) == {7, 40, 60} and found.distances[1] < 2 * found.distances[0]  # would say "own"
    assert found.twins == 2 and found.second == found.distances[3]
    assert found.ratio < 1 / 3 and found.verdict == "copy"


def test_a_picture_between_two_alike_ones_is_no_copy_by_its_ratio():
    """Twins are those of the nearest picture, not all that are as near to the sample."""
    images = some(30)
    images[1] = nudged(images[0], 20)
    middle = ((images[0].astype(int) + images[1]) // 2).astype(np.uint8)
    found = nearest(as_sample(middle), images)
    assert found.twins == 0 and found.ratio > 0.9 and found.verdict == "own"


def test_the_twins_are_told_apart_from_others_as_near_whatever_their_order():
    images = np.stack([np.full((1, 8, 8), level, np.uint8) for level in (106, 100)])
    found = nearest(np.full((8, 8, 1), 102, np.uint8), images)
    assert found.indices.tolist() == [1, 0] and found.distances.tolist() == [2 * 8, 4 * 8]
    assert (found.twins, found.second, found.ratio) == (0, 4 * 8, 0.5)


def test_who_cannot_be_told_from_a_training_picture_is_a_copy_whatever_the_ratio():
    images = some(30)
    images[1] = nudged(images[0], 6)
    found = nearest(as_sample(nudged(images[0], 3)), images)
    assert found.ratio > 1 / 3 and found.rms < copies.SAME and found.verdict == "copy"


@pytest.mark.parametrize("count", [1, 3])
def test_data_with_only_one_picture_give_no_ratio(count):
    images = np.repeat(some(1), count, axis=0)
    far = nearest(as_sample(some(1, seed=4)[0]), images)
    assert (far.ratio, far.verdict, far.twins, len(far.indices)) == (None, "own", count - 1, count)
    assert nearest(as_sample(images[0]), images).verdict == "copy"


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 16, 3), (8, 9, 3)])
def test_another_size_or_colour_is_told_in_one_line(shape):
    with pytest.raises(UsageError, match="the sample is .* the training pictures are 8 x 8 with 3: choose") as caught:
        nearest(np.zeros(shape, np.uint8), some(2))
    assert "\n" not in str(caught.value)


def test_no_pictures_at_all_are_told():
    with pytest.raises(DataError, match="no training pictures"):
        nearest(np.zeros((8, 8, 3), np.uint8), some(2)[:0])


@pytest.mark.parametrize("flips", [True, False])
def test_pictures_that_were_never_trained_on_are_no_training_pictures(flips):
    """Also not as the second nearest, and not as a twin; the indices stay those of the whole set."""
    images = some(60)
    images[8] = images[7]
    trained = np.array([number for number in range(60) if number not in (7, 20)])
    found = nearest(as_sample(images[20]), images, k=60, flips=flips, trained=trained)
    assert found.verdict == "own" and sorted(found.indices) == trained.tolist()
    every = nearest(as_sample(images[20]), images, k=60, flips=flips)
    assert every.indices[0] == 20 and every.verdict == "copy"
    kept = dict(zip(every.indices, every.distances, strict=True))
    assert [kept[index] for index in found.indices] == found.distances.tolist()
    twin = nearest(as_sample(images[7]), images, flips=flips, trained=trained)
    assert (twin.indices[0], twin.twins) == (8, 0) and twin.second == twin.distances[1] > 0
    assert nearest(as_sample(images[7]), images, flips=flips).twins == 1


def test_where_nothing_was_trained_on_it_is_told():
    with pytest.raises(DataError, match="no training pictures"):
        nearest(np.zeros((8, 8, 3), np.uint8), some(2), trained=np.arange(0))


def test_progress_reaches_the_end_and_can_cancel():
    images, told = some(3000, size=32), []
    nearest(as_sample(images[0]), images, progress=lambda what, done, total: told.append((done, total)))
    assert len(told) > 5 and told[-1] == (3000, 3000) and told == sorted(told)

    def cancel(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nearest(as_sample(images[0]), images, progress=cancel)


def test_a_memory_mapped_set_is_read_in_small_parts(tmp_path):
    np.save(tmp_path / "set.npy", some(4000, size=64))
    images = np.load(tmp_path / "set.npy", mmap_mode="r")
    tracemalloc.start()
    try:
        found = nearest(as_sample(images[1234]), images)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.indices[0] == 1234
    assert peak < images.nbytes / 4  # 49 MB as bytes, four times that as float32


def test_comparing_needs_no_torch():
    code = "import sys, ddpm_core.evaluation.copies; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
