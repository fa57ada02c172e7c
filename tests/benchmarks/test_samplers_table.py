"""The table of samplers: its cells, diffusers' side of it, the pipeline that speed is measured against, its words."""

import argparse
import contextlib
import dataclasses
import json

import numpy as np
import pytest
import torch

from benchmarks import samplers
from benchmarks.tables import samplers as table
from benchmarks.tables.results import NOT_YET
from ddpm_core import checkpoint
from ddpm_core.config import SAMPLERS, SETTINGS, SPACING_OF, SPACINGS, NetworkConfig, RunConfig
from ddpm_core.generator import Generator
from ddpm_core.network.unet import UNet

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2)


@pytest.fixture(scope="module")
def generator():
    config = RunConfig(dataset="toy", size=16, network=SMALL)
    draw = torch.Generator().manual_seed(0)
    network = UNet(SMALL, 3)
    weights = {
        name: torch.randn(weight.shape, generator=draw) / max(1, weight[0].numel()) ** 0.5
        if weight.ndim > 1
        else weight
        for name, weight in network.state_dict().items()
    }
    model = checkpoint.Model(config, 3, (), 7, 224, 0, 0.5, weights)
    return Generator(model, "toy.pt", torch.device("cpu"), contextlib.nullcontext)


def test_diffusers_gets_the_table_that_this_network_was_trained_on(generator):
    alpha_bar = samplers.table_of(generator)
    assert alpha_bar.shape == (1000,) and (alpha_bar.diff() < 0).all()
    theirs = samplers.scheduler("ddim", "trailing", alpha_bar).alphas_cumprod.double()
    assert torch.allclose(theirs, alpha_bar, rtol=1e-3, atol=1e-7)  # float32
    sigma_max = generator.model.config.sigma_max
    assert ((1 - alpha_bar[-1]) / alpha_bar[-1]).sqrt().item() == pytest.approx(sigma_max)


@pytest.mark.parametrize(("name", "calls"), [("ddim", 20), ("dpm++2m", 10), ("unipc", 10)])
def test_both_sides_draw_the_same_where_the_staircase_is_the_same(generator, name, calls):
    """Trailing steps of their table are nearly ours, and so are the pictures."""
    mine = samplers.ours(generator, name, "trailing", calls, 5).astype(int)
    other = samplers.theirs(generator, name, "trailing", calls, 5).astype(int)
    assert mine.shape == other.shape == (5, 3, 16, 16)
    assert np.abs(mine - other).mean() < 3 < np.abs(mine - mine[::-1]).mean()


def test_autoguidance_gets_no_more_network_calls_than_it_says(generator, monkeypatch):
    asked, forward = [], UNet.forward
    young = Generator(dataclasses.replace(generator.model, step=1), "y.pt", generator.device, generator.turn)
    monkeypatch.setattr(generator, "snapshot", lambda step=None: None)
    monkeypatch.setattr(generator, "early", lambda step: young)
    monkeypatch.setattr(UNet, "forward", lambda *given, **more: asked.append(1) or forward(*given, **more))
    for calls in (10, 20, 50):
        asked.clear()
        assert samplers.autoguided(generator, SAMPLERS[0], "karras", calls, 1).shape == (1, 3, 16, 16)
        assert calls - 1 <= len(asked) <= calls


@pytest.mark.parametrize("name", samplers.PEERS)
def test_every_scheduler_walks_both_staircases(generator, name):
    for spacing in ("trailing", "karras") if samplers.PEERS[name][2] else ("trailing",):
        drawn = samplers.theirs(generator, name, spacing, 9, 2)
        assert drawn.shape == (2, 3, 16, 16) and drawn.dtype == np.uint8 and drawn.std() > 10


def test_heun_gets_as_many_calls_as_the_others():
    assert [samplers.steps_for("heun", calls) for calls in (5, 8, 10, 15, 20)] == [3, 4, 5, 8, 10]
    assert samplers.steps_for("unipc", 8) == 8


def test_the_pipeline_draws_what_the_model_draws(generator):
    """Its own noise, so other pictures; but of the same kind."""
    pipe = samplers.pipeline(generator, "dpm++2m")
    drawn = pipe(3, num_inference_steps=5, output_type="np").images
    assert drawn.shape == (3, 16, 16, 3) and 0.02 < drawn.std() < 0.6 and not pipe.unet.network.training
    denoise, x = generator.denoise(), torch.randn(2, 3, 16, 16)
    alpha, sigma = pipe.unet.levels[400]
    assert (pipe.unet(x, torch.tensor(400)).sample - denoise(x, alpha, sigma).clamp(-1, 1)).abs().max() < 1e-4


def test_rows_are_all_samplers_once_or_on_every_staircase(generator, monkeypatch):
    options = argparse.Namespace(calls=[5, 20], ancestral=1000, spacings=False)
    found = list(samplers.rows(options, generator))
    mine = [row for row in found if row[0] == "ours"]
    assert [(name, spacing) for _, name, spacing, _ in mine] == list(SPACING_OF.items())
    assert {row[1] for row in found if row[0] == "diffusers"} == set(samplers.PEERS)
    assert all(calls == ([5, 20, 1000] if name == "ddpm" else [5, 20]) for _, name, _, calls in found)
    assert not [row for row in found if row[0] == "autoguided"]  # nothing was kept to go away from
    monkeypatch.setattr(generator, "snapshot", lambda step=None: None)
    assert next(samplers.rows(options, generator)) == ("autoguided", SAMPLERS[0], "karras", [5, 20])
    options.spacings = True
    assert len([row for row in samplers.rows(options, generator) if row[0] == "ours"]) == len(SAMPLERS) * len(SPACINGS)


