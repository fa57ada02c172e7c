"""inference_high_res.py as a person uses it: the guide's own lines, wrong ones, and a stop in the middle."""

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import inference_high_res
from ddpm_core import checkpoint, film, pictures, recipes
from ddpm_core.config import SAMPLERS, NetworkConfig, RunConfig
from ddpm_core.diffusion import latents, mixing, samplers
from ddpm_core.generator import Generator
from ddpm_core.making import files as making_files
from ddpm_core.making import flags
from ddpm_core.network.unet import UNet
from ddpm_core.runs import Run

HOUSE = Path(inference_high_res.__file__).parent


def save_a_model(root: Path, name: str, size: int, channels: int = 3, classes: tuple[str, ...] = ()) -> Path:
    """An untrained model, whose output is no longer all zero, where a training run would put it."""
    network_config = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, classes=len(classes))
    network = UNet(network_config, channels)
    generator = torch.Generator().manual_seed(size)
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
    config = RunConfig(dataset="toy", name=name, size=size, network=network_config)
    path = root / "checkpoints" / name / "ddpm_best.pt"
    path.parent.mkdir(parents=True)
    checkpoint.save_model(path, checkpoint.Model(config, channels, classes, 7, 448, 1, 0.5, dict(network.state_dict())))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with three models of different sizes, one of them grey."""
    root = tmp_path_factory.mktemp("trained")
    for size, channels in ((32, 3), (64, 3), (16, 1)):
        save_a_model(root, f"toy_{size}x{size}", size, channels)
    save_a_model(root, "animals", 16, classes=("cat", "dog", "horse"))
    save_a_model(root, "animals_32x32", 32, classes=("cat", "dog", "horse"))
    save_a_model(root, "vehicles", 16, classes=("car", "cat", "ship"))
    return root


@pytest.fixture
def here(trained, tmp_path, monkeypatch) -> Path:
    """An empty current folder in which the guide's relative paths to the models work."""
    (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def made(*argv: str) -> set[str]:
    """Runs a command line that must succeed, and says which files are new."""
    before = files(Path.cwd())
    assert inference_high_res.main(argv) == 0
    return files(Path.cwd()) - before


def refused(capsys, *argv: str, code: int = 2) -> str:
    """The one line with which a command line is refused; nothing is written, nothing else printed."""
    before = files(Path.cwd())
    assert inference_high_res.main(argv) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    assert files(Path.cwd()) == before
    return err


def told(capsys, *argv: str) -> dict:
    """The one line of JSON on stdout of a command line that must succeed."""
    assert inference_high_res.main([*argv, "--format=json"]) == 0
    out, _ = capsys.readouterr()
    assert out.count("\n") == 1
    return json.loads(out)


def last(previews) -> np.ndarray:
    return list(previews)[-1].pictures


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


SMALL = "--model=checkpoints/toy_32x32/ddpm_best.pt"
ANIMALS = "--model=checkpoints/animals/ddpm_best.pt"
QUICK = "--steps=2"


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
    assert recipe == recipes.compose("sample", **generator.about, seeds=list(range(16)), steps=2, sampler="dpm++2m")
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


@pytest.mark.parametrize("flag", ["samples", "steps", "seed", "frames", "scale"])
@pytest.mark.parametrize("value", ["nan", "0", "-1", "abc", "1e3", "", "2.5", "99999999999999999999"])
def test_a_number_that_cannot_work_is_one_line(here, capsys, flag, value):
    if (flag, value) != ("seed", "0"):
        assert f"--{flag}" in refused(capsys, SMALL, f"--{flag}={value}") and "whole number from" in refused(
            capsys, SMALL, "--" + flag, value
        )


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        ([SMALL, "--samples=1025"], "from 1 to 1024"),
        ([SMALL, f"--seed={2**63 - 2}", "--samples=3"], "too few seeds for 3 pictures"),
        ([SMALL, f"--seed={2**63 - 1}", "--interpolate"], "too few seeds for 2 pictures"),
        (["--compare", *["a.pt"] * 33], "up to 32 models"),
        ([SMALL, "--fast", "--steps=5"], "--steps and --fast do not go together"),
        ([SMALL, "--steps=1001"], "from 1 to 1000"),
        ([SMALL, "--sampler=rk45"], "dpm++2m, dpm++3m"),
        ([SMALL, "--device=cuda:99"], "device"),
        ([SMALL, "--device=toaster"], "device"),
        ([SMALL, "--sample=3"], "did you mean --samples?"),
        ([SMALL, "--samples"], "expected one argument"),
        (["--model="], "empty"),
        (["--compare"], "expected at least one argument"),
        (["--samples=3"], "--model is missing"),
        ([], "--model is missing"),
        ([SMALL, "--compare", "a.pt"], "do not go together"),
        (["--compare", "a.pt", "--interpolate"], "do not go together"),
        (["--compare", "a.pt", "--scale=2"], "do not go together"),
        ([SMALL, "--interpolate", "--samples=3"], "--frames"),
        ([SMALL, "--frames=3"], "--interpolate"),
        ([SMALL, "--output=picture.jpg"], "try picture.png"),
        ([SMALL, "--output=folder"], "try folder.png"),
        ([SMALL, "--samples=10000"], "from 1 to 1024"),
        ([SMALL, "--grid=0"], "from 1 to 1024"),
        ([SMALL, "--grid"], "expected one argument"),
        ([SMALL, "--interpolate", "--grid=3"], "do not go together"),
        (["--compare", "a.pt", "--grid=3"], "one row a model"),
        ([SMALL, "--samples=1024", "--scale=32"], "smaller --scale"),
        ([SMALL, "--interpolate", "--frames=1024", "--scale=10"], "smaller --scale"),
        (["--compare", *["checkpoints/toy_16x16/ddpm_best.pt"] * 10, "--samples=1024"], "fewer pictures"),
        (["--compare", "a.pt", "--trajectory"], "name one --model"),
        ([SMALL, "--interpolate", "--trajectory"], "do not go together"),
        ([SMALL, "--mp4"], "--interpolate"),
        ([SMALL, "--format=xml"], "choose text, json"),
        ([SMALL, "--spacing=even"], "trailing, karras, logsnr"),
        ([SMALL, "--eta=2", "--sampler=ddim"], "from 0 to 1"),
        ([SMALL, "--eta=0.5"], "--sampler=ddim"),
        ([SMALL, "--guidance=2"], "add --classes"),
        ([SMALL, "--guidance=nan", "--classes=cat"], "from 0 to 20"),
        ([SMALL, "--guidance=-1"], "from 0 to 20"),
        ([SMALL, "--classes=cat"], "this model knows no classes"),
        ([SMALL, "--classes=0"], "this model knows no classes"),
        ([ANIMALS, "--classes="], "empty class"),
        ([ANIMALS, "--classes=cat,,dog"], "empty class"),
        ([ANIMALS, "--classes=hrose"], "did you mean horse? It knows cat, dog, horse"),
        ([ANIMALS, "--classes=3"], "number from 0 to 2"),
        ([ANIMALS, "--classes=-2"], "number from 0 to 2"),
        ([ANIMALS, "--classes=cat,any", "--guidance=2"], "guidance needs a class"),
        ([ANIMALS, "--classes=cat,dog,horse", "--interpolate"], "name one or two"),
        ([ANIMALS, "--classes=any,any", "--interpolate", "--guidance=2"], "guidance needs a class"),
        ([ANIMALS, "--classes=cat,dgo", "--interpolate"], "did you mean dog?"),
        ([SMALL, "--classes=cat,dog", "--interpolate"], "this model knows no classes"),
        ([ANIMALS, "--classes=cat", "--guidance-interval=0.2,3"], "--guidance=2"),
        ([ANIMALS, "--classes=cat", "--guidance=2", "--guidance-interval=3,0.2"], "the lower one first"),
        ([ANIMALS, "--classes=cat", "--guidance=2", "--guidance-interval=nan,1"], "the lower one first"),
        ([ANIMALS, "--classes=cat", "--guidance=2", "--guidance-interval=1"], "the lower one first"),
    ],
)
def test_flags_that_cannot_work_are_one_line(here, capsys, argv, hint):
    assert hint in refused(capsys, *argv)


