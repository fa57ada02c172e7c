"""Mixtures of classes: walks from class to class, and pads with a class at each corner."""

import contextlib
import dataclasses
import random

import pytest
import torch

from ddpm_core.diffusion import latents, mixing
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator
from tests.generator.toy import SMALL, a_model, last


@pytest.fixture(scope="module")
def animals():
    shape = dataclasses.replace(SMALL, classes=4)
    return Generator(a_model(shape=shape), "animals.pt", torch.device("cpu"), contextlib.nullcontext)


@pytest.fixture
def calls(animals, monkeypatch):
    """The sizes of the network calls."""
    sizes, network = [], animals.network
    forward = type(network).forward
    monkeypatch.setattr(network, "forward", lambda x, *told: sizes.append(len(x)) or forward(network, x, *told))
    return sizes


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("sampler", ["dpm++2m", "dpm++2m-late", "ddpm"])
def test_a_walk_from_class_to_class_begins_and_ends_with_the_classes_own_pictures(animals, sampler, guidance):
    how = {"steps": 4, "sampler": sampler, "guidance": guidance}
    walk = last(animals.interpolate(3, 4, frames=9, classes=(0, 2), **how))
    ends = last(animals.sample([3, 4], classes=[0, 2], **how))
    assert torch.equal(walk.x[[0, -1]], ends.x)
    plain = last(animals.interpolate(3, 4, frames=9, classes=0, **how))
    assert torch.equal(plain.x[0], walk.x[0]) and not torch.equal(plain.x[4], walk.x[4])
    fresh = lambda rows: latents.step_noise_between(3, 4, [0.5], animals.shape)  # noqa: E731
    middle = animals.walker(**how, classes=[{0: 0.5, 2: 0.5}])(latents.between(3, 4, [0.5], animals.shape), fresh)
    assert (walk.x[4] - last(middle).x[0]).abs().max() < 1e-4


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("sampler", ["dpm++2m", "dpm++2m-late", "ddpm"])
@pytest.mark.parametrize("hands", [1, 2])
def test_a_mixture_is_the_same_picture_bit_for_bit_in_any_batch_and_order(
    animals, monkeypatch, sampler, guidance, hands
):
    monkeypatch.setattr(animals, "hands", hands)
    how = {"steps": 3, "sampler": sampler, "guidance": guidance}
    told = mixing.classes([0, 3, 1, 2], mixing.corners(torch.linspace(0, 1, 21), torch.linspace(1, 0, 21) ** 2))
    assert told[0] == 1 and told[-1] == 3 and isinstance(told[1], dict)
    together = last(animals.sample(range(21), classes=told, **how)).x
    for seeds in ([0], [20], [7], [5, 6], [20, 3, 8, 0], random.Random(0).sample(range(21), 21)):
        some = last(animals.sample(seeds, classes=[told[seed] for seed in seeds], **how)).x
        assert torch.equal(some, together[list(seeds)])
    alike = last(animals.sample(range(5, 8), classes=[told[6]] * 3, **how)).x  # among others of the same mixture
    assert torch.equal(alike[1], together[6])


def test_mixtures_share_their_network_calls(animals, calls, monkeypatch):
    """49 places of a pad, each another mixture: four calls a step instead of 49."""
    assert animals.apart
    monkeypatch.setattr(animals, "sizes", [16, 8, 4, 2, 1])
    spots = [(u / 6, v / 6) for v in range(7) for u in range(7)]
    calls.clear()
    last(animals.pad(range(4), spots, steps=2, classes=(0, 1, 2, 3)))
    assert calls == [16, 16, 16, 1] * 2


def test_where_pictures_cannot_be_told_apart_each_mixture_is_drawn_alone(animals, calls, monkeypatch):
    """As on a device that fails the test of the bits: slower, and the same pictures."""
    places = [(0, 0), (0.5, 0.5), (1, 0), (0.5, 0.5)]
    expected = last(animals.pad(range(4), places, steps=2, classes=(0, 1, 2, 3))).x
    monkeypatch.setattr(Generator, "apart", False)
    monkeypatch.delitem(animals.__dict__, "apart", raising=False)
    calls.clear()
    made = last(animals.pad(range(4), places, steps=2, classes=(0, 1, 2, 3))).x
    assert calls == [1, 2, 1] * 2 and torch.equal(made, expected)


def test_calls_of_one_size_are_filled_up_with_blanks_for_mixtures_too(animals, monkeypatch):
    walk = last(animals.interpolate(0, 1, frames=6, steps=3, classes=(0, 2))).x
    monkeypatch.setattr(animals, "sizes", [4])
    assert torch.equal(last(animals.interpolate(0, 1, frames=6, steps=3, classes=(0, 2))).x, walk)


