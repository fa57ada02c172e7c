import contextlib
import dataclasses

import numpy as np
import pytest
import torch

from ddpm_core import checkpoint, pictures, recipes
from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.diffusion import latents, samplers
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.generator import Generator, Preview
from ddpm_core.network.unet import UNet

SMALL = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2)


def a_model(size=16, channels=3, seed=0, **settings) -> checkpoint.Model:
    """A model that was never trained, but whose pictures differ from seed to seed: its output is no longer all zero."""
    config = RunConfig(dataset="toy", size=size, network=SMALL, **settings)
    generator = torch.Generator().manual_seed(seed)
    network = UNet(SMALL, channels)
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


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
def test_a_seed_is_the_same_picture_bit_for_bit_in_any_batch(generator, sampler):
    """The promise of the page: seed 5 alone, among 7 and among 64 is the same file. `chunk` is what keeps it."""
    assert generator.chunk > 1
    together = last(generator.sample(range(64), steps=5, sampler=sampler))
    for seeds in ([5], range(5, 12), [63, 5, 0]):
        some = last(generator.sample(seeds, steps=5, sampler=sampler))
        assert np.array_equal(some.pictures, together.pictures[list(seeds)])
        assert torch.equal(torch.cat(some.beliefs)[: len(seeds)], torch.cat(together.beliefs)[list(seeds)])


def test_the_samplers_and_step_counts_make_different_pictures(generator):
    first = last(generator.sample([0], steps=5)).pictures
    assert not np.array_equal(first, last(generator.sample([0], steps=5, sampler="ddim")).pictures)
    assert not np.array_equal(first, last(generator.sample([0], steps=6)).pictures)


def test_the_whole_grid_advances_together_call_by_call(generator):
    count, steps = 2 * generator.chunk + 1, 3
    previews = list(generator.sample(range(count), steps=steps))
    assert len(previews) == 3 * steps
    assert [preview.step for preview in previews] == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert [preview.done for preview in previews] == pytest.approx([call / 9 for call in range(1, 10)])
    assert all(preview.pictures.shape == (count, 16, 16, 3) for preview in previews)
    # After the first call the others still show the noise they start from; a later call does not change an earlier preview.
    noise = pictures.to_uint8(latents.noise(range(count), (3, 16, 16)))
    assert np.array_equal(previews[0].pictures[generator.chunk :], noise[generator.chunk :])
    assert not np.array_equal(previews[0].pictures[: generator.chunk], noise[: generator.chunk])


def test_nothing_runs_until_asked_and_stopping_stops(path):
    calls = []

    @contextlib.contextmanager
    def turn():
        calls.append("in")
        yield
        calls.append("out")

    generator = Generator.load(path, "cpu", turn)
    calls.clear()
    walk = generator.sample(range(3 * generator.chunk), steps=5)
    assert not calls
    next(walk)
    next(walk)
    assert calls == ["in", "out"] * 2  # one turn a network call, and none is held while the caller looks
    walk.close()
    assert calls == ["in", "out"] * 2


def test_a_consumer_can_train_between_two_previews(generator):
    for _ in generator.sample([0, 1], steps=2):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_interpolation_starts_and_ends_at_the_seeds_own_pictures(generator):
    frames = last(generator.interpolate(3, 4, frames=6, steps=4)).pictures
    ends = last(generator.sample([3, 4], steps=4)).pictures
    assert frames.shape[0] == 6
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


def test_the_finished_picture_is_the_samplers_last_state(generator):
    """`Preview` shows beliefs; at the last step belief and state are the same."""
    from ddpm_core.diffusion import objective

    x = torch.cat([latents.noise([8], (3, 16, 16)), torch.zeros(generator.chunk - 1, 3, 16, 16)])
    config = generator.model.config
    levels = generator.schedule.levels(5, config.sigma_max)
    walk = samplers.dpmpp_2m(objective.denoiser(generator.network, config.prediction), x, levels)
    assert np.array_equal(pictures.to_uint8(list(walk)[-1].x)[:1], last(generator.sample([8], steps=5)).pictures)


def test_a_large_network_works_on_fewer_pictures_at_once(generator):
    assert generator.chunk == 4
    larger = dataclasses.replace(a_model(), config=RunConfig(dataset="toy", size=1024, network=SMALL))
    assert Generator(larger, "toy.pt", torch.device("cpu"), contextlib.nullcontext).chunk == 1


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
    [{"steps": 0}, {"steps": 1001}, {"steps": 2.0}, {"sampler": "euler"}, {"seeds": []}, {"seeds": range(1025)}],
)
def test_a_request_that_cannot_work_is_refused_before_any_work(generator, request_):
    with pytest.raises(UsageError):
        generator.sample(**{"seeds": [0], **request_})


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
