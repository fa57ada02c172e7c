"""What a benchmark keeps of what was measured before, and what it says at once instead of after hours."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import ablation, first_hour, first_minute, machine, methods, quality, records
from ddpm_core.errors import UsageError

CPU = torch.device("cpu")


def test_what_is_there_is_kept_and_told(tmp_path, capsys):
    path = tmp_path / "one.json"
    records.write(
        path, {"samples": 5, "machine": {**machine.describe("c", CPU), "date": "2026-11-23", "commit": "abc"}}
    )
    assert records.kept(path, "ours-cpu, seed 0", {"samples": 5}, anew=False)["samples"] == 5
    said = capsys.readouterr().out
    assert said.startswith("kept: ours-cpu, seed 0, measured 2026-11-23 on ")
    assert said.endswith(", commit abc: --anew measures it here\n")
    assert records.kept(path, "", {"samples": 6}, anew=False) is None
    assert records.kept(path, "", {"samples": 5}, anew=True) is None
    assert records.kept(tmp_path / "none.json", "", {}, anew=False) is None
    assert capsys.readouterr().out == ""


def test_ablation_keeps_only_what_was_measured_alike(monkeypatch, tmp_path):
    asked = []

    def run(variant, seed, options, *_):
        asked.append(options.samples)
        about = machine.describe("c", CPU)
        return {"frechet": 1.0, "frechet_error": 0.1, "loss": 0.5, "images_per_second": 9.0, "encoder": "e",
                "samples": options.samples, "sampling_steps": options.sampling_steps, "machine": about}  # fmt: skip

    monkeypatch.setattr(ablation, "run", run)
    monkeypatch.setattr(ablation, "of_ablation", lambda results: str(len(results)))
    monkeypatch.setattr(ablation.encoder, "load", lambda *_: SimpleNamespace(name="e"))
    monkeypatch.setattr(ablation.catalogue, "load", lambda *_: SimpleNamespace(images=[]))
    monkeypatch.setattr(ablation.encoder, "reference_pictures", lambda *_: SimpleNamespace(images=[]))
    monkeypatch.setattr(ablation.distance, "Reference", lambda *_: None)
    for more in (["--samples", "10"], ["--samples", "10"], ["--samples", "20"], ["--samples", "20", "--anew"]):
        monkeypatch.setattr("sys.argv", ["ablation", "--only", "base", "--results", str(tmp_path), *more])
        ablation.main()
    assert asked == [10, 20, 20]


def test_quality_knows_all_names_before_it_trains(monkeypatch):
    monkeypatch.setattr("sys.argv", ["quality", "--methods", "ours-cpu,nobody"])
    monkeypatch.setattr(quality.encoder, "load", lambda *_: pytest.fail("it went on"))
    with pytest.raises(SystemExit, match="^error: there is no method 'nobody': choose from ours-cpu, "):
        quality.main()


def test_a_method_whose_package_is_missing_says_so(monkeypatch):
    def missing():
        raise UsageError("not installed: pip")

    monkeypatch.setattr(methods.peer_networks, "diffusers_package", missing)
    methods.check("ours-cpu")
    methods.check("patch-1")
    for key in ("diffusers-network", "diffusers_tuned@0.002", "lucidrains_tuned", "ours_their_recipe"):
        with pytest.raises(UsageError, match="pip"):
            methods.check(key)


def test_apples_graphics_are_refused(monkeypatch):
    monkeypatch.setattr(machine.devices, "choose", lambda name: torch.device("mps"))
    with pytest.raises(UsageError, match="processors and NVIDIA cards, not Apple graphics: add --device cpu.$"):
        machine.device_of("auto")


def test_a_mark_that_the_clock_has_passed_is_left(monkeypatch, tmp_path, capsys):
    """A run that broke off after three minutes does not draw what it would have drawn after two."""
    seconds, trained, drawn = [180.0], [], []
    run = SimpleNamespace(name="r", can_resume=lambda: True, metrics=lambda: ([{"seconds": seconds[-1]}], []))

    def train_until(run, minutes, *_):
        trained.append(minutes)
        seconds.append(60 * minutes)

    monkeypatch.setattr(first_hour, "Run", lambda *_: run)
    monkeypatch.setattr(first_hour, "train_until", train_until)
    monkeypatch.setattr(first_hour, "keep", lambda run, minutes: drawn.append(minutes))
    monkeypatch.setattr("sys.argv", ["first_hour", "--output-dir", str(tmp_path), "--minutes", "10", "2", "20"])
    first_hour.main()
    assert trained == drawn == [10, 20]
    assert capsys.readouterr().out == "2 min: left as it is, the run is 3.0 minutes old already\n"


def test_first_hour_says_what_is_wrong_in_one_line(monkeypatch, tmp_path):
    def broken(options):
        raise UsageError("so it is.")

    monkeypatch.setattr(first_hour, "_main", broken)
    monkeypatch.setattr("sys.argv", ["first_hour", "--output-dir", str(tmp_path)])
    with pytest.raises(SystemExit, match="^error: so it is.$"):
        first_hour.main()


def test_no_chromium_is_one_line(monkeypatch):
    pytest.importorskip("playwright", reason="playwright comes with requirements-dev.txt")
    monkeypatch.setattr(first_minute.shutil, "which", lambda name: None)
    with (
        pytest.raises(SystemExit, match="^error: there is no Chromium: apt-get install chromium$"),
        first_minute.chromium(),
    ):
        pass