@pytest.mark.parametrize("sampler", ["dpm++2m", "dpm++2m-late", "ddpm"])
def test_a_pad_has_its_seeds_and_classes_at_the_corners_and_walks_at_the_edges(animals, sampler):
    seeds, kinds, how = [5, 9, 2, 7], [0, 3, -1, 2], {"steps": 3, "sampler": sampler}
    corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
    made = last(animals.pad(seeds, [*corners, (0.25, 0), (0.25, 0.75)], classes=kinds, **how)).x
    walk = animals.walker(classes=kinds, **how)
    fresh = lambda rows: latents.step_noise([seeds[row] for row in rows], animals.shape)  # noqa: E731
    assert torch.equal(made[:4], last(walk(latents.noise(seeds, animals.shape), fresh)).x)
    assert torch.equal(last(animals.pad(seeds, [(0.25, 0.75)], classes=kinds, **how)).x[0], made[5])
    edge = last(animals.interpolate(5, 9, frames=5, classes=(0, 3), **how)).x
    assert torch.equal(edge[1], made[4])
    assert torch.equal(last(animals.pad(seeds, corners, **how)).x[2], made[2])
    assert torch.equal(last(animals.pad(seeds, corners, classes=0, **how)).x[0], made[0])


def test_guidance_leaves_a_corner_of_any_class_as_it_is(animals):
    how = {"steps": 3, "guidance": 4.0}
    walk = last(animals.interpolate(0, 1, frames=5, classes=(-1, 2), **how)).x
    assert (walk[0] - last(animals.sample([0], steps=3)).x[0]).abs().max() < 1e-5
    assert torch.equal(walk[-1], last(animals.sample([1], classes=[2], **how)).x[0])


def test_an_earlier_self_guides_mixtures_too(animals, monkeypatch):
    young = Generator(
        a_model(seed=1, shape=animals.model.config.network), "young.pt", animals.device, contextlib.nullcontext
    )
    monkeypatch.setattr(animals, "snapshot", lambda step: None)
    monkeypatch.setattr(animals, "early", lambda step: young)
    how = {"steps": 3, "autoguidance": 2.0}
    walk = last(animals.interpolate(0, 1, frames=5, classes=(0, 2), **how)).x
    assert torch.equal(walk[[0, -1]], last(animals.sample([0, 1], classes=[0, 2], **how)).x)
    assert not torch.equal(walk, last(animals.interpolate(0, 1, frames=5, steps=3, classes=(0, 2))).x)


def test_a_class_for_each_frame_is_still_taken(animals):
    made = last(animals.interpolate(0, 1, frames=3, steps=2, classes=[1, 1, 1])).x
    assert torch.equal(made, last(animals.interpolate(0, 1, frames=3, steps=2, classes=(1, 1))).x)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ((0, 4), "class 4 is not one of this model's"), ((0, True), "class True"), ((0, "cat"), "class 'cat'"),
        ("ab", "class 'a'"), ((0, 1, 2), "3 classes for 5 pictures"), ((), "0 classes for 5"),
        ([{0: 0.5}] * 5, "make them 1 together"), ([{0: 2.0, 1: -1.0}] * 5, "make them 1 together"),
    ],
)  # fmt: skip
def test_ends_that_are_no_classes_are_one_line(animals, classes, words):
    with pytest.raises(UsageError, match=words) as caught:
        animals.interpolate(0, 1, frames=5, steps=2, classes=classes)
    assert "\n" not in str(caught.value)


def test_a_pad_that_cannot_be_is_one_line(animals, generator):
    for seeds, places, classes, words in (
        ([1, 2, 3], [(0, 0)], None, "3 seeds for the four corners"),
        ([1, 2, 3, 4], [], None, "places is 0"),
        ([1, 2, 3, 4], [(0, 0)], (0, 1, 2), "3 classes for the four corners"),
        ([1, 2, 3, 4], [(0, 0)], (0, 1, 2, 9), "class 9"),
    ):
        with pytest.raises(UsageError, match=words):
            animals.pad(seeds, places, classes=classes)
    for ask in (
        lambda: generator.pad(range(4), [(0, 0)], classes=(-1, 0, -1, -1)),
        lambda: generator.interpolate(0, 1, classes=(-1, 0)),
        lambda: generator.sample([0], classes=[{-1: 1.0}]),
    ):
        with pytest.raises(UsageError, match="knows no classes"):
            ask()
    with pytest.raises(UsageError, match="guidance needs a class"):
        animals.pad(range(4), [(0, 0)], classes=(-1,) * 4, guidance=2.0)
    with pytest.raises(UsageError, match="guidance needs a class"):
        animals.interpolate(0, 1, classes=(-1, -1), guidance=2.0)
