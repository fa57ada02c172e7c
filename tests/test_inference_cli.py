"""inference_high_res.py as a person uses it: the guide's own lines, wrong ones, and a stop in the middle."""

import contextlib
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
from ddpm_core import checkpoint, pictures, recipes
from ddpm_core.config import SAMPLERS, NetworkConfig, RunConfig
from ddpm_core.diffusion import samplers
from ddpm_core.generator import Generator
from ddpm_core.network.unet import UNet
from ddpm_core.runs import Run

HOUSE = Path(inference_high_res.__file__).parent


def save_a_model(root: Path, name: str, size: int, channels: int = 3) -> Path:
    """An untrained model, whose output is no longer all zero, where a training run would put it."""
    network_config = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2)
    network = UNet(network_config, channels)
    generator = torch.Generator().manual_seed(size)
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
    config = RunConfig(dataset="toy", name=name, size=size, network=network_config)
    path = root / "checkpoints" / name / "ddpm_best.pt"
    path.parent.mkdir(parents=True)
    checkpoint.save_model(path, checkpoint.Model(config, channels, (), 7, 448, 1, 0.5, dict(network.state_dict())))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with three models of different sizes, one of them grey."""
    root = tmp_path_factory.mktemp("trained")
    for size, channels in ((32, 3), (64, 3), (16, 1)):
        save_a_model(root, f"toy_{size}x{size}", size, channels)
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


SMALL = "--model=checkpoints/toy_32x32/ddpm_best.pt"
QUICK = "--steps=2"


def test_the_guides_first_line_makes_a_grid_that_is_the_generators(here, capsys):
    assert made(SMALL, "--samples=16", QUICK) == {"samples/toy_32x32/generated_seed0_16.png"}
    out, err = capsys.readouterr()
    assert out == "wrote samples/toy_32x32/generated_seed0_16.png\n" and "100%" in err
    path = here / "samples/toy_32x32/generated_seed0_16.png"
    generator = Generator.load("checkpoints/toy_32x32/ddpm_best.pt", "cpu")
    expected = list(generator.sample(range(16), steps=2))[-1].pictures
    with Image.open(path) as image:  # 32 pixels are drawn as 128
        assert np.array_equal(np.asarray(image), np.asarray(pictures.enlarge(pictures.grid(expected), 4)))
    recipe = pictures.read_recipe(path)
    assert recipe == generator.recipe("sample", seeds=list(range(16)), steps=2, sampler="dpm++2m")
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
    assert capsys.readouterr().out.startswith("wrote samples/toy_32x32/interpolation_seed5_to_6.png and ")
    ends = list(Generator.load("checkpoints/toy_32x32/ddpm_best.pt", "cpu").sample([5, 6], steps=2))[-1].pictures
    with Image.open("samples/toy_32x32/interpolation_seed5_to_6.png") as image:
        strip = np.asarray(image)
    assert strip.shape == (36, 2 + 9 * 34, 3)
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
    top = shown[26 : 26 + 128, 4 : 4 + 128]
    grey = list(Generator.load(models[0], "cpu").sample([2], steps=2))[-1].pictures[0]
    assert np.array_equal(top, np.broadcast_to(grey.repeat(8, 0).repeat(8, 1), top.shape))


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
    # One bad model in a comparison: nothing is made for the others.
    assert "cut.pt" in refused(capsys, "--compare", "checkpoints/toy_32x32/ddpm_best.pt", "cut.pt", code=4)


def test_a_file_that_is_not_ours_is_never_replaced(here, capsys):
    Image.new("RGB", (4, 4)).save("holiday.png")
    before = Path("holiday.png").read_bytes()
    assert "not made by this program" in refused(capsys, SMALL, "--output=holiday.png")
    assert Path("holiday.png").read_bytes() == before
    Path("walk.gif").write_text("mine")
    assert "walk.gif exists" in refused(capsys, SMALL, "--interpolate", "--output=walk.png")
    Path("file").write_text("in the way")
    assert "cannot write into" in refused(capsys, SMALL, "--output=file/a.png")
    assert "cannot write into" in refused(capsys, SMALL, "--output-dir=file")


def test_help_is_there_without_torch_and_knows_the_guides_lines():
    code = "import sys, inference_high_res; inference_high_res.parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=HOUSE, check=False).returncode == 0
    text = inference_high_res.parser().format_help()
    assert "--model=checkpoints/cifar10_64x64/ddpm_best.pt --samples=16" in text
    assert "--steps=500 --output=high_quality_samples.png" in text and "--interpolate" in text and "--compare" in text


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
