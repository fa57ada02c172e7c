"""The flags: understood word for word, explained, and known without waiting for torch."""

import subprocess
import sys

import pytest

from ddpm_core.config import SAMPLERS
from ddpm_core.diffusion import samplers
from ddpm_core.making import flags
from tests.inference_cli.line import HOUSE


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


def test_help_says_what_two_classes_of_a_walk_are(capsys):
    with pytest.raises(SystemExit):
        flags.parser().parse_args(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "with --interpolate two are those of its two ends" in words and "--classes=cat,dog --interpolate" in words


def test_the_samplers_offered_are_those_there_are():
    assert tuple(samplers.SAMPLERS) == SAMPLERS
