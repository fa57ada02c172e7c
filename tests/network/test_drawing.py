import dataclasses
import platform
import threading
import time

import pytest
import torch

from ddpm_core.config import NetworkConfig
from ddpm_core.network import drawing
from ddpm_core.network.unet import UNet

CPU = torch.device("cpu")
SMALL = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2)
SHAPES = [
    SMALL,
    dataclasses.replace(SMALL, patch=1, multipliers=(1, 2, 2), blocks=2, attention=(1,)),
    dataclasses.replace(SMALL, labels=6),
]
ANIMALS = dataclasses.replace(SMALL, attention=(1,), classes=5)
X86 = platform.machine() in ("x86_64", "AMD64")


def a_network(config, channels=3):
    torch.manual_seed(0)
    network = UNet(config, channels).eval()
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.data = torch.randn(weight.shape) / weight[0].numel() ** 0.5
    return network


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_the_network_says_the_same_as_before(config, channels):
    x, level = torch.randn(5, channels, 16, 16), torch.full((5,), 0.7)
    expected = a_network(config, channels)(x, level)
    ready = drawing.ready(a_network(config, channels), CPU)
    for network in (ready, drawing.told_once(ready)):
        assert (network(x, level) - expected).abs().max() < 2e-5
    assert (
        ready(x, torch.linspace(-3, 3, 5)) - a_network(config, channels)(x, torch.linspace(-3, 3, 5))
    ).abs().max() < 2e-5
    assert not ready.training and not any(weight.requires_grad for weight in ready.parameters())


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="elsewhere `alike` finds out what holds")
@pytest.mark.parametrize("config", SHAPES)
@torch.no_grad()
def test_a_picture_s_bits_are_the_same_in_every_batch(config):
    network = drawing.told_once(drawing.ready(a_network(config), CPU))
    x = torch.randn(33, 3, 16, 16)
    together = network(x, torch.full((33,), 0.7))
    for first, last in ((0, 1), (1, 4), (4, 11), (11, 27), (27, 33), (32, 33)):
        assert torch.equal(network(x[first:last], torch.full((last - first,), 0.7)), together[first:last])


@pytest.mark.skipif(not X86, reason="elsewhere torch chooses")
def test_no_convolution_is_left_to_torchs_choice():
    """Its choice depends on how many pictures there are, and so would their bits."""
    ready = drawing.ready(a_network(ANIMALS), CPU)
    convolutions = [module for module in ready.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) > 10
    assert all(isinstance(module, drawing.ByOneDnn) for module in convolutions)


def test_alike_finds_the_sizes_that_give_the_same_bits():
    def network(x, level):  # as if the kernels for less than four pictures rounded otherwise
        return x * 2 if len(x) >= 4 else x * 2 + 1e-6

    network.parameters = lambda: iter([torch.zeros(1)])
    assert drawing.alike(network, (3, 4, 4), [1, 2, 4, 8]) == [8, 4]
    found = drawing.alike(drawing.ready(a_network(SMALL), CPU), (3, 16, 16), [1, 2, 4, 8])
    assert found == [8, 4, 2, 1] if X86 else found[0] == 8
    assert drawing.alike(network, (3, 4, 4), [1]) == [1]


def test_what_all_pictures_share_is_told_once():
    told = []

    def network(x, log_sigma, labels=None, classes=None):
        told.append((log_sigma.tolist(), labels, None if classes is None else classes.tolist()))
        return x

    once = drawing.told_once(network)
    x, level = torch.zeros(3, 1, 2, 2), torch.full((3,), 0.5)
    once(x, level)
    once(x, level, None, torch.tensor([2, 2, 2]))
    once(x, level, classes=torch.tensor([4, 4, 4]))
    assert told == [([0.5], None, None), ([0.5], None, [2]), ([0.5], None, [4])]
    once(x, level, classes=torch.ones(3, 2))  # vectors of classes: one for each picture, or one for all
    once(x, level, classes=torch.ones(1, 2))
    assert told[3:] == [([0.5], None, [[1, 1]] * 3), ([0.5], None, [[1, 1]])]


def some_mixtures(network, count):
    shares = torch.rand((count, 5), generator=torch.Generator().manual_seed(3)).tolist()
    return network.mixed([dict(enumerate(row)) if i % 4 else {i % 5: 1.0} for i, row in enumerate(shares)])


