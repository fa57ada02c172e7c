"""Averages of any length from small copies of two: the keep-rule, the maths against directly tracked ones, and the files."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ddpm_core import checkpoint
from ddpm_core.config import RunConfig
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.runs import Run
from ddpm_core.training import snapshots, trainer
from ddpm_core.training.ema import PowerEMA

WALK = 2304  # steps: nine snapshots, the fewest that a long run has


# ---- which are kept


def test_there_are_never_more_than_sixteen_and_soon_never_fewer_than_nine():
    for step in range(1, 100_000):
        kept = snapshots.kept(step)
        assert len(kept) <= 16
        assert step < 2304 or len(kept) >= 9
        assert all(b - a == kept[0] for a, b in zip(kept, kept[1:], strict=False)) and kept == sorted(kept)
        assert step < 256 or step - kept[-1] < 2 * kept[0]


def test_short_runs_keep_none():
    assert not any(map(snapshots.due, range(256))) and snapshots.kept(255) == []
    assert snapshots.due(256)


def test_what_a_run_writes_and_drops_is_what_the_rule_says(tmp_path):
    """Step by step with real files, and the same after a resume from anywhere."""
    run = new_run(tmp_path)
    averages = [PowerEMA(nn.Linear(1, 1), length) for length in (0.1, 0.05)]
    for step in range(1, 20_000):
        if snapshots.due(step):
            snapshots.take(run, step, averages)
            assert [number for _, number in run.snapshots()] == snapshots.kept(step)
    assert not list(run.averages.glob("*.tmp"))
    for step in (19_000, 18_432, 16_384, 255):
        snapshots.thin(run, step)
        assert {number for _, number in run.snapshots()} <= set(snapshots.kept(step))


def test_a_snapshot_that_somebody_reads_on_windows_goes_at_the_next_time(tmp_path, monkeypatch):
    run, network = new_run(tmp_path), nn.Linear(2, 2)
    for step in (256, 512):
        snapshots.take(run, step, [PowerEMA(network, 0.1)] * 2)
    unlink = Path.unlink

    def held(path, missing_ok=False):
        if path == run.snapshot_path(512):
            raise PermissionError(13, "it is being used by another process")
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", held)
        snapshots.thin(run, 300)
    assert [step for _, step in run.snapshots()] == [256, 512]
    snapshots.thin(run, 300)
    assert [step for _, step in run.snapshots()] == [256]


def test_a_snapshot_takes_two_bytes_a_weight_and_average(tmp_path):
    run = new_run(tmp_path)
    network = nn.Linear(300, 300)
    snapshots.take(run, 256, [PowerEMA(network, 0.1), PowerEMA(network, 0.05)])
    weights = 300 * 300 + 300
    assert 4 * weights < run.snapshot_path(256).stat().st_size < 4 * weights + 8000


# ---- the maths


@pytest.mark.parametrize("second", [(400, 16.97), (300, 16.97), (700, 6.94), (400, 2.0)])
def test_inner_products_are_the_integrals(second):
    t = (np.arange(1_000_000) + 0.5) / 1000

    def profile(end, gamma):
        return np.where(t < end, (gamma + 1) / end * (t / end) ** gamma, 0.0)

    integral = (profile(400, 6.94) * profile(*second)).sum() / 1000
    assert snapshots.inner_products([(400, 6.94)], [second])[0, 0] == pytest.approx(integral, rel=1e-4)
    assert snapshots.inner_products([second], [(400, 6.94)])[0, 0] == pytest.approx(integral, rel=1e-4)


def test_shares_sum_to_one():
    profiles = [(step, gamma) for step in range(256, 2305, 256) for gamma in (16.97, 6.94)]
    for gamma in (0.8, 3.0, 10.0, 30.0):
        shares, _ = snapshots.coefficients(profiles, (2304, gamma))
        assert shares.sum() == pytest.approx(1)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """(run, averages tracked directly by length, spread of the walk): 2,000 weights that went at random from 1 on."""
    run = new_run(tmp_path_factory.mktemp("walk"))
    network = nn.Linear(2000, 1, bias=False)
    generator = torch.Generator().manual_seed(0)
    nn.init.ones_(network.weight)
    tracked = {length: PowerEMA(network, length) for length in (0.1, 0.05, 0.04, 0.07, 0.08, 0.15, 0.2, 0.25)}
    seen = []
    for step in range(1, WALK + 1):
        with torch.no_grad():
            network.weight += 0.02 * torch.randn(network.weight.shape, generator=generator)
        seen.append(network.weight.detach().clone())
        for average in tracked.values():
            average.update(network, step)
        if snapshots.due(step):
            snapshots.take(run, step, [tracked[0.1], tracked[0.05]])
    return run, {length: average.network.weight for length, average in tracked.items()}, torch.stack(seen).std().item()


@pytest.mark.parametrize("length", [0.05, 0.1])
def test_a_tracked_length_comes_back_to_the_accuracy_of_float16(walked, length):
    run, direct, _ = walked
    weight = snapshots.reconstruct(run, length)["weight"]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, direct[length], rtol=2**-11, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "share"), [(0.04, 0.01), (0.07, 0.005), (0.08, 0.005), (0.15, 0.005), (0.2, 0.02), (0.25, 0.05)]
)
def test_another_length_agrees_with_tracking_it(walked, length, share):
    """Within a small share of the walk's spread, and at least five times nearer than the nearest tracked average."""
    run, direct, spread = walked
    weight = snapshots.reconstruct(run, length)["weight"]
    error = (weight - direct[length]).square().mean().sqrt().item()
    nearest = min((direct[tracked] - direct[length]).square().mean().sqrt().item() for tracked in (0.05, 0.1))
    assert error < share * spread
    assert error < nearest / 5


