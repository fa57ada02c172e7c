"""The same bits in any batch, in any order and side by side; and how a request is cut into network calls."""

import contextlib
import random
import threading
import time

import numpy as np
import pytest
import torch

from ddpm_core import pictures
from ddpm_core.config import SAMPLERS
from ddpm_core.diffusion import latents
from ddpm_core.generator import Generator
from tests.generator.toy import last


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_is_the_same_picture_bit_for_bit_in_any_batch_and_order(generator, sampler):
    """The promise of the page: seed 5 alone, among 7 and among 64 is the same file. `sizes` is what keeps it."""
    together = last(generator.sample(range(64), steps=5, sampler=sampler))
    for seeds in ([5], range(5, 8), range(5, 12), [63, 5, 0], random.Random(0).sample(range(64), 21)):
        some = last(generator.sample(seeds, steps=5, sampler=sampler))
        assert torch.equal(some.x, together.x[list(seeds)])
        assert np.array_equal(some.pictures, together.pictures[list(seeds)])


@pytest.mark.parametrize("sampler", ["dpm++2m", "dpm++2m-late", "ddpm"])
def test_pictures_drawn_side_by_side_have_the_same_bits_too(generator, sampler):
    alone = last(generator.sample(range(23), 4, sampler)).x
    generator.hands, before = 2, torch.get_num_threads()
    previews = list(generator.sample(range(23), 4, sampler))
    assert torch.equal(previews[-1].x, alone) and torch.get_num_threads() == before
    assert [size for _, size in generator._parts([-1] * 23)] == [8, 8, 4, 2, 1] and len(previews) == 4 * 5
    for count in (1, 2, 3):
        assert torch.equal(last(generator.sample(range(count), 4, sampler)).x, alone[:count])


def test_a_mistake_in_one_of_them_comes_out(generator):
    generator.hands = 2
    generator.denoise = lambda which: lambda x, *level: 1 / 0
    with pytest.raises(ZeroDivisionError):
        next(generator.sample(range(8), 4))


def test_after_a_mistake_in_one_of_them_nobody_works_on_without_the_turn(generator):
    began, left, first = threading.Event(), [], latents.noise([0], generator.shape)[0]

    def believe(x, *level):
        if torch.equal(x[0], first):
            assert began.wait(20)
            raise ZeroDivisionError
        began.set()
        time.sleep(0.3)
        left.append(None)
        return x

    @contextlib.contextmanager
    def turn():
        try:
            yield
        finally:
            assert len(left) == 1

    generator.hands, generator.denoise, generator.turn = 2, lambda which: believe, turn
    with pytest.raises(ZeroDivisionError):
        next(generator.sample(range(8), 4))


def test_where_only_one_size_gives_the_same_bits_the_others_are_filled_up(generator):
    """As on a graphics card, whose kernels add in another order for another batch."""
    together = last(generator.sample(range(9), steps=3)).x
    asked = []
    denoise = generator.denoise

    def watched(which):
        believe = denoise(which)
        return lambda x, *level: asked.append(len(x)) or believe(x, *level)

    generator.sizes, generator.denoise = [4], watched
    for sampler in ("dpm++2m", "ddpm"):
        asked.clear()
        preview = last(generator.sample(range(9), steps=3, sampler=sampler))
        assert asked == [4, 4, 4] * 3 and preview.x.shape == (9, 3, 16, 16)
    assert torch.equal(last(generator.sample(range(9), steps=3)).x, together)


def test_requests_are_cut_into_the_sizes_that_are_known(generator):
    generator.sizes = [16, 8, 4, 2, 1]
    assert [size for _, size in generator._parts([-1] * 23)] == [16, 4, 2, 1]
    generator.sizes = [16]
    assert [(len(rows), size) for rows, size in generator._parts([-1] * 23)] == [(16, 16), (7, 16)]


def test_the_whole_grid_advances_together_call_by_call(generator):
    generator.sizes = [4, 2, 1]
    count, steps = 9, 3
    previews = list(generator.sample(range(count), steps=steps))
    assert len(previews) == 3 * steps
    assert [preview.step for preview in previews] == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert [preview.even for preview in previews] == [False, False, True] * 3
    assert [preview.done for preview in previews] == pytest.approx([call / 9 for call in range(1, 10)])
    assert all(preview.pictures.shape == (count, 16, 16, 3) for preview in previews)
    # After the first call the others still show the noise they start from; a later call does not change an earlier preview.
    noise = pictures.to_uint8(latents.noise(range(count), (3, 16, 16)))
    assert np.array_equal(previews[0].pictures[4:], noise[4:])
    assert not np.array_equal(previews[0].pictures[:4], noise[:4])


def test_nothing_runs_until_asked_and_stopping_stops(path):
    calls = []

    @contextlib.contextmanager
    def turn():
        calls.append("in")
        yield
        calls.append("out")

    generator = Generator.load(path, "cpu", turn)
    calls.clear()
    generator.hands = 2
    walk = generator.sample(range(4 * generator.sizes[0]), steps=5)
    assert not calls
    next(walk)
    next(walk)
    assert calls == ["in", "out"]  # two network calls at once are one turn, and none is held while the caller looks
    next(walk)
    assert calls == ["in", "out"] * 2
    walk.close()
    assert calls == ["in", "out"] * 2


def test_a_consumer_can_train_between_two_previews(generator):
    for _ in generator.sample([0, 1], steps=2):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