@pytest.mark.skipif(not X86, reason="elsewhere `alike_told_apart` finds out what holds")
@torch.no_grad()
def test_pictures_that_are_told_different_mixtures_have_the_bits_that_they_have_alone():
    ready = drawing.ready(a_network(ANIMALS), CPU)
    network, x, vectors = drawing.told_once(ready), torch.randn(16, 3, 16, 16), some_mixtures(ready, 16)
    level = torch.full((16,), 0.7)
    together = network(x, level, classes=vectors)
    alone = [network(x[i : i + 1], level[:1], classes=vectors[i : i + 1]) for i in range(16)]
    assert torch.equal(torch.cat(alone), together)
    for rows in ([3, 1], [15, 0, 7, 8], list(range(15, -1, -1))):
        assert torch.equal(network(x[rows], level[: len(rows)], classes=vectors[rows]), together[rows])
    assert torch.equal(network(x, level, classes=vectors[:1])[0], together[0])  # among others of its own kind
    assert torch.equal(network(x, level, classes=torch.tensor([4]))[4], together[4])  # row 4 is all of class 4


@torch.no_grad()
def test_the_network_hears_mixtures_as_before():
    plain, ready = a_network(ANIMALS), drawing.ready(a_network(ANIMALS), CPU)
    x, level, vectors = torch.randn(5, 3, 16, 16), torch.full((5,), 0.7), some_mixtures(plain, 5)
    assert torch.equal(some_mixtures(ready, 5), vectors)
    expected = plain(x, level, classes=vectors)
    assert (drawing.told_once(ready)(x, level, classes=vectors) - expected).abs().max() < 2e-5


def test_whether_pictures_may_be_told_apart_is_found_out():
    class Network:  # as if what it hears were added in another order for several rows
        classes = torch.nn.Embedding(3, 8)

        def __init__(self, error):
            self.error = error

        def parameters(self):
            return iter([torch.zeros(1)])

        def __call__(self, x, level, classes):
            return x + classes.sum(1)[:, None, None, None] + self.error * (len(classes) > 2)

    assert drawing.alike_told_apart(Network(0), (3, 4, 4), [4, 2, 1])
    assert not drawing.alike_told_apart(Network(1e-6), (3, 4, 4), [4, 2, 1])
    assert drawing.alike_told_apart(Network(1e-6), (3, 4, 4), [2])
    if X86:
        assert drawing.alike_told_apart(drawing.ready(a_network(ANIMALS), CPU), (3, 16, 16), [16, 8, 4, 2, 1])


def test_hands_compute_on_one_core_each_and_change_nothing_for_others():
    before = torch.get_num_threads()
    drawing._begun.cache_clear()
    try:
        torch.set_num_threads(3)
        pool = drawing.hands(3)
        assert drawing.hands(3) is pool
        assert list(pool.map(lambda _: torch.get_num_threads(), range(6))) == [1] * 6
        assert torch.get_num_threads() == 3
        seen = []
        fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        fresh.start()
        fresh.join()
        assert seen == [3]
    finally:
        torch.set_num_threads(before)
        drawing._begun.cache_clear()


def test_who_begins_hands_at_once_takes_no_cores_from_others():
    before = torch.get_num_threads()
    drawing._begun.cache_clear()
    try:
        torch.set_num_threads(3)
        pools = []
        for count in (2, 4, 2, 5):
            threading.Thread(target=lambda count=count: pools.append((count, drawing.hands(count)))).start()
        end = time.monotonic() + 60
        while len(pools) < 4:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert all(drawing.hands(count) is pool for count, pool in pools)
        seen = []
        fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        fresh.start()
        fresh.join()
        assert seen == [3] == [torch.get_num_threads()]
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="elsewhere it may be otherwise")
def test_a_picture_s_bits_do_not_depend_on_the_number_of_cores():
    ready = drawing.ready(a_network(SMALL), CPU)
    network, x, level = drawing.told_once(ready), torch.randn(4, 3, 16, 16), torch.zeros(4)
    made, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                made.append(network(x, level))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*made)
    assert drawing.alike_by_hand(ready, (3, 16, 16), [4, 2, 1], 2)


def test_a_hand_that_computes_otherwise_is_found_out():
    def network(x, level):
        return x * (1 + 1e-6 * threading.current_thread().name.startswith("hand"))

    network.parameters = lambda: iter([torch.zeros(1)])
    assert not drawing.alike_by_hand(network, (3, 4, 4), [2, 1], 2)


def test_a_hand_that_computes_otherwise_in_batches_of_one_size_is_found_out():
    """(Seen: the kernels for 9 pictures at once round otherwise on eight cores than on one, those for 2 do not.)"""

    def network(x, level):
        return x * (1 + 1e-6 * (threading.current_thread().name.startswith("hand") and len(x) == 8))

    network.parameters = lambda: iter([torch.zeros(1)])
    assert not drawing.alike_by_hand(network, (3, 4, 4), [8, 4, 2], 2)
    assert drawing.alike_by_hand(network, (3, 4, 4), [4, 2], 2)
