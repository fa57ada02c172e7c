"""What cannot work is one line, before anything is drawn: numbers, flags, models, and places to write to."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ddpm_core.config import RunConfig
from ddpm_core.generator import Generator
from ddpm_core.runs import Run
from tests.inference_cli.line import ANIMALS, SMALL, refused


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
        ([SMALL, "--sampler=rk45"], "dpm++2m-late, dpm++2m"),
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
        ([SMALL, "--autoguidance=21"], "from 0 to 20"),
        ([SMALL, "--autoguidance=1.5"], "no early snapshot beside checkpoints/toy_32x32/ddpm_best.pt"),
        ([SMALL, "--autoguidance=1.5", "--interpolate"], "no early snapshot"),
        (["--compare", SMALL.partition("=")[2], "--autoguidance=1.5"], "do not go together"),
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


def test_beside_an_output_that_is_named_nothing_of_others_is_replaced(here, capsys):
    Image.new("RGB", (4, 4)).save("six_trajectory.png")
    assert "six_trajectory.png exists" in refused(capsys, SMALL, "--trajectory", "--output=six.png")


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
