"""What a benchmark keeps of what was measured before, and what it says at once instead of after hours."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import ablation, first_hour, live_studio, machine, memory, methods, quality, records
from ddpm_core.errors import UsageError

CPU = torch.device("cpu")


def test_what_is_there_is_kept_and_told(tmp_path, capsys):
    path = tmp_path / "one.json"
    records.write(
        path, {"samples": 5, "machine": {**machine.describe("c", CPU), "date": "2026-11-23", "commit": "abc"}}
    )
    assert records.kept(path, "ours-cpu, seed 0", anew=False)["samples"] == 5
    said = capsys.readouterr().out
    assert said.startswith("kept: ours-cpu, seed 0, measured 2026-11-23 on ")
    assert said.endswith(", commit abc: --anew measures it here\n")
    assert records.kept(path, "", anew=True) is None
    assert records.kept(tmp_path / "none.json", "", anew=False) is None
    assert capsys.readouterr().out == ""


def test_one_table_is_of_one_machine_and_of_one_count(tmp_path):
    path = tmp_path / "one.json"
    there = machine.describe("c", CPU)
    records.write(path, {"samples": 5, "machine": there})
    records.can_stand_beside([path, tmp_path / "none.json"], {"samples": 5}, CPU)
    with pytest.raises(UsageError, match="one.json has samples 5, not 6, .*: add --results FOLDER.$"):
        records.can_stand_beside([path], {"samples": 6})
    records.write(path, {"samples": 5, "machine": {**there, "cores": 99}})
    records.can_stand_beside([path], {"samples": 5})
    with pytest.raises(UsageError, match=r"from another machine \(.*99 cores.*; this one: .*add --results FOLDER"):
        records.can_stand_beside([path], {"samples": 5}, CPU)


def test_a_command_does_not_replace_more_than_it_measures(tmp_path):
    path = tmp_path / "all.json"
    records.nothing_lost(path, ["a"], records.rows_of)
    records.write(path, {"rows": {"a": {}, "b": {}}})
    records.nothing_lost(path, ["a", "b", "c"], records.rows_of)
    with pytest.raises(UsageError, match="all.json also has b, and would lose them"):
        records.nothing_lost(path, ["a"], records.rows_of)


def test_a_pace_does_not_replace_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "results_of", lambda *_: tmp_path / "memory.json")
    figures = {memory.memory_of: {"measured": 1, "planned": 1}, memory.pace_of: {"forecast": 1, "images_per_second": 1}}
    monkeypatch.setattr(memory, "alone", lambda work, *_: figures[work])
    monkeypatch.setattr(memory, "ON_A_PROCESSOR", {"cpu-32": memory.Row("cpu", 32, 32)})
    memory.main(["--kinds", "memory", "--device", "cpu"])
    with pytest.raises(SystemExit, match="^memory: .*memory.json also has memory of cpu-32, "):
        memory.main(["--kinds", "pace", "--device", "cpu"])
    memory.main(["--device", "cpu"])
    assert {"measured", "forecast", "half"} <= set(records.read(tmp_path / "memory.json")["rows"]["cpu-32"])
    with pytest.raises(SystemExit) as ended:
        memory.main(["--kinds", "typo"])
    assert ended.value.code == 2


def test_a_method_that_fails_is_left_out(monkeypatch, tmp_path, capsys):
    def run(key, seed, *_):
        if seed == 1:
            raise RuntimeError("so large\n a tensor")
        return {"of": (key, seed)}

    monkeypatch.setattr(quality, "run", run)
    monkeypatch.setattr(quality, "of_quality", lambda results, floor, by: str(len(results)))
    monkeypatch.setattr(quality, "_floor", lambda *_: {})
    monkeypatch.setattr(quality.encoder, "load", lambda *_: SimpleNamespace(name="e"))
    monkeypatch.setattr(quality.catalogue, "load", lambda *_: SimpleNamespace(images=[]))
    monkeypatch.setattr(quality.encoder, "reference_pictures", lambda *_: SimpleNamespace(images=[]))
    monkeypatch.setattr(quality.distance, "Reference", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["quality", "--methods", "ours-cpu", "--device", "cpu", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        quality.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out == "  ours-cpu, seed 1, is left out: RuntimeError: so large a tensor\n2\n"


def test_ablation_keeps_only_what_was_measured_alike(monkeypatch, tmp_path):
    asked = []

    def run(variant, seed, options, *_):
        asked.append(options.samples)
        about = machine.describe("c", CPU)
        return {"frechet": 1.0, "frechet_error": 0.1, "loss": 0.5, "images_per_second": 9.0, "encoder": "e",
                "samples": options.samples, "sampling_steps": options.sampling_steps, "machine": about}  # fmt: skip

    monkeypatch.setattr(ablation, "run", run)
    monkeypatch.setattr(ablation, "of_ablation", lambda results, by: str(len(results)))
    monkeypatch.setattr(ablation.encoder, "load", lambda *_: SimpleNamespace(name="e"))
    monkeypatch.setattr(ablation.catalogue, "load", lambda *_: SimpleNamespace(images=[]))
    monkeypatch.setattr(ablation.encoder, "reference_pictures", lambda *_: SimpleNamespace(images=[]))
    monkeypatch.setattr(ablation.distance, "Reference", lambda *_: None)

    def ask(*more):
        monkeypatch.setattr("sys.argv", ["ablation", "--only", "base", "--results", str(tmp_path), *more])
        ablation.main()

    for more in (["--samples", "10"], ["--samples", "10"], ["--samples", "10", "--anew"]):
        ask(*more)
    with pytest.raises(SystemExit, match="^ablation: .* has samples 10, not 20, and one table cannot hold both"):
        ask("--samples", "20", "--anew")
    with pytest.raises(SystemExit, match="'batch-64' is what `standard` does at 64 px by itself"):
        ask("--only", "batch-64", "--preset", "standard", "--size", "64")
    for wrong in (["--seeds", "0-2"], ["--images", "0"], ["--samples", "2"]):
        with pytest.raises(SystemExit) as ended:
            ask(*wrong)
        assert ended.value.code == 2  # argparse's one line
    assert asked == [10, 10]


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
    monkeypatch.setattr(live_studio.shutil, "which", lambda name: None)
    with (
        pytest.raises(SystemExit, match="^error: there is no Chromium: apt-get install chromium$"),
        live_studio.chromium(),
    ):
        pass
