import contextlib
import dataclasses
import random
import threading
import time

import numpy as np
import pytest
import torch

from ddpm_core import checkpoint, pictures, recipes
from ddpm_core.config import SAMPLERS, SPACING_OF, SPACINGS, NetworkConfig, RunConfig
from ddpm_core.diffusion import latents, mixing, objective, samplers
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.generator import Generator, Preview
from ddpm_core.network.unet import UNet
from ddpm_core.runs import Run

SMALL = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2)


def a_model(size=16, channels=3, seed=0, shape=SMALL, **settings) -> checkpoint.Model:
    """A model that was never trained, but whose pictures differ from seed to seed: its output is no longer all zero."""
    config = RunConfig(dataset="toy", size=size, network=shape, **settings)
    generator = torch.Generator().manual_seed(seed)
    network = UNet(shape, channels)
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
    weights = {name: weight.detach() for name, weight in network.state_dict().items()}
    return checkpoint.Model(config, channels, (), step=7, images=448, epoch=1, loss=0.5, weights=weights)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy_16x16") / "ddpm_best.pt"
    checkpoint.save_model(path, a_model())
    return path


@pytest.fixture
def generator(path):
    return Generator.load(path, device="cpu")


def last(previews) -> Preview:
    return list(previews)[-1]


def test_load_knows_what_the_model_makes(generator, path):
    assert (generator.size, generator.channels, generator.path) == (16, 3, path)
    assert generator.model.step == 7 and not generator.network.training
    assert not any(weight.requires_grad for weight in generator.network.parameters())


def test_samples_are_pictures_that_differ(generator):
    preview = last(generator.sample([0, 1, 2], steps=4))
    assert preview.pictures.shape == (3, 16, 16, 3) and preview.pictures.dtype == np.uint8
    assert len({picture.tobytes() for picture in preview.pictures}) == 3
    assert preview.pictures.std() > 10


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_is_the_same_picture_bit_for_bit_in_any_batch_and_order(generator, sampler):
    """The promise of the page: seed 5 alone, among 7 and among 64 is the same file. `sizes` is what keeps it."""
    together = last(generator.sample(range(64), steps=5, sampler=sampler))
    for seeds in ([5], range(5, 8), range(5, 12), [63, 5, 0], random.Random(0).sample(range(64), 64)):
        some = last(generator.sample(seeds, steps=5, sampler=sampler))
        assert torch.equal(some.x, together.x[list(seeds)])
        assert np.array_equal(some.pictures, together.pictures[list(seeds)])


@pytest.mark.parametrize("sampler", ["dpm++2m", "ddpm"])
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


def test_the_samplers_spacings_and_step_counts_make_different_pictures(generator):
    made = [last(generator.sample([0], steps=6, sampler=sampler)).pictures for sampler in SAMPLERS]
    made += [last(generator.sample([0], steps=6, spacing=spacing)).pictures for spacing in SPACINGS]
    made += [last(generator.sample([0], steps=7)).pictures]
    made += [last(generator.sample([0], steps=6, sampler="ddim", eta=eta)).pictures for eta in (0.5, 1.0)]
    distinct = {picture.tobytes() for picture in made}
    # Each default spacing is one of them; Euler is DDIM with another one; DDIM with eta 1 is DDPM.
    same = 1 + (SPACING_OF["ddim"] == SPACING_OF["ddpm"]) + (SPACING_OF["euler"] == SPACING_OF["ddim"])
    assert len(distinct) == len(made) - same


def test_heun_counts_its_network_calls(generator):
    previews = list(generator.sample(range(20), steps=3, sampler="heun"))
    assert previews[-1].steps == 5 and [preview.step for preview in previews if preview.even] == [1, 2, 3, 4, 5]


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


def test_a_trajectory_is_there_to_be_kept(generator):
    """States and beliefs of every step: noise at first, the same at the end, and as the sampler itself has them."""
    stops = [preview for preview in generator.sample(range(20), steps=4) if preview.even]
    assert [stop.step for stop in stops] == [1, 2, 3, 4]
    assert all(stop.x.shape == stop.x0.shape == (20, 3, 16, 16) and stop.x0.abs().max() <= 1 for stop in stops)
    assert stops[0].x.std() > stops[-1].x.std() and torch.equal(stops[-1].x, stops[-1].x0)
    levels = generator.schedule.levels(4, generator.model.config.sigma_max, SPACING_OF[SAMPLERS[0]])
    walk = samplers.by_name(SAMPLERS[0])(generator.denoise(), latents.noise([17], (3, 16, 16)), levels)
    for stop, step in zip(stops, walk, strict=True):
        assert torch.equal(stop.x[17], step.x[0]) and torch.equal(stop.x0[17], step.x0[0])


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


