"""Classes and guidance, asked for by name or by number."""

import numpy as np

from ddpm_core import film, pictures
from ddpm_core.generator import Generator
from tests.inference_cli.line import ANIMALS, QUICK, last, pixels, refused, told


def test_pictures_take_the_named_classes_in_turn(here, capsys):
    drawn = told(capsys, ANIMALS, "--classes=dog, CAT,2,any", "--samples=5", QUICK, "--scale=1")
    assert drawn["recipe"]["classes"] == [1, 0, 2, None, 1]
    generator = Generator.load("checkpoints/animals/ddpm_best.pt", "cpu")
    expected = last(generator.sample(range(5), 2, classes=[1, 0, 2, -1, 1]))
    assert np.array_equal(pixels(drawn["files"][0]["path"]), np.asarray(pictures.grid(expected)))
    assert not np.array_equal(expected, last(generator.sample(range(5), 2)))


def test_guidance_and_its_interval_reach_the_picture_and_its_recipe(here, capsys):
    line = [ANIMALS, "--classes=dog", "--samples=1", "--steps=4", "--scale=1", "--guidance=3"]
    drawn = told(capsys, *line, "--guidance-interval=0.2,inf")
    assert drawn["recipe"]["guidance"] == 3 and drawn["recipe"]["interval"] == [0.2, 1e6]
    generator = Generator.load("checkpoints/animals/ddpm_best.pt", "cpu")
    expected = last(generator.sample([0], 4, classes=1, guidance=3.0, guidance_interval=(0.2, 1e6)))
    assert np.array_equal(pixels(drawn["files"][0]["path"])[2:-2, 2:-2], expected[0])
    assert not np.array_equal(expected, last(generator.sample([0], 4, classes=1)))


def test_a_walk_and_a_comparison_are_of_a_class_too(here, capsys):
    drawn = told(capsys, ANIMALS, "--classes=horse", "--interpolate", "--frames=3", QUICK)
    assert drawn["recipe"]["classes"] == [2, 2]
    both = ["--compare", "checkpoints/animals/ddpm_best.pt", "checkpoints/animals_32x32/ddpm_best.pt"]
    assert told(capsys, *both, "--samples=2", "--classes=cat", QUICK)["recipe"]["classes"] == [0, 0]


def test_a_walk_goes_from_one_class_to_another(here, capsys):
    drawn = told(
        capsys, ANIMALS, "--classes=horse,cat", "--interpolate", "--frames=4", "--guidance=2", QUICK, "--scale=1"
    )
    assert drawn["recipe"]["classes"] == [2, 0]
    generator = Generator.load("checkpoints/animals/ddpm_best.pt", "cpu")
    expected = last(generator.interpolate(0, 1, 4, 2, classes=(2, 0), guidance=2.0))
    assert np.array_equal(pixels(drawn["files"][0]["path"]), np.asarray(film.strip(expected, film.WIDEST)))
    ends = last(generator.sample([0, 1], 2, classes=[2, 0], guidance=2.0))
    assert np.array_equal(expected[[0, -1]], ends)
    half = told(capsys, ANIMALS, "--classes=any,2", "--interpolate", "--frames=3", "--guidance=2", QUICK)
    assert half["recipe"]["classes"] == [None, 2]


def test_models_that_number_a_class_differently_are_not_compared_by_it(here, capsys):
    models = ["--compare", "checkpoints/animals/ddpm_best.pt", "checkpoints/vehicles/ddpm_best.pt"]
    assert "number their classes differently" in refused(capsys, *models, "--classes=cat", QUICK)
    models[2] = "checkpoints/toy_16x16/ddpm_best.pt"
    assert "toy_16x16/ddpm_best.pt: this model knows no classes" in refused(capsys, *models, "--classes=cat", QUICK)


def test_an_interval_that_no_recipe_can_hold_is_one_line(here, capsys):
    line = [ANIMALS, "--classes=cat", "--guidance=2", QUICK]
    assert "not two noise levels" in refused(capsys, *line, "--guidance-interval=2e6,3e6")
    assert told(capsys, *line, "--guidance-interval=3,2e6")["recipe"]["interval"] == [3, 1e6]


def test_a_class_of_ten_thousand_digits_is_one_line(here, capsys):
    assert "is no class of this model" in refused(capsys, ANIMALS, f"--classes={'1' * 10_000}")
