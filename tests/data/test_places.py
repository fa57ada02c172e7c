"""Wherever the pictures wait, a batch is the same, and the next ones are already on their way."""

import types

import numpy as np
import psutil
import pytest
import torch

from ddpm_core.data import places
from ddpm_core.data.batches import Batches
from ddpm_core.errors import UsageError

CPU = torch.device("cpu")
CARD = torch.device("cuda")


@pytest.fixture
def images(tmp_path):
    """50 pictures of noise in a file, memory-mapped."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8), np.uint8))
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.fixture
def room(monkeypatch):
    """room(device=, memory=): a machine with so many bytes free."""

    def make(device, memory):
        monkeypatch.setattr(places, "free_on", lambda _: device)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=memory))

    return make


def test_a_containers_limit_counts_where_pictures_would_be_in_memory(monkeypatch):
    monkeypatch.setattr(places.room, "left", lambda: 100)
    assert (places.choose(50, CPU), places.choose(51, CPU)) == ("memory", "disk")


@pytest.mark.parametrize("trained", [None, torch.arange(3, 47)])
def test_three_places_give_the_same_batches(images, trained):
    everywhere = [Batches(images, 40, 3, CPU, trained=trained, data_on=place) for place in ("device", "memory", "disk")]
    for step in (0, 1, 2, 2, 7, 3, 0):
        first, *others = (batches.batch(step) for batches in everywhere)
        assert first.dtype == torch.float32 and all(torch.equal(first, other) for other in others)
        exact = torch.tensor(images[everywhere[0].indices(step).numpy()]).float() / 127.5 - 1
        assert torch.equal(first, exact)
    picks = torch.tensor([49, 0, 7, 7])
    assert all(torch.equal(batches.at(picks)[0], everywhere[0].at(picks)[0]) for batches in everywhere)


def test_batches_of_the_next_steps_are_read_ahead_and_none_twice(images, monkeypatch):
    batches = Batches(images, 10, 0, CPU, data_on="disk")
    read = []
    take = np.take

    def watched(array, picks, *rest):
        read.append(picks.tolist())
        return take(array, picks, *rest)

    monkeypatch.setattr(np, "take", watched)
    ahead = places.STEPS_AHEAD
    assert ahead >= 2
    for step in range(6):
        batches.batch(step)
        batches.batch(step)  # made again
    expected = [batches.indices(step).tolist() for step in range(6 + ahead)]
    for _, tasks in batches._place._coming.values():
        assert all(task.result() is not None for task in tasks)
    assert sorted(read) == sorted(expected)


def test_a_batch_read_ahead_belongs_to_the_caller(images):
    batches = Batches(images, 8, 0, CPU, data_on="disk")
    batch = batches.batch(0)
    again = batch.clone()
    batch.zero_()
    assert torch.equal(batches.batch(0), again)


def test_a_fault_while_reading_is_not_swallowed(images, monkeypatch):
    def torn(*_):
        raise OSError("the disk is gone")

    batches = Batches(images, 8, 0, CPU, data_on="disk")
    monkeypatch.setattr(np, "take", torn)
    with pytest.raises(OSError, match="the disk is gone"):
        batches.batch(0)


@pytest.mark.parametrize(
    ("free", "device", "place"),
    [
        ((100, 100), CARD, "device"),
        ((10, 100), CARD, "memory"),
        ((10, 10), CARD, "disk"),
        ((100, 100), CPU, "memory"),  # a processor has no other
        ((100, 10), CPU, "disk"),
    ],
)
def test_the_first_place_with_room_is_taken(room, free, device, place):
    room(*free)
    assert places.choose(20, device) == place


@pytest.mark.parametrize(
    ("data_on", "where"),
    [
        ("auto", "pictures in memory"),
        ("memory", "pictures in memory"),
        ("device", "pictures in memory"),
        ("disk", "pictures on the disk, read ahead by 3 threads"),
    ],
)
def test_the_place_is_told_in_words(images, monkeypatch, data_on, where):
    monkeypatch.setattr(places.devices, "cores", lambda: 3)
    assert Batches(images, 8, 0, CPU, data_on=data_on).where == where


def test_pictures_without_a_file_stay_in_memory(images, monkeypatch, room):
    room(0, 0)
    monkeypatch.setattr(places.devices, "cores", lambda: 1)
    batches = Batches(np.array(images), 8, 0, CPU)
    assert batches.where == "pictures in memory, read ahead by 1 thread"
    assert torch.equal(batches.batch(0), Batches(images, 8, 0, CPU, data_on="memory").batch(0))


def test_a_device_that_was_asked_for_and_has_no_room_is_one_line(images, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(places, "_move", full)
    with pytest.raises(
        UsageError, match=r"do not fit on the device: let them wait in memory or on the disk \(data_on\)"
    ):
        places.find(images, CARD, "device")


def test_moving_to_the_device_in_parts_moves_everything(images):
    assert np.array_equal(places._move(images, CPU).numpy(), images)


# ---- the mark


def test_a_small_set_has_its_whole_checksum_as_ever(images):
    import zlib

    assert places.mark(images) == places.mark(images, whole=True) == zlib.crc32(np.array(images).tobytes())


def test_a_large_sets_mark_notices_other_pictures_another_order_and_another_number(images, monkeypatch):
    monkeypatch.setattr(places, "SMALL", 1)
    many = np.random.default_rng(1).integers(0, 256, (1000, 1, 4, 4), np.uint8)
    known = places.mark(many)
    assert known == places.mark(many.copy()) != places.mark(many, whole=True)
    for other in (many[:-1], many[::-1], 255 - many, np.roll(many, 1, axis=0)):
        assert places.mark(other) != known
    with monkeypatch.context() as counting:
        read = []
        crc = places.zlib.crc32
        counting.setattr(places.zlib, "crc32", lambda data, *start: read.append(len(bytes(data))) or crc(data, *start))
        places.mark(many)
    assert len(read) == 258  # the shape, 256 pictures, the labels
