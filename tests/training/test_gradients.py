"""A step in parts is the step, and where memory runs out the run goes on as if it had begun with smaller parts.

Memory runs out here because a stand-in says so.
"""

import dataclasses
import re

import pytest
import torch

from ddpm_core import checkpoint, pictures, seeds
from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.data.batches import Batches
from ddpm_core.errors import StudioError
from ddpm_core.network import convolution
from ddpm_core.runs import Run
from ddpm_core.training import preparation, previews, trainer
from ddpm_core.training.control import Control
from ddpm_core.training.gradients import Gradients
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.out_of_memory import halving
from ddpm_core.training.state import TrainingState

CPU = torch.device("cpu")
OF = DiffusionLoss.of
PLAIN = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, attention=(1,))


@pytest.fixture
def material(tiny, eight_pictures):
    """material(**settings) -> state and gradients of a network that is past its first steps."""

    def make(**settings):
        config = tiny(**{"batch_size": 8, "amp": False, **settings})
        images = eight_pictures.transpose(0, 3, 1, 2).copy()
        state = TrainingState(config, images, CPU)
        draw = torch.Generator().manual_seed(0)
        for weight in state.network.parameters():
            if not weight.any():
                weight.data.normal_(std=0.05, generator=draw)
        loss = DiffusionLoss(config, Batches(images, config.batch_size, 0, CPU), CPU)
        return state, Gradients(state, loss, lambda line: None)

    return make


@pytest.fixture
def go(tmp_path):
    def go(config, stop_at=None, **options):
        run, control = Run(tmp_path / "out", config.name), Control()

        def watch(status):
            if stop_at is not None and status.state == "running" and status.step >= stop_at:
                control.stop()

        return run, trainer.train(run, config, data_dir=tmp_path / "data", control=control, report=watch, **options)

    return go


def saved_by(run):
    return checkpoint.load_state(run.state_path, print)


def same(one, other):
    """Everything but the clock and the name."""
    apart = ("config", "seconds", "moments", "weights", "ema", "second_ema", "loss_sum")
    parts = [part for part in ("weights", "ema", "second_ema") if part in one]
    return (
        {key: value for key, value in one.items() if key not in apart}
        == {key: value for key, value in other.items() if key not in apart}
        and all(torch.equal(one[part][name], other[part][name]) for part in parts for name in one[part])
        and torch.equal(one["loss_sum"], other["loss_sum"])
        and all(
            torch.equal(torch.as_tensor(value), torch.as_tensor(other["moments"][index][name]))
            for index, of_weight in one["moments"].items()
            for name, value in of_weight.items()
        )
    )


# ---- parts


@pytest.mark.parametrize("at_once", [1, 3, 4, 7])
def test_the_gradient_does_not_depend_on_the_parts(material, at_once):
    state, gradients = material(network=PLAIN, augment=0.3)
    found = {}
    for pictures_at_once in (8, at_once):
        loss = gradients.attempt(state.network, 5, pictures_at_once)
        found[pictures_at_once] = loss, [weight.grad.clone() for weight in state.network.parameters()]
        state.network.zero_grad()
    whole, parts = found[8], found[at_once]
    assert parts[0].item() == pytest.approx(whole[0].item(), rel=1e-6)
    apart = torch.stack([(one - other).norm() for one, other in zip(whole[1], parts[1], strict=True)]).norm()
    assert apart < 1e-6 * torch.stack([one.norm() for one in whole[1]]).norm()


def test_a_batch_in_one_part_is_what_it_was_before_there_were_parts(material):
    """The dropout of runs begun then comes from the seed and the step alone."""
    state, gradients = material()
    loss = gradients(state.network, 3)
    found = [weight.grad.clone() for weight in state.network.parameters()]
    state.network.zero_grad()
    torch.manual_seed(seeds.mix(0, "dropout", 3))
    expected = gradients.batch_loss(state.network, 3)
    expected.backward()
    assert torch.equal(loss, expected)
    assert all(torch.equal(one, weight.grad) for one, weight in zip(found, state.network.parameters(), strict=True))


def test_each_part_drops_other_numbers(material, monkeypatch):
    state, gradients = material()
    started = []
    monkeypatch.setattr(torch, "manual_seed", started.append)
    gradients.attempt(state.network, 3, 4)
    assert started == [seeds.mix(0, "dropout", 3), seeds.mix(0, "dropout", 3, 4)]


