"""Pictures, walks and comparisons: the guide's own lines, and the flags that change what is drawn."""

from pathlib import Path

import numpy as np
from PIL import Image

from ddpm_core import pictures, recipes
from ddpm_core.config import SAMPLERS
from ddpm_core.diffusion import mixing
from ddpm_core.generator import Generator
from tests.inference_cli.line import QUICK, SMALL, last, made, pixels, told


def test_the_guides_first_line_makes_a_grid_that_is_the_generators(here, capsys):
    assert made(SMALL, "--samples=16", QUICK) == {"samples/toy_32x32/generated_seed0_16.png"}
    out, err = capsys.readouterr()
    assert out.startswith("wrote samples/toy_32x32/generated_seed0_16.png\n16 pictures in ") and "100%" in err
    path = here / "samples/toy_32x32/generated_seed0_16.png"
    generator = Generator.load("checkpoints/toy_32x32/ddpm_best.pt", "cpu")
    expected = list(generator.sample(range(16), steps=2))[-1].pictures
    with Image.open(path) as image:  # 32 pixels are drawn as 128
        assert np.array_equal(np.asarray(image), np.asarray(pictures.enlarge(pictures.grid(expected), 4)))
    recipe = pictures.read_recipe(path)
    assert recipe == recipes.compose("sample", **generator.about, seeds=list(range(16)), steps=2, sampler=SAMPLERS[0])
    assert recipes.read_recipe(path.read_bytes()) == recipe  # of a known version, as the studio takes it back


def test_steps_output_seed_sampler_and_scale(here):
    line = [SMALL, "--samples=1", "--output=some/high_quality_samples.png", "--scale=1"]
    assert made(*line, "--steps=150") == {"some/high_quality_samples.png"}
    path = here / "some/high_quality_samples.png"
    assert pictures.read_recipe(path)["steps"] == 150
    with Image.open(path) as image:
        assert image.size == (36, 36)
    assert made(*line, "--steps=3", "--seed=3", "--sampler=ddim") == set()  # one of ours may be replaced
    assert {key: pictures.read_recipe(path)[key] for key in ("seeds", "sampler", "steps")} == {
        "seeds": [3],
        "sampler": "ddim",
        "steps": 3,
    }
    # The fourth picture of seed 0 is the first one of seed 3.
    made(SMALL, "--samples=4", "--steps=3", "--sampler=ddim", "--scale=1", "--output=four.png")
    with Image.open(path) as one, Image.open("four.png") as four:
        assert np.array_equal(np.asarray(one)[2:34, 2:34], np.asarray(four)[36:68, 36:68])


def test_a_second_picture_gets_a_number_instead_of_the_first_ones_place(here):
    first = made(SMALL, "--samples=1", QUICK)
    assert made(SMALL, "--samples=1", QUICK) == {"samples/toy_32x32/generated_seed0_1-2.png"} != first


def test_interpolate_makes_a_strip_and_a_gif_between_the_seeds(here, capsys):
    assert made(SMALL, "--interpolate", "--frames=17", "--seed=5", QUICK, "--scale=1") == {
        "samples/toy_32x32/interpolation_seed5_to_6.png",
        "samples/toy_32x32/interpolation_seed5_to_6.gif",
    }
    assert capsys.readouterr().out.startswith("wrote samples/toy_32x32/interpolation_seed5_to_6.png\nwrote ")
    ends = list(Generator.load("checkpoints/toy_32x32/ddpm_best.pt", "cpu").sample([5, 6], steps=2))[-1].pictures
    with Image.open("samples/toy_32x32/interpolation_seed5_to_6.png") as image:
        strip = np.asarray(image)
    assert strip.shape == (36, 2 + 17 * 34, 3)
    assert np.array_equal(strip[2:34, 2:34], ends[0]) and np.array_equal(strip[2:34, -34:-2], ends[1])
    with Image.open("samples/toy_32x32/interpolation_seed5_to_6.gif") as image:
        assert image.n_frames == 17 + 15
    made(SMALL, "--interpolate", "--frames=3", QUICK, "--output=way.png")
    assert pictures.read_recipe("way.gif") == pictures.read_recipe("way.png")
    assert pictures.read_recipe("way.gif")["seeds"] == [0, 1]
    assert pictures.read_recipe("way.gif")["mix"] == [[0.0], [0.5], [1.0]]