def test_the_saved_state_brings_the_average_to_the_runs_last_step(walked, tmp_path):
    """Between two snapshots, for a run that was stopped there."""
    run = new_run(tmp_path)
    network = nn.Linear(500, 1, bias=False)
    tracked = {length: PowerEMA(network, length) for length in (0.1, 0.05, 0.07)}
    generator = torch.Generator().manual_seed(1)
    for step in range(1, 1401):
        with torch.no_grad():
            network.weight += torch.randn(network.weight.shape, generator=generator)
        for average in tracked.values():
            average.update(network, step)
        if snapshots.due(step):
            snapshots.take(run, step, [tracked[0.1], tracked[0.05]])
    before = snapshots.reconstruct(run, 0.07)["weight"]
    averages = {"ema": tracked[0.1].network.state_dict(), "second_ema": tracked[0.05].network.state_dict()}
    checkpoint.save_state(run.state_path, {"step": 1400, **averages})
    after = snapshots.reconstruct(run, 0.07)["weight"]
    direct = tracked[0.07].network.weight
    assert (after - direct).norm() < 0.1 * (before - direct).norm()
    torch.testing.assert_close(snapshots.reconstruct(run, 0.05, 1400)["weight"], tracked[0.05].network.weight)
    assert snapshots.Kept(run).latest == 1400
    assert torch.equal(snapshots.reconstruct(run, 0.07, 1400)["weight"], after)
    run.state_path.unlink()
    assert snapshots.Kept(run).latest == 1280


def test_weights_that_stood_still_come_back_as_they_are(tmp_path):
    run = new_run(tmp_path)
    network = nn.Linear(4, 4)
    for step in (256, 512, 768, 1024):
        snapshots.take(run, step, [PowerEMA(network, 0.1), PowerEMA(network, 0.05)])
    for step in (1024, 768):
        made = snapshots.reconstruct(run, 0.12, step)
        torch.testing.assert_close(made["weight"], network.weight.detach(), rtol=1e-3, atol=1e-5)


def test_several_at_once_are_the_same_bits_and_each_file_is_read_once(walked, monkeypatch):
    run, *_ = walked
    lengths, read = [0.04, 0.07, 0.2], []
    alone = [snapshots.reconstruct(run, length)["weight"] for length in lengths]
    load = checkpoint.load_snapshot
    monkeypatch.setattr(checkpoint, "load_snapshot", lambda path: read.append(path) or load(path))
    for room, times in ((2**30, 1), (1, 3), (2 * run.snapshots()[-1][0].stat().st_size, 2)):
        monkeypatch.setattr(snapshots, "ROOM", room)
        read.clear()
        made = [weights["weight"] for weights in snapshots.Kept(run).reconstruct(lengths)]
        assert all(torch.equal(*pair) for pair in zip(made, alone, strict=True))
        assert len(read) == times * len(run.snapshots())


def test_what_can_be_made_is_known_without_reading_weights(walked, monkeypatch):
    run, *_ = walked
    monkeypatch.setattr(checkpoint, "load_snapshot", None)
    kept = snapshots.Kept(run)
    assert kept.possible([0.25, 0.05, 0.1]) == [0.25, 0.05, 0.1]
    assert kept.possible([0.25, 0.1], 256) == [0.1]
    with pytest.raises(UsageError, match="length 0.25 at step 256"):
        kept.possible([0.25], 256)


def test_what_was_possible_still_is_when_the_run_has_saved_since(walked):
    run, *_ = walked
    averages = {name: {"weight": torch.full((1, 2000), 2.0)} for name in ("ema", "second_ema")}
    checkpoint.save_state(run.state_path, {"step": 2400, **averages})
    try:
        kept = snapshots.Kept(run)
        lengths = kept.possible([0.05, 0.1])
        before = [weights["weight"] for weights in kept.reconstruct(lengths)]
        checkpoint.save_state(run.state_path, {"step": 2450, **averages})
        after = [weights["weight"] for weights in kept.reconstruct(lengths)]
        assert kept.latest == 2400 and all(torch.equal(*pair) for pair in zip(before, after, strict=True))
        assert snapshots.Kept(run).latest == 2450
    finally:
        run.state_path.unlink()


# ---- what cannot be made, in one line