@pytest.mark.parametrize("sampler", ["dpm++2m", "ddpm"])
def test_interpolation_starts_and_ends_at_the_seeds_own_pictures(generator, sampler):
    """Also where noise is added on the way: it is mixed from both seeds as the start is."""
    frames = last(generator.interpolate(3, 4, frames=9, steps=4, sampler=sampler)).pictures
    ends = last(generator.sample([3, 4], steps=4, sampler=sampler)).pictures
    assert frames.shape[0] == 9
    assert np.array_equal(frames[0], ends[0]) and np.array_equal(frames[-1], ends[1])
    jumps = np.abs(np.diff(frames.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert jumps.max() < np.abs(ends[1].astype(int) - ends[0]).mean()  # a walk, not a leap


@pytest.mark.parametrize(("prediction", "schedule"), [("eps", "linear"), ("eps", "cosine"), ("v", "linear")])
def test_every_kind_of_model_samples_in_its_own_terms(prediction, schedule):
    model = a_model(channels=1, prediction=prediction, schedule=schedule)
    generator = Generator(model, "toy.pt", torch.device("cpu"), contextlib.nullcontext)
    result = last(generator.sample([1, 2], steps=6)).pictures
    assert result.shape == (2, 16, 16, 1)
    usual = Generator(a_model(channels=1), "toy.pt", torch.device("cpu"), contextlib.nullcontext)
    assert not np.array_equal(result, last(usual.sample([1, 2], steps=6)).pictures)


def test_the_model_draws_what_its_network_says(generator):
    """Arranging the network for drawing changes its last bits, and nothing else."""
    plain = UNet(SMALL, 3).eval()
    plain.load_state_dict(generator.model.weights)
    config = generator.model.config
    x, levels = latents.noise([8], (3, 16, 16)), generator.schedule.levels(5, config.sigma_max, SPACING_OF[SAMPLERS[0]])
    with torch.no_grad():
        *_, end = samplers.by_name(SAMPLERS[0])(objective.denoiser(plain, config.prediction), x, levels)
    assert (end.x - last(generator.sample([8], steps=5)).x).abs().max() < 1e-4


def test_a_large_network_works_on_fewer_pictures_at_once(generator):
    assert generator.sizes[0] == 16
    larger = dataclasses.replace(a_model(), config=RunConfig(dataset="toy", size=1024, network=SMALL))
    assert Generator(larger, "toy.pt", torch.device("cpu"), contextlib.nullcontext).sizes == [1]


@pytest.mark.parametrize("sampler", ["dpm++2m", "ddpm"])
def test_a_walk_may_start_at_any_noise_and_is_a_function_of_it_alone(generator, sampler):
    """Without seeds: samplers that add noise draw it from the start's own bits, so the batch does not matter here either."""
    noise = latents.noise(range(7), generator.shape)
    walk = generator.walker(4, sampler)
    together = last(walk(noise)).x
    assert torch.equal(last(walk(noise[[5, 2]])).x, together[[5, 2]])
    if sampler == "ddpm":
        assert not torch.equal(together, last(generator.sample(range(7), 4, sampler)).x)
        fresh = lambda rows: latents.step_noise(rows, generator.shape)  # noqa: E731
        assert torch.equal(last(walk(noise, fresh)).x, last(generator.sample(range(7), 4, sampler)).x)


# ---- guidance, by classes (a network that knows them is made up here) and by an early self


@pytest.fixture
def classy(generator, monkeypatch):
    """The generator as if its model knew three classes: told one, its belief is a flat grey of that class; otherwise black."""
    asked = []

    def network(x, log_sigma, labels=None, classes=None):
        asked.append((len(x), None if classes is None else classes.tolist()))
        return torch.full_like(x, -1.0 if classes is None else (classes.item() + 1) / 8)

    def denoiser(network, prediction, classes=None):
        told = {} if classes is None else {"classes": classes}
        return lambda x, alpha, sigma: network(x, torch.full((len(x),), sigma / alpha).log(), **told)

    monkeypatch.setattr(objective, "denoiser", denoiser)
    generator.network, generator.asked = network, asked
    config = dataclasses.replace(generator.model.config, network=dataclasses.replace(SMALL, classes=3))
    generator.model = dataclasses.replace(generator.model, config=config, classes=("a", "b", "c"))
    return generator


def greys(preview):
    return preview.x[:, 0, 0, 0].tolist()


def test_a_class_for_all_or_one_for_each_and_in_the_order_they_were_asked_in(classy):
    assert greys(last(classy.sample(range(3), 4, classes=1))) == [0.25] * 3
    assert greys(last(classy.sample(range(6), 4, classes=[0, 2, -1, 1, 2, 0]))) == [
        0.125,
        0.375,
        -1,
        0.25,
        0.375,
        0.125,
    ]
    assert greys(last(classy.interpolate(0, 1, frames=3, steps=4, classes=2))) == [0.375] * 3
    assert greys(last(classy.sample([0], 4))) == [-1]


def test_pictures_of_one_class_are_drawn_together_and_the_class_is_told_once(classy):
    last(classy.sample(range(6), 1, classes=[0, 2, -1, 0, 2, 0]))
    assert classy.asked == [(2, [0]), (1, [0]), (2, [2]), (1, None)]


def test_guidance_is_more_of_the_class_and_two_network_calls_a_step(classy):
    assert greys(last(classy.sample([0], 4, classes=1, guidance=1.2))) == pytest.approx([-1 + 1.2 * 1.25])
    assert len(classy.asked) == 8
    classy.asked.clear()
    assert greys(last(classy.sample([0], 4, classes=1, guidance=0.0))) == [-1] and len(classy.asked) == 4


def test_outside_of_its_interval_guidance_costs_nothing(classy):
    levels = classy.schedule.levels(10, classy.model.config.sigma_max, SPACING_OF[SAMPLERS[0]])[:-1]
    inside = sum(0.2 < sigma / alpha <= 3 for alpha, sigma in levels.tolist())
    assert 0 < inside < 10
    last(classy.sample([0], 10, classes=1, guidance=2.0, guidance_interval=(0.2, 3)))
    assert len(classy.asked) == 10 + inside


# ---- mixtures of classes


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
@pytest.mark.parametrize("sampler", ["dpm++2m", "ddpm"])
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
@pytest.mark.parametrize("sampler", ["dpm++2m", "ddpm"])
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


@pytest.mark.parametrize("sampler", ["dpm++2m", "ddpm"])
def test_a_pad_has_its_seeds_and_classes_at_the_corners_and_walks_at_the_edges(animals, sampler):
    seeds, kinds, how = [5, 9, 2, 7], [0, 3, -1, 2], {"steps": 3, "sampler": sampler}
    corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
    made = last(animals.pad(seeds, [*corners, (0.25, 0), (0.25, 0.75)], classes=kinds, **how)).x
    walk = animals.walker(classes=kinds, **how)
    assert torch.equal(made[:4], last(walk(latents.noise(seeds, animals.shape))).x)
    assert torch.equal(last(animals.pad(seeds, [(0.25, 0.75)], classes=kinds, **how)).x[0], made[5])
    if sampler == "dpm++2m":  # where noise is added, a walk mixes its ends' noise, and a pad draws its own
        edge = last(animals.interpolate(5, 9, frames=5, classes=(0, 3), **how)).x
        assert torch.equal(edge[1], made[4])
    assert torch.equal(last(animals.pad(seeds, corners, **how)).x[2], made[2])
    assert torch.equal(last(animals.pad(seeds, corners, classes=0, **how)).x[0], made[0])


def test_guidance_leaves_a_corner_of_any_class_as_it_is(animals):
    how = {"steps": 3, "guidance": 4.0}
    walk = last(animals.interpolate(0, 1, frames=5, classes=(-1, 2), **how)).x
    assert (walk[0] - last(animals.sample([0], steps=3)).x[0]).abs().max() < 1e-5
    assert torch.equal(walk[-1], last(animals.sample([1], classes=[2], **how)).x[0])


def test_an_earlier_self_guides_mixtures_too(animals):
    weak = Generator(
        a_model(seed=1, shape=animals.model.config.network), "weak.pt", animals.device, contextlib.nullcontext
    )
    how = {"steps": 3, "guidance": 2.0, "guide": weak}
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


def test_an_early_snapshot_of_the_run_is_a_guide(tmp_path):
    run = Run(tmp_path, "toy_16x16")
    run.create(RunConfig(dataset="toy", size=16, name="toy_16x16", network=SMALL))
    checkpoint.save_model(run.final_path, dataclasses.replace(a_model(), step=700))
    generator = Generator.load(run.final_path, "cpu")
    with pytest.raises(UsageError, match="no snapshot"):
        generator.early()
    run.averages.mkdir()
    for step in (256, 512, 1024):
        weights = {name: weight.half() for name, weight in a_model(seed=step).weights.items()}
        checkpoint.save_snapshot(run.snapshot_path(step), {"step": step, "lengths": [0.1], "weights": [weights]})
    weak = generator.early()
    assert (weak.model.step, weak.path) == (256, run.snapshot_path(256)) and weak.size == 16
    assert generator.early(run.snapshot_path(512)).model.step == 512

    plain, guided = (last(generator.sample(range(5), 4, **how)).x for how in ({}, {"guidance": 1.5, "guide": weak}))
    assert not torch.equal(plain, guided)
    for how in ({"guidance": 1.0, "guide": weak}, {"guidance": 3.0, "guide": generator}):  # away from itself is nowhere
        assert (last(generator.sample(range(5), 4, **how)).x - plain).abs().max() < 1e-5
    alone = last(generator.sample([3], 4, guidance=1.5, guide=weak)).x
    assert torch.equal(alone[0], guided[3])


def test_the_recipe_names_model_and_request(generator, path):
    recipe = generator.recipe("interpolate", seeds=[1, 2], mix=[[0], [1]], steps=20, sampler="ddim")
    assert recipe["run"] == "toy_16x16" and recipe["model"] == "ddpm_best.pt" and recipe["trained_steps"] == 7
    assert recipe["seeds"] == [1, 2] and recipe["steps"] == 20 and recipe["sampler"] == "ddim"
    assert recipe["hash"] == recipes.model_hash(path) and recipe["version"] == recipes.VERSION
    assert generator.recipe("sample", run="renamed", seeds=[1], steps=20, sampler="ddim")["run"] == "renamed"


def test_the_recipe_names_the_weights_that_were_loaded_though_the_file_has_changed_since(tmp_path, path):
    copy = tmp_path / "ddpm_best.pt"
    copy.write_bytes(path.read_bytes())
    generator = Generator.load(copy, device="cpu")
    checkpoint.save_model(copy, a_model(seed=1))
    assert generator.about["hash"] == recipes.model_hash(path) != recipes.model_hash(copy)


@pytest.mark.parametrize("name", ["mein Modell.pt", ".pt", "模型.ckpt", "x" * 200 + ".pt"])
def test_a_file_with_any_name_has_a_recipe(tmp_path, path, name):
    copy = tmp_path / name
    copy.write_bytes(path.read_bytes())
    generator = Generator.load(copy, device="cpu")
    assert recipes.check(generator.recipe("sample", seeds=[0], steps=2, sampler="ddim"))


def test_previews_show_the_noisy_state_too_and_it_ends_as_the_picture(generator):
    previews = list(generator.sample([3, 4], steps=4))
    assert [preview.noisy.shape for preview in previews] == [(2, 16, 16, 3)] * 4
    assert np.array_equal(previews[-1].noisy, previews[-1].pictures)
    assert not np.array_equal(previews[0].noisy, previews[0].pictures)
    spread = [preview.noisy.std() for preview in previews]
    assert spread[0] > spread[-1]  # noise goes


@pytest.mark.parametrize(
    "request_",
    [
        {"steps": 0}, {"steps": 1001}, {"steps": 2.0}, {"sampler": "rk45"}, {"seeds": []}, {"seeds": range(1025)},
        {"spacing": "leading"}, {"eta": 0.5}, {"sampler": "ddim", "eta": 1.1}, {"sampler": "ddim", "eta": "0"},
        {"classes": 0}, {"guidance": 2.0}, {"guidance": -1.0}, {"guidance": float("nan")}, {"guidance_interval": (3, 0.2)},
    ],
)  # fmt: skip
def test_a_request_that_cannot_work_is_refused_before_any_work(generator, request_):
    with pytest.raises(UsageError):
        generator.sample(**{"seeds": [0], **request_})


def test_a_request_that_fits_no_class_or_guide_is_refused(classy):
    for how in (
        {"classes": 3},
        {"classes": -2},
        {"classes": [0]},
        {"classes": [0, 1, True]},
        {"classes": [0, -1, 1], "guidance": 2},
    ):
        with pytest.raises(UsageError, match="class"):
            classy.sample(range(3), **how)
    other = Generator(a_model(channels=1), "grey.pt", torch.device("cpu"), contextlib.nullcontext)
    with pytest.raises(UsageError, match=r"grey\.pt makes other pictures"):
        classy.sample([0], guide=other, guidance=2.0)
    ignorant = Generator(a_model(), "toy.pt", torch.device("cpu"), contextlib.nullcontext)
    with pytest.raises(UsageError, match="knows no classes"):
        classy.sample([0], guide=ignorant, guidance=2.0, classes=1)


@pytest.mark.parametrize("frames", [1, 0, 1025, True])
def test_too_few_or_too_many_frames_are_refused(generator, frames):
    with pytest.raises(UsageError, match="frames is"):
        generator.interpolate(0, 1, frames=frames)


def test_a_file_that_is_no_model_is_refused(tmp_path, path):
    with pytest.raises(CheckpointError, match="no file"):
        Generator.load(tmp_path / "missing.pt")
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"damaged\.pt"):
        Generator.load(damaged)
    with pytest.raises(CheckpointError, match="do not fit"):
        Generator(dataclasses.replace(a_model(), channels=1), "a.pt", torch.device("cpu"), contextlib.nullcontext)
    with pytest.raises(UsageError, match="device"):
        Generator.load(path, device="cuda:99")