def test_without_a_model_the_newest_one_is_proposed(here, capsys, trained):
    run = Run(here, "toy_32x32")
    run.progress.mkdir(parents=True)
    run.config_path.write_text(RunConfig(dataset="toy", name="toy_32x32").to_json())
    (here / "checkpoints").unlink()
    (here / "checkpoints/toy_32x32").mkdir(parents=True)
    run.best_path.write_bytes((trained / "checkpoints/toy_32x32/ddpm_best.pt").read_bytes())
    assert f"--model={Path('checkpoints/toy_32x32/ddpm_best.pt')}\n" in refused(capsys)


def test_a_file_that_is_no_model_is_one_line_and_exit_code_4(here, capsys, trained):
    assert "no file missing.pt" in refused(capsys, "--model=missing.pt", code=4)
    whole = (trained / "checkpoints/toy_32x32/ddpm_best.pt").read_bytes()
    for name, content in (("empty", b""), ("cut", whole[:5000]), ("flipped", whole[:9000] + b"?" + whole[9001:])):
        (here / f"{name}.pt").write_bytes(content)
        assert f"{name}.pt" in refused(capsys, f"--model={name}.pt", code=4)
    torch.save({"state_dict": {"conv.weight": torch.zeros(3, 3)}}, "theirs.pt")  # of another program
    assert "theirs.pt" in refused(capsys, "--model=theirs.pt", code=4)
    # One bad model in a comparison: nothing is made for the others.
    assert "cut.pt" in refused(capsys, "--compare", "checkpoints/toy_32x32/ddpm_best.pt", "cut.pt", code=4)