def refused(error, *arguments):
    with pytest.raises(error) as caught:
        snapshots.reconstruct(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_made_is_one_line(walked, tmp_path):
    run, *_ = walked
    assert "no snapshots" in refused(UsageError, new_run(tmp_path), 0.1)
    assert "0.01 to 0.25" in refused(UsageError, run, 0.3)
    assert "no snapshot of step 300: choose one of 256, 512," in refused(UsageError, run, 0.1, 300)
    assert "length 0.25 at step 256" in refused(UsageError, run, 0.25, 256)


def test_a_damaged_snapshot_is_one_line_with_its_name(tmp_path):
    run = new_run(tmp_path)
    for step in (256, 512, 768):
        snapshots.take(run, step, [PowerEMA(nn.Linear(2, 2), 0.1), PowerEMA(nn.Linear(2, 2), 0.05)])
    path = run.snapshot_path(512)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (whole[:middle], flipped, b"", run.snapshot_path(256).read_bytes()):
        path.write_bytes(damaged)
        assert "step_512.pt" in (line := refused(CheckpointError, run, 0.08)) and "delete it" in line
    path.unlink()
    assert snapshots.reconstruct(run, 0.08)["weight"].shape == (2, 2)


def test_a_last_snapshot_that_is_empty_or_dropped_meanwhile_is_one_line(tmp_path, monkeypatch):
    run = new_run(tmp_path)
    for step in (256, 512):
        snapshots.take(run, step, [PowerEMA(nn.Linear(2, 2), 0.1), PowerEMA(nn.Linear(2, 2), 0.05)])
    listed = run.snapshots()
    monkeypatch.setattr(Run, "snapshots", lambda self: listed)
    path = run.snapshot_path(512)
    path.write_bytes(b"")
    assert "step_512.pt" in refused(CheckpointError, run, 0.08)
    path.unlink()
    line = refused(CheckpointError, run, 0.08)
    assert "step_512.pt was dropped meanwhile" in line and "delete" not in line


# ---- in a run


@pytest.fixture
def go(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "FIRST", 2)  # the tiny run has 12 steps
    monkeypatch.setattr(snapshots, "MOST", 4)

    def train(config, **options):
        run = Run(tmp_path / "out", config.name)
        return run, trainer.train(run, config, data_dir=tmp_path / "data", **options)

    return train


def test_a_resumed_run_has_the_same_snapshots(go, tiny):
    whole, _ = go(tiny(name="whole", epochs=6))
    halves, _ = go(tiny(name="halves", epochs=4))
    go(dataclasses.replace(halves.config(), epochs=6), resume=True)
    steps = [number for _, number in whole.snapshots()]
    assert steps == snapshots.kept(12) == [4, 8, 12]
    for (a, step), (b, other) in zip(whole.snapshots(), halves.snapshots(), strict=True):
        assert step == other
        for one, two in zip(*(checkpoint.load_snapshot(path)["weights"] for path in (a, b)), strict=True):
            assert all(weight.dtype == torch.float16 and torch.equal(weight, two[name]) for name, weight in one.items())
    states = [checkpoint.load_state(run.state_path, print) for run in (whole, halves)]
    for average in ("ema", "second_ema"):
        first, second = (state[average] for state in states)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_tracked_length_is_the_final_models(go, tiny):
    run, _ = go(tiny())
    made = snapshots.reconstruct(run, run.config().ema_length)
    model = checkpoint.load_model(run.final_path)
    assert list(made) == list(model.weights)
    for name, weight in model.weights.items():
        torch.testing.assert_close(made[name], weight, rtol=1e-3, atol=1e-5)


def test_a_state_of_an_older_version_goes_on_with_a_note(go, tiny):
    run, _ = go(tiny(epochs=4))
    state = checkpoint.load_state(run.state_path, print)
    del state["second_ema"]
    checkpoint.save_state(run.state_path, state)
    said = []
    _, status = go(dataclasses.replace(run.config(), epochs=6), resume=True, report=said.append)
    assert status.state == "finished"
    assert any("second one starts from it" in each.message for each in said)


def test_a_run_can_do_without_and_keeps_one_average_then(go, tiny):
    whole, _ = go(tiny(name="whole", snapshots=False))
    halves, _ = go(tiny(name="halves", snapshots=False, epochs=4))
    go(dataclasses.replace(halves.config(), epochs=6), resume=True)
    assert not whole.averages.exists()
    one, two = (checkpoint.load_state(run.state_path, print) for run in (whole, halves))
    assert "second_ema" not in one
    for part in ("weights", "ema"):
        assert all(torch.equal(weight, two[part][name]) for name, weight in one[part].items())


def test_a_run_that_wants_snapshots_later_is_told_from_when_its_second_average_is(go, tiny):
    run, _ = go(tiny(snapshots=False, epochs=4))
    said = []
    go(dataclasses.replace(run.config(), snapshots=True, epochs=6), resume=True, report=said.append)
    assert any("second one starts from it" in each.message for each in said)
    assert run.snapshots()


def new_run(root) -> Run:
    run = Run(root, "walk")
    run.create(RunConfig("toy", name="walk"))
    return run
