"""Batches by counter: any step alone, every picture once an epoch, the same for the same seed."""

import numpy as np
import pytest
import torch

from ddpm_core.data.batches import Batches


def _numbered(count: int) -> np.ndarray:
    """Pictures that can be told apart: picture k is everywhere k."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 3, 4, 4)).copy()


def _numbers(batch: torch.Tensor) -> list[int]:
    return ((batch[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_values_shape_and_range():
    images = _numbered(256)
    batch = Batches(images, 256, 0, "cpu").batch(0)
    assert batch.shape == (256, 3, 4, 4) and batch.dtype == torch.float32
    assert batch.min() == -1 and batch.max() == 1
    exact = torch.tensor(_numbers(batch)).float() / 127.5 - 1
    assert torch.equal(batch[:, 1, 2, 3], exact)


@pytest.mark.parametrize(("pictures", "batch_size"), [(10, 4), (12, 4), (7, 7), (5, 16), (1, 3), (3, 10)])
def test_every_picture_comes_once_an_epoch(pictures, batch_size):
    batches = Batches(_numbered(pictures), batch_size, 3, "cpu")
    assert batches.pictures == pictures and batches.steps_per_epoch == pictures / batch_size
    epochs = 6
    drawn = [n for step in range(-(-epochs * pictures // batch_size)) for n in _numbers(batches.batch(step))]
    for epoch in range(epochs):
        assert sorted(drawn[epoch * pictures : (epoch + 1) * pictures]) == list(range(pictures))


def test_any_step_can_be_drawn_without_the_ones_before():
    images = _numbered(10)
    one_after_another = Batches(images, 4, 0, "cpu")
    expected = [one_after_another.batch(step) for step in range(30)]
    for step in (29, 0, 17, 3, 3, 28):
        assert torch.equal(Batches(images, 4, 0, "cpu").batch(step), expected[step])
        assert torch.equal(one_after_another.batch(step), expected[step])


def test_seed_and_epoch_change_the_order():
    images = _numbered(200)
    first, second = (_numbers(Batches(images, 200, 0, "cpu").batch(step)) for step in (0, 1))
    other = _numbers(Batches(images, 200, 1, "cpu").batch(0))
    assert first != second and first != other and first != sorted(first)


def test_a_batch_belongs_to_the_caller_and_other_randomness_is_left_alone(tmp_path):
    np.save(tmp_path / "images.npy", _numbered(8))
    batches = Batches(np.load(tmp_path / "images.npy", mmap_mode="r"), 8, 0, "cpu")
    state = torch.get_rng_state()
    batch = batches.batch(0)
    assert torch.equal(torch.get_rng_state(), state)
    again = batch.clone()
    batch.zero_()
    assert torch.equal(batches.batch(0), again)


def test_labels_go_with_their_pictures():
    labels = np.arange(10) % 3 - 1
    batches = Batches(_numbered(10), 4, 0, "cpu", labels=labels)
    for step in (0, 2, 7):
        assert batches.labels(step).tolist() == [labels[number] for number in _numbers(batches.batch(step))]
    assert Batches(_numbered(10), 4, 0, "cpu").labels(0) is None