def a_row(who, name, spacing, **cells):
    about = {
        "key": "openmoji_32_ab",
        "dataset": "openmoji",
        "size": 32,
        "preset": "cpu",
        "trained_images": 123456,
        "encoder": "openmoji encoder 1",
    }
    cells = {
        calls.strip("_"): {"frechet": value, "frechet_error": 2.0, "kernel": 1.0} for calls, value in cells.items()
    }
    machine = {
        "processor": "P",
        "cores": 2,
        "device": "processor, 2 cores",
        "torch": "2",
        "date": "2026-11-23",
        "command": "python -m benchmarks.samplers",
        "commit": "abc",
        "bfloat16": True,
    }
    return {
        **about,
        "who": who,
        "sampler": name,
        "spacing": spacing,
        "samples": 2000,
        "cells": cells,
        "machine": machine,
    }


def test_a_table_is_written_from_its_rows(tmp_path):
    quality, fast = SETTINGS["quality"], SETTINGS["fast"]
    assert quality["sampler"] == fast["sampler"] and quality["steps"] == 20 and 8 <= fast["steps"] <= 10
    spacing = SPACING_OF[quality["sampler"]]
    folder = tmp_path / "samplers"
    folder.mkdir()
    rows = [
        a_row("diffusers", "ddim", "trailing", _20=90.0, _1000=70.0),
        a_row("ours", "ddpm", SPACING_OF["ddpm"], _20=120.0, _1000=80.0),
        a_row("ours", quality["sampler"], spacing, **{"_20": 82.0, f"_{fast['steps']}": 92.0}),
    ]
    for number, row in enumerate(rows):
        (folder / f"{number}.json").write_text(json.dumps(row))
    timed = {"key": "openmoji_32_ab", "steps": 20, "rounds": 5, "machine": rows[0]["machine"], "rows": [
        {"sampler": "ddim", "pictures": 64, "ours": 13.0, "diffusers": 10.0, "ratio": 1.3, "ratio_range": [1.2, 1.4], "disturbed_rounds": 0}
    ]}  # fmt: skip
    (folder / "speed.json").write_text(json.dumps(timed))
    text = table.samplers(tmp_path)
    assert "after 123,456 pictures" in text
    lines = [line for line in text.splitlines() if line.startswith(("| ours", "| diffusers,"))]
    assert lines[0].startswith(f"| ours, {quality['sampler']} | {spacing} |") and "82.0" in lines[0]
    assert lines[-1].startswith("| diffusers, ddim | trailing |") and "1,000" in text
    assert f"`quality` ({quality['sampler']}, 20 calls) is 82.0 ± 2.0, +2 % against 1,000 ancestral steps." in text
    assert "92.0 ± 2.0, +15 %" in text
    assert "| ddim | 64 | 13.0 | 10.0 | **1.30x** | 1.20 to 1.40 |" in text
    assert "P, 2 cores, torch 2, 2026-11-23 (commit abc): `python -m benchmarks.samplers`" in text
    short = table.samplers_short(tmp_path)
    assert "82.0 ± 2.0, +2 %" in short and "`python -m" not in short and "pipeline" not in short


def test_nothing_measured_says_so(tmp_path):
    assert table.samplers(tmp_path) == NOT_YET


def test_a_row_that_is_none_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["samplers", "--model", "none.pt", "--only", "rk45"])
    with pytest.raises(SystemExit, match="there is no row 'rk45'"):
        samplers.main()


def test_anew_measures_what_is_wanted_and_keeps_the_rest(generator, monkeypatch, tmp_path):
    judged = []
    monkeypatch.setattr(samplers.encoder, "load", lambda *_: argparse.Namespace(name="e"))
    monkeypatch.setattr(samplers.encoder, "reference_pictures", lambda *_: argparse.Namespace(images=[]))
    monkeypatch.setattr(samplers, "ours", lambda generator, name, spacing, calls, count: calls)

    def judge(calls):
        judged.append(calls)
        return argparse.Namespace(frechet=float(len(judged)), frechet_error=0.1, kernel=0.0)

    monkeypatch.setattr(samplers.distance, "Reference", lambda *_: argparse.Namespace(judge=judge))
    about = {"key": "openmoji_16_ab", "dataset": "openmoji"}

    def measure(calls, command, anew=False):
        options = argparse.Namespace(
            dataset="openmoji", results=tmp_path, samples=10, only=["ours:euler"], calls=calls, ancestral=1000,
            spacings=False, anew=anew, command=command, data_dir=None,
        )  # fmt: skip
        (row,) = samplers.measure(options, generator, about)
        return {calls: (cell["frechet"], cell["machine"]["command"]) for calls, cell in row["cells"].items()}

    assert measure([5], "first") == {"5": (1.0, "first")}
    assert measure([5, 8], "then") == {"5": (1.0, "first"), "8": (2.0, "then")}
    assert measure([8], "anew", anew=True) == {"5": (1.0, "first"), "8": (3.0, "anew")}
    assert judged == [5, 8, 8]