def test_a_file_that_is_not_ours_is_never_replaced(here, capsys, monkeypatch):
    Image.new("RGB", (4, 4)).save("holiday.png")
    before = Path("holiday.png").read_bytes()
    assert "not made by this program" in refused(capsys, SMALL, "--output=holiday.png")
    assert Path("holiday.png").read_bytes() == before
    Path("walk.gif").write_text("mine")
    assert "walk.gif exists" in refused(capsys, SMALL, "--interpolate", "--output=walk.png")
    Path("file").write_text("in the way")
    assert "cannot write into" in refused(capsys, SMALL, "--output=file/a.png")
    assert "cannot write into" in refused(capsys, SMALL, "--output-dir=file")
    Path("samples").mkdir()
    Path("samples/toy_32x32").touch()  # where the pictures of this run would go
    monkeypatch.setattr(Generator, "sample", None)
    assert "cannot write into" in refused(capsys, "--model=checkpoints/toy_32x32/ddpm_best.pt")


def test_help_is_there_without_torch_and_knows_the_guides_lines():
    code = "import sys, inference_high_res as i; i.flags.parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=HOUSE, check=False).returncode == 0
    text = flags.parser().format_help()
    assert "--model=checkpoints/cifar10_64x64/ddpm_best.pt --samples=16" in text
    assert "--steps=500 --output=high_quality_samples.png" in text and "--interpolate" in text and "--compare" in text


@pytest.mark.parametrize("line", [["--help"], ["--sampels=3"], ["--model=a.pt", "--grid=3", "--interpolate"]])
def test_help_and_flag_errors_do_not_wait_for_torch(line):
    code = (
        "import sys, inference_high_res as i\ntry: i.main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code, *line], cwd=HOUSE, capture_output=True, check=False).returncode == 0
    )


def test_every_flag_is_in_a_group_of_the_help_and_explained():
    titles = [group.title for group in flags.parser()._action_groups if group._group_actions]
    assert titles == ["options", "what to make", "which pictures", "how", "what comes out"]
    assert all(action.help for action in flags.parser()._actions)
    assert [action.dest for action in flags.parser()._action_groups[1]._group_actions] == ["help"]


def test_the_guides_four_lines_are_understood_word_for_word():
    best = "checkpoints/cifar10_64x64/ddpm_best.pt"
    for line, means in (
        (f"--model={best} --samples=16", {"model": best, "samples": 16}),
        (
            f"--model={best} --steps=500 --output=high_quality_samples.png --samples=9",
            {"model": best, "steps": 500, "output": "high_quality_samples.png", "samples": 9},
        ),
        (f"--model={best} --interpolate", {"model": best, "interpolate": True}),
        ("--compare a.pt b.pt c.pt", {"compare": ["a.pt", "b.pt", "c.pt"]}),
    ):
        given = flags.parser().given(line.split())
        flags.check(given)
        assert given == means


# ---- classes and guidance


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


