"""A model's file: what is known once it is loaded, what a recipe says of it, and files that are none."""

import contextlib
import dataclasses

import pytest
import torch

from ddpm_core import checkpoint, recipes
from ddpm_core.config import RunConfig
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.generator import Generator
from tests.generator.toy import SMALL, a_model


def test_load_knows_what_the_model_makes(generator, path):
    assert (generator.size, generator.channels, generator.path) == (16, 3, path)
    assert generator.model.step == 7 and not generator.network.training
    assert not any(weight.requires_grad for weight in generator.network.parameters())


def test_a_large_network_works_on_fewer_pictures_at_once(generator):
    assert generator.sizes[0] == 16
    larger = dataclasses.replace(a_model(), config=RunConfig(dataset="toy", size=1024, network=SMALL))
    assert Generator(larger, "toy.pt", torch.device("cpu"), contextlib.nullcontext).sizes == [1]


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