def test_the_size_of_the_parts_is_asked_for_and_told(go, tiny, monkeypatch):
    shown = []

    def watched(self, network, drawn):
        shown.append(len(drawn.x0))
        return OF(self, network, drawn)

    monkeypatch.setattr(DiffusionLoss, "of", watched)
    run, status = go(tiny(micro_batch=3, max_steps=2))
    assert shown == [3, 1, 3, 1] and "4 pictures are in memory 3 at a time" in status.message
    assert saved_by(run)["micro_batch"] == 3


# ---- too little memory


def cramped(room, after=0):
    """`DiffusionLoss.of` where more than `room` pictures do not fit; the first `after` calls know nothing of that."""
    calls = iter(range(10**9))

    def of(self, network, drawn):
        if next(calls) >= after and len(drawn.x0) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return OF(self, network, drawn)

    return of


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_run_that_is_out_of_memory_at_once_is_one_with_smaller_parts(go, tiny, monkeypatch, optimizer):
    small, _ = go(tiny(name="small", micro_batch=1, optimizer=optimizer))
    monkeypatch.setattr(DiffusionLoss, "of", cramped(1))
    run, status = go(tiny(name="cramped", optimizer=optimizer))
    assert status.state == "finished" and same(saved_by(small), saved_by(run))
    assert "Out of memory at step 0 with 4 pictures at once" in status.message
    assert "in 2 parts of 2." in status.message and "in 4 parts of 1." in status.message


def test_what_an_unfinished_step_has_added_up_is_forgotten(go, tiny, monkeypatch):
    """Memory runs out in the third of four parts of step 2. With one picture at once from the start, but for steps 0 and 1,
    everything is as if it never had: weights, averages, moments, counters, losses."""
    settings = {"network": NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, dropout=0.1), "batch_size": 8}
    expected, _ = go(tiny(name="expected", micro_batch=2, max_steps=2, **settings))
    state = saved_by(expected)
    checkpoint.save_state(expected.state_path, {**state, "micro_batch": 1})
    go(dataclasses.replace(expected.config(), max_steps=6), resume=True)

    monkeypatch.setattr(DiffusionLoss, "of", cramped(1, after=4 + 4 + 2))
    run, status = go(tiny(name="run", micro_batch=2, max_steps=6, **settings))
    assert "Out of memory at step 2 with 2 pictures at once" in status.message
    assert same(saved_by(expected), saved_by(run))


def test_a_resumed_run_keeps_to_its_smaller_parts(go, tiny, monkeypatch):
    monkeypatch.setattr(trainer.Journal, "due", property(lambda self: True))
    monkeypatch.setattr(DiffusionLoss, "of", cramped(2, after=2))
    whole, _ = go(tiny(name="whole"))
    monkeypatch.setattr(DiffusionLoss, "of", cramped(2, after=2))
    halves, status = go(tiny(name="halves"), stop_at=5)
    assert status.step == 5
    monkeypatch.undo()  # the memory of another program is free again
    go(halves.config(), resume=True)
    assert saved_by(halves)["micro_batch"] == 2 and same(saved_by(whole), saved_by(halves))


def test_another_device_makes_its_own_parts(material, tmp_path):
    state, _ = material()
    run = Run(tmp_path, "toy")
    run.create(state.config)
    state.micro_batch = 2
    state.save(run, 1.0)
    saved = saved_by(run)
    checkpoint.save_state(run.state_path, {**saved, "device": "cuda"})
    other, _ = material()
    other.restore(run, print)
    assert other.micro_batch == 8


def test_a_resume_point_from_before_there_were_parts_has_whole_batches(material, tmp_path):
    state, _ = material()
    run = Run(tmp_path, "toy")
    run.create(state.config)
    state.save(run, 1.0)
    saved = saved_by(run)
    del saved["micro_batch"]
    checkpoint.save_state(run.state_path, saved)
    other, _ = material()
    other.micro_batch = 2  # what a plan made for a fresh run would be
    other.restore(run, print)
    assert other.micro_batch == 8


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),  # on Windows
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, other allocations: 9.00 GB)."),
    ],
)
@pytest.mark.parametrize(("amp", "fix"), [(True, "preset."), (False, "preset, or leave out --no-amp.")])
def test_one_picture_that_is_too_much_is_one_line(go, tiny, monkeypatch, error, amp, fix):
    def full(self, network, drawn):
        raise error

    monkeypatch.setattr(DiffusionLoss, "of", full)
    with pytest.raises(StudioError, match=re.escape(f"16 px: choose a smaller size or {fix}") + "$"):
        go(tiny(amp=amp))