def test_help_says_what_two_classes_of_a_walk_are(capsys):
    with pytest.raises(SystemExit):
        flags.parser().parse_args(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "with --interpolate two are those of its two ends" in words and "--classes=cat,dog --interpolate" in words


def test_models_that_number_a_class_differently_are_not_compared_by_it(here, capsys):
    models = ["--compare", "checkpoints/animals/ddpm_best.pt", "checkpoints/vehicles/ddpm_best.pt"]
    assert "number their classes differently" in refused(capsys, *models, "--classes=cat", QUICK)
    models[2] = "checkpoints/toy_16x16/ddpm_best.pt"
    assert "toy_16x16/ddpm_best.pt: this model knows no classes" in refused(capsys, *models, "--classes=cat", QUICK)


# ---- what comes out


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


def test_grid_is_the_number_of_columns(here, capsys):
    drawn = told(capsys, SMALL, "--samples=6", "--grid=3", QUICK, "--scale=1")
    assert pixels(drawn["files"][0]["path"]).shape[:2] == (2 + 2 * 34, 2 + 3 * 34)
    drawn = told(capsys, SMALL, "--samples=2", "--grid=9", QUICK, "--scale=1")
    assert pixels(drawn["files"][0]["path"]).shape[:2] == (36, 2 + 2 * 34)


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


def test_paths_that_cannot_be_are_one_line(here, capsys):
    assert "no file ~nobody-of-this-name/a.pt" in refused(capsys, "--model=~nobody-of-this-name/a.pt", code=4)
    assert "cannot read" in refused(capsys, f"--model={'x' * 300}/a.pt", code=4)
    assert "cannot read" in refused(capsys, "--compare", "checkpoints/toy_32x32/ddpm_best.pt", "x" * 300, code=4)


def test_a_place_that_cannot_be_written_is_found_before_anything_is_drawn(here, capsys):
    (here / "file/samples").mkdir(parents=True)
    (here / "file/samples/toy_32x32").touch()
    assert "cannot write into" in refused(capsys, SMALL, "--output-dir=file")
    (here / "link").mkdir()
    (here / "link/samples").symlink_to("nowhere")
    assert "cannot write into" in refused(capsys, SMALL, "--output-dir=link")
    assert "is too long" in refused(capsys, SMALL, f"--output={'x' * 250}.png")
    assert "is too long" in refused(capsys, SMALL, f"--output={'x' * 240}.png", "--trajectory")


def test_an_interval_that_no_recipe_can_hold_is_one_line(here, capsys):
    line = [ANIMALS, "--classes=cat", "--guidance=2", QUICK]
    assert "not two noise levels" in refused(capsys, *line, "--guidance-interval=2e6,3e6")
    assert told(capsys, *line, "--guidance-interval=3,2e6")["recipe"]["interval"] == [3, 1e6]


def test_a_class_of_ten_thousand_digits_is_one_line(here, capsys):
    assert "is no class of this model" in refused(capsys, ANIMALS, f"--classes={'1' * 10_000}")


def test_beside_an_output_that_is_named_nothing_of_others_is_replaced(here, capsys):
    Image.new("RGB", (4, 4)).save("six_trajectory.png")
    assert "six_trajectory.png exists" in refused(capsys, SMALL, "--trajectory", "--output=six.png")


def test_spacing_and_eta_reach_the_picture_and_its_recipe(here, capsys):
    line = [SMALL, "--samples=1", "--steps=4", "--sampler=ddim"]
    plain = told(capsys, *line)
    drawn = told(capsys, *line, "--eta=0.5", "--spacing=karras")
    assert drawn["recipe"]["eta"] == 0.5 and drawn["recipe"]["spacing"] == "karras"
    assert "eta" not in plain["recipe"] and "spacing" not in plain["recipe"]
    assert not np.array_equal(pixels(plain["files"][0]["path"]), pixels(drawn["files"][0]["path"]))


def test_the_samplers_offered_are_those_there_are():
    assert tuple(samplers.SAMPLERS) == SAMPLERS


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_ctrl_c_that_falls_into_a_destructor_is_not_lost():
    """Python prints such a KeyboardInterrupt as ignored, and goes on."""
    seen = []

    def previews():
        for number in range(5):
            seen.append(number)
            if number == 2:
                with contextlib.suppress(KeyboardInterrupt):  # what a destructor does with it
                    signal.raise_signal(signal.SIGINT)
            yield SimpleNamespace(done=number / 5)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        inference_high_res.watched(previews(), "5 pictures")
    assert seen == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_ends_in_one_line_and_writes_nothing(here):
    line = [sys.executable, str(HOUSE / "inference_high_res.py"), SMALL, "--samples=512", "--steps=1000"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # The bar appears when the network is at work.
    assert process.stderr is not None
    said = ""
    while "512 pictures" not in said:
        said += process.stderr.read(1)
        assert process.poll() is None, said
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and out == ""
    assert "Traceback" not in err and err.rstrip().endswith("stopped; nothing was saved.")
    assert not (here / "samples").exists()


def test_fast_is_ten_steps_of_the_default_sampler(here, capsys):
    recipe = told(capsys, SMALL, "--samples=1", "--fast")["recipe"]
    assert (recipe["steps"], recipe["sampler"]) == (10, SAMPLERS[0])
    assert told(capsys, SMALL, "--samples=1", "--fast", "--spacing=logsnr")["recipe"]["spacing"] == "logsnr"
