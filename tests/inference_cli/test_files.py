"""What comes out: the one object of --format=json, and that films and trajectories are as it says."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import inference_high_res
from ddpm_core import pictures, recipes
from ddpm_core.diffusion import latents
from ddpm_core.generator import Generator
from ddpm_core.making import files as making_files
from tests.inference_cli.line import QUICK, SMALL, pixels, refused, told


def test_json_is_one_object_that_says_what_was_made_and_where(here, capsys):
    assert inference_high_res.main([SMALL, "--samples=3", QUICK, "--format=json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    path = "samples/toy_32x32/generated_seed0_3.png"
    side = (2 + 2 * 34) * 4
    assert told["files"] == [{"path": path, "kind": "grid", "width": side, "height": side}]
    assert pixels(path).shape[:2] == (side, side) and told["recipe"] == recipes.read_recipe(Path(path).read_bytes())
    assert told["pictures"] == 3 and told["seconds"] > 0 and told["images_per_second"] > 0
    assert f"wrote {path}\n3 pictures in " in err  # words go where they are in nobody's way
    assert set(told) == {"files", "recipe", "pictures", "seconds", "images_per_second"}


def test_every_file_is_as_large_as_json_says(here, capsys):
    pytest.importorskip("av")
    drawn = told(capsys, SMALL, "--interpolate", "--frames=30", "--mp4", QUICK)
    assert [file["kind"] for file in drawn["files"]] == ["strip", "gif", "mp4"]
    strip, gif, mp4 = drawn["files"]
    with Image.open(strip["path"]) as image:
        assert image.size == (strip["width"], strip["height"]) and image.width <= 1600 and image.height > 128 * 2
    with Image.open(gif["path"]) as image:
        assert image.size == (gif["width"], gif["height"]) == (128, 128) and gif["frames"] == 58
    import av

    with av.open(mp4["path"]) as film:
        video = film.streams.video[0]
        assert (video.width, video.height) == (mp4["width"], mp4["height"]) == (256, 256)
        assert sum(1 for _ in film.decode(video)) == mp4["frames"] == 58


def test_a_film_cannot_be_told_from_somebody_elses_and_is_not_replaced(here, capsys):
    pytest.importorskip("av")
    Path("way.mp4").write_text("mine")
    assert "way.mp4 exists" in refused(capsys, SMALL, "--interpolate", "--mp4", "--output=way.png")
    assert Path("way.mp4").read_text() == "mine"


def test_without_pyav_a_film_is_refused_before_anything_is_drawn(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install av" in refused(capsys, SMALL, "--interpolate", "--mp4")


@pytest.mark.parametrize(("steps", "columns"), [(1, 1), (5, 5), (40, 12)])
def test_a_trajectory_goes_from_noise_to_the_first_picture(here, capsys, steps, columns):
    drawn = told(capsys, SMALL, "--samples=2", f"--steps={steps}", "--seed=3", "--trajectory", "--scale=1")
    grid, story = drawn["files"]
    assert story["kind"] == "trajectory" and story["path"] == "samples/toy_32x32/generated_seed3_2_trajectory.png"
    shown = pixels(story["path"])
    assert shown.shape == (2 + 2 * 34, 2 + columns * 34, 3) == (story["height"], story["width"], 3)
    noise = pictures.to_uint8(latents.noise([3], (3, 32, 32)))[0]
    assert np.array_equal(shown[2:34, 2:34], noise)
    assert np.array_equal(shown[36:68, -34:-2], pixels(grid["path"])[2:34, 2:34])
    if columns > 1:  # what the network was shown is what the step before had made
        walk = list(Generator.load("checkpoints/toy_32x32/ddpm_best.pt", "cpu").sample([3], steps))
        assert np.array_equal(shown[2:34, -34:-2], pictures.to_uint8(walk[-2].x)[0])
        assert np.array_equal(shown[36:68, 2:34], pictures.to_uint8(walk[0].x0)[0])
    recipe = recipes.read_recipe(Path(story["path"]).read_bytes())
    assert (recipe["what"], recipe["seeds"], len(recipe["stops"])) == ("trajectory", [3], columns)


def test_a_trajectory_is_of_the_whole_grids_steps_though_it_is_drawn_in_parts(here, capsys):
    drawn = told(capsys, SMALL, "--samples=20", "--steps=3", "--trajectory", "--scale=1")
    walk = list(Generator.load("checkpoints/toy_32x32/ddpm_best.pt", "cpu").sample([0], 3))
    shown = pixels(drawn["files"][1]["path"])
    assert shown.shape[1] == 2 + 3 * 34
    assert np.array_equal(shown[2:34, 36:68], pictures.to_uint8(walk[0].x)[0])


def test_a_trajectory_too_large_to_open_is_refused_before_anything_is_drawn(here, capsys):
    large = ["--model=checkpoints/toy_64x64/ddpm_best.pt", "--samples=1", "--scale=32"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making_files, "MOST_PIXELS", 50_000_000)
        assert "would be a file of 101 million pixels" in refused(capsys, *large, "--trajectory")