def test_memory_that_runs_out_before_the_first_step_is_one_line_and_leaves_nothing(go, tiny, monkeypatch, tmp_path):
    def full(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(preparation, "TrainingState", full)
    with pytest.raises(StudioError, match="smaller size or preset"):
        go(tiny())
    assert not (tmp_path / "out").exists()


# ---- sample grids


def cramped_denoiser(room):
    real = previews.denoiser

    def denoiser(*arguments):
        denoise = real(*arguments)

        def careful(x, alpha, sigma):
            if len(x) > room:
                raise torch.OutOfMemoryError
            return denoise(x, alpha, sigma)

        return careful

    return denoiser


def test_a_grid_that_does_not_fit_is_drawn_a_few_at_a_time(go, tiny, monkeypatch):
    one, _ = go(tiny(name="one", epochs=5, sample_every=5))
    monkeypatch.setattr(previews, "denoiser", cramped_denoiser(10))
    other, status = go(tiny(name="other", epochs=5, sample_every=5))
    assert status.state == "finished" and same(saved_by(one), saved_by(other))
    grids = [run.progress / "quick_epoch_5.png" for run in (one, other)]
    assert pictures.read_recipe(grids[1])["seeds"] == [0, 35]
    from PIL import Image, ImageChops

    first, second = (Image.open(grid) for grid in grids)
    assert max(high for _, high in ImageChops.difference(first, second).getextrema()) <= 1


def test_a_grid_without_any_room_is_left_out_and_the_run_goes_on(go, tiny, monkeypatch):
    monkeypatch.setattr(previews, "denoiser", cramped_denoiser(0))
    run, status = go(tiny(epochs=10))
    assert status.state == "finished" and status.message.count("too little memory left to draw sample pictures") == 1
    assert not list(run.progress.glob("quick_*.png"))


# ---- halving itself


def test_halving_tries_half_as_many_down_to_one():
    tried, told = [], []

    def work(at_once):
        tried.append(at_once)
        if at_once > 1:
            raise torch.OutOfMemoryError
        return "done"

    assert halving(work, 12, CPU, told.append) == "done"
    assert tried == [12, 6, 3, 2, 1] and told == [6, 3, 2, 1]


def test_halving_gives_up_at_one_and_leaves_other_errors_alone():
    def full(at_once):
        raise torch.OutOfMemoryError

    def wrong(at_once):
        raise RuntimeError("something else")

    with pytest.raises(torch.OutOfMemoryError):
        halving(full, 4, CPU)
    with pytest.raises(RuntimeError, match="something else"):
        halving(wrong, 4, CPU, pytest.fail)


def test_winograds_way_comes_to_a_steps_gradients_in_both_layouts(eight_pictures, monkeypatch):
    """To those of torch's own convolutions, but for rounding."""
    network = NetworkConfig(width=96, multipliers=(1, 2), blocks=1, patch=1, attention=())
    config = RunConfig("toy", 16, network=network, batch_size=8, device="cpu", amp=False)
    images = eight_pictures.transpose(0, 3, 1, 2).copy()
    found, calls, winograd = [], [], convolution.winograd
    monkeypatch.setattr(convolution, "winograd", lambda *given: calls.append(1) or winograd(*given))
    for channels_last, ways in ((False, {}), (False, convolution.LEAST_CHANNELS), (True, convolution.LEAST_CHANNELS)):
        monkeypatch.setattr(convolution, "LEAST_CHANNELS", ways)
        calls.clear()
        state = TrainingState(config, images, CPU)
        for name, weight in state.network.named_parameters():
            # These begin at zero, and would hide the others.
            if any(part in name for part in ("conv_out", "project", "head")):
                torch.nn.init.normal_(weight, std=0.02, generator=torch.Generator().manual_seed(0))
        state.use_layout(channels_last)
        gradients = Gradients(state, DiffusionLoss(config, Batches(images, 8, 0, CPU), CPU), pytest.fail)
        loss = gradients(state.network, 0)
        found.append([loss, *(weight.grad for weight in state.network.parameters())])
        assert bool(calls) == bool(ways)
    torchs, *ours = found
    for mine in ours:
        for one, other in zip(torchs, mine, strict=True):
            assert (one - other).abs().max() <= 1e-4 * one.abs().max() + 1e-7
