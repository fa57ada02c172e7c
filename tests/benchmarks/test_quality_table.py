"""The table of quality: when a distance was reached, and what its foot says."""

import json

import torch

from benchmarks import machine
from benchmarks.tables.quality import of_ablation, of_quality, quality_faster, reached
from benchmarks.tables.results import grid

CPU = torch.device("cpu")
BY = "python -m benchmarks.quality --dataset openmoji"
FLOOR = {"frechet": 3.0, "frechet_error": 0.5, "kernel": -0.151}


def a_run(key, frechet, dataset="openmoji", **about):
    marks = [
        {"seconds": s, "images": 9, "frechet": f, "frechet_error": 1.0, "kernel": 2834.2} for s, f in frechet.items()
    ]
    where = {**machine.describe(f"command {key}", CPU), "processor": "P", "cores": 2, "torch": "2", "date": "2026-11-23",
             "commit": "abc", "bfloat16": True}  # fmt: skip
    return {"dataset": dataset, "size": 32, "minutes": 8.0, "method": key, "name": key, "parameters": 1_000_000, "marks": marks,
            "encoder": "e", "samples": 2000, "sampling_steps": 20, "laps": 100, "clipped_laps": 4, "wall_seconds": 481.0 + marks[-1]["frechet"],
            "machine": where | about}  # fmt: skip


def test_when_the_peers_end_was_reached():
    early, late = {30: 10.0, 60: 5.0, 480: 1.0}, {30: 30.0, 60: 9.0, 480: 1.0}

    def after(distance, *seeds):
        return reached([a_run("ours-cpu", marks) for marks in seeds], distance)

    assert after(20, early, early, late) == "30 s or less (2 of 3 seeds)"
    assert after(20, early, late, late) == "60 s or less"
    assert after(0.5, early) == "not in this time"
    assert after(20, early, {60: 9.0, 480: 1.0}) == "60 s or less"  # nobody saw the second one at 30 s
    assert after(20, {480: 1.0}) == ""


def test_the_foot_names_each_machine_day_and_commit_once():
    runs = [
        a_run("a", {480: 5.0}),
        a_run("b", {480: 6.0}, commit="def"),
        a_run("c", {480: 7.0}, date="2026-11-24"),
        a_run("d", {480: 8.0}, processor="Q", bfloat16=False),
    ]
    text = of_quality(runs, FLOOR, BY)
    assert text.rstrip().endswith(
        "P, 2 cores, torch 2, 2026-11-23 (commit abc, def), 2026-11-24 (commit abc);"
        f" Q, 2 cores, no bfloat16, torch 2, 2026-11-23 (commit abc): `{BY}`"
    )
    assert "| 2,834 |" in text and "| -0.151 |" in text and "another training differs by more" in text
    assert (
        "4 % of the steps took more than 1.25 times the running median and counted as that, which left out 9 s of the run that"
        in text
    )
    assert "one half of them against the other" in text
    assert "trained on" not in of_quality([a_run("a", {480: 5.0}, "fashion_mnist")], FLOOR, BY)


def test_the_foot_names_runs_beside_which_other_programs_were_at_work():
    quiet, disturbed = (a_run("ours-cpu", {480: 70.0}) | {"seed": seed, "others": seed / 10} for seed in range(2))
    assert "Other programs" not in of_quality([quiet], FLOOR, BY)
    assert "Other programs used more than a tenth of the time of ours-cpu, seed 1 (10 %)." in of_quality(
        [quiet, disturbed], FLOOR, BY
    )


def test_what_the_studio_draws_stands_beside_where_it_was_measured():
    ours = [a_run("ours-cpu", {480: 70.0 + seed}) for seed in range(3)]
    assert "studio" not in of_quality(ours, FLOOR, BY)
    for run, distance in zip(ours, (41.0, 38.0, 45.0), strict=True):
        run["studio"] = {"sampler": "dpm++2m-late", "frechet": distance, "frechet_error": 1.0}
    peer = a_run("lucidrains_tuned", {480: 500.0})
    text = of_quality([*ours, peer], FLOOR, BY)
    head, _, first, second, floor, *_ = text.splitlines()[2:]
    assert len({line.count("|") for line in (head, first, second, floor)}) == 1
    assert "each seed | as the studio draws | KD" in head
    assert "| 41 (41, 38, 45) |" in first and "| 500 ± 1 |  | 2,834 |" in second
    assert "the studio draws by dpm++2m-late" in text


def test_one_command_makes_all_of_a_table(tmp_path):
    """Only what the command would not do by itself is said; pinned here, as it is pasted into a terminal."""
    folder = tmp_path / "quality_faster"
    folder.mkdir()
    for method, seed, size in (
        ("ours-cpu", 1, 64),
        ("ours-cpu", 0, 64),
        ("diffusers_tuned", 0, 64),
        ("ours-cpu", 0, 32),
    ):
        run = a_run(method, {480: 5.0}) | {"seed": seed, "size": size, "minutes": 8.0 if size == 64 else 30.0}
        name = f"openmoji_{size}_{run['minutes']:g}min_{method}_s{seed}.json"
        (folder / name).write_text(json.dumps(run))
        (folder / f"openmoji_{size}_floor_2000.json").write_text(json.dumps(FLOOR))
    feet = [line for line in quality_faster(tmp_path).splitlines() if "network calls" in line]
    start, end = "`python -m benchmarks.quality --dataset openmoji", "--results benchmarks/results/quality_faster`"
    assert feet[0].endswith(f"{start} --minutes 30 --methods ours-cpu --seeds 0 {end}")
    assert feet[1].endswith(f"{start} --size 64 --methods diffusers_tuned,ours-cpu --seeds 0,1 {end}")


def test_a_column_that_nobody_fills_is_left_out():
    rows = [{"method": "a", "KD": "1", "studio": ""}, {"method": "b", "KD": "", "studio": ""}]
    assert grid(rows) == ["| method | KD |", "| --- | --- |", "| a | 1 |", "| b |  |"]


def test_a_choice_stands_beside_the_default_with_the_same_seeds():
    """Else a row of one lucky seed would look better than it is."""

    def a_row(variant, seed, frechet):
        return a_run(variant, {480: 1.0}) | {
            "variant": variant, "title": variant, "seed": seed, "images": 40_000, "frechet": frechet, "frechet_error": 1.0, "kernel": 1.0,
        }  # fmt: skip

    runs = [a_row("base", seed, frechet) for seed, frechet in enumerate((100.0, 50.0, 60.0))]
    text = of_ablation(
        [*runs, a_row("v", 0, 110.0), a_row("adamw", 1, 75.0), a_row("adamw", 2, 90.0), a_row("eps", 3, 70.0)], BY
    )
    ratios = {line.split(" | ")[0][2:]: line.split(" | ")[4] for line in text.splitlines() if line.startswith("| ")}
    assert ratios == {
        "changed": "beside the default", "---": "---", "base": "1.00x", "v": "1.10x", "adamw": "1.50x", "eps": "",
    }  # fmt: skip