def test_compare_shows_models_of_different_sizes_from_the_same_seeds(here):
    models = [f"checkpoints/toy_{size}x{size}/ddpm_best.pt" for size in (16, 32, 64)]
    assert made("--compare", *models, "--samples=3", "--seed=2", QUICK) == {"samples/toy_16x16/compare_seed2_3.png"}
    recipe = pictures.read_recipe("samples/toy_16x16/compare_seed2_3.png")
    assert [model["size"] for model in recipe["models"]] == [16, 32, 64] and recipe["seeds"] == [2, 3, 4]
    with Image.open("samples/toy_16x16/compare_seed2_3.png") as image:
        assert image.width == 3 * 128 + 4 * 4
        shown = np.asarray(image)
    for row, model in enumerate(models):
        generator = Generator.load(model, "cpu")
        noise = mixing.shared(
            [2, 3, 4], [16, 32, 64], generator.size, generator.channels
        )  # one noise, whatever the size
        expected = last(generator.walker(2)(noise))[0]
        scale = 128 // generator.size
        top = row * (128 + 30) + 26
        drawn = shown[top : top + 128, 4 : 4 + 128]
        assert np.array_equal(drawn, np.broadcast_to(expected.repeat(scale, 0).repeat(scale, 1), drawn.shape))


def test_output_dir_is_the_root_of_samples(here, trained):
    line = [f"--model={trained}/checkpoints/toy_32x32/ddpm_best.pt", "--samples=2", QUICK, "--output-dir=else/where"]
    assert made(*line) == {"else/where/samples/toy_32x32/generated_seed0_2.png"}


def test_grid_is_the_number_of_columns(here, capsys):
    drawn = told(capsys, SMALL, "--samples=6", "--grid=3", QUICK, "--scale=1")
    assert pixels(drawn["files"][0]["path"]).shape[:2] == (2 + 2 * 34, 2 + 3 * 34)
    drawn = told(capsys, SMALL, "--samples=2", "--grid=9", QUICK, "--scale=1")
    assert pixels(drawn["files"][0]["path"]).shape[:2] == (36, 2 + 2 * 34)


def test_spacing_and_eta_reach_the_picture_and_its_recipe(here, capsys):
    line = [SMALL, "--samples=1", "--steps=4", "--sampler=ddim"]
    plain = told(capsys, *line)
    drawn = told(capsys, *line, "--eta=0.5", "--spacing=karras")
    assert drawn["recipe"]["eta"] == 0.5 and drawn["recipe"]["spacing"] == "karras"
    assert "eta" not in plain["recipe"] and "spacing" not in plain["recipe"]
    assert not np.array_equal(pixels(plain["files"][0]["path"]), pixels(drawn["files"][0]["path"]))


def test_fast_is_ten_steps_of_the_default_sampler(here, capsys):
    recipe = told(capsys, SMALL, "--samples=1", "--fast")["recipe"]
    assert (recipe["steps"], recipe["sampler"]) == (10, SAMPLERS[0])
    assert told(capsys, SMALL, "--samples=1", "--fast", "--spacing=logsnr")["recipe"]["spacing"] == "logsnr"


def test_autoguidance_goes_away_from_the_young_model(tmp_path, monkeypatch, capsys, toy_run, toy_snapshots):
    model = toy_run(tmp_path, "toys")
    toy_snapshots(tmp_path, "toys", (256, 512))
    monkeypatch.chdir(tmp_path)
    line = ["--model=checkpoints/toys/ddpm_best.pt", "--samples=2", "--steps=6", "--scale=1", "--trajectory"]
    drawn = told(capsys, *line, "--autoguidance=1.5")
    recipe = drawn["recipe"]
    assert (recipe["autoguidance"], recipe["young"]) == (1.5, 256)
    generator = Generator.load(model, "cpu")
    expected = last(generator.sample([0, 1], 6, autoguidance=1.5))
    assert np.array_equal(pixels(drawn["files"][0]["path"]), np.asarray(pictures.grid(expected)))
    story = recipes.read_recipe(Path(drawn["files"][1]["path"]).read_bytes())
    assert (story["what"], story["young"]) == ("trajectory", 256)
    assert "autoguidance" not in told(capsys, *line, "--autoguidance=1")["recipe"]
