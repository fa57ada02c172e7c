"""What only a card can show: the same bits after a stop and in a recorded step, a compiler that is there, memory that does run
out, float16, and that no quiet step waits. Where there is no NVIDIA card all of it is skipped."""

import dataclasses

import numpy as np
import pytest
import torch

from ddpm_core import checkpoint, devices
from ddpm_core.config import NetworkConfig, RunConfig, preset
from ddpm_core.data.batches import Batches
from ddpm_core.runs import Run
from ddpm_core.training import memory, recording, trainer, trial
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training.control import Control
from ddpm_core.training.eager_first import EagerFirst
from ddpm_core.training.footprint import Arithmetic
from ddpm_core.training.gradients import Gradients
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.rehearsal import measured_peak
from ddpm_core.training.state import TrainingState
from ddpm_core.training.steps import Steps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA card here")

NETWORK = NetworkConfig(width=64, multipliers=(1, 2), blocks=1, patch=2, attention=(1,), dropout=0.1)
FIRST = 8  # the step from which a run is compiled
LAST = 16


@pytest.fixture
def card():
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def pictures(tmp_path):
    """A folder of forty pictures of 32 px in two classes, each a blot of its own."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "pictures" / ("even", "odd")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        small = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((32, 32)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def go(tmp_path, pictures, monkeypatch):
    """go(name, stop_at=(), **settings): the run's last saved state, and what it said; with `stop_at` it was stopped there and resumed."""
    monkeypatch.setattr(trial, "COMPILE_AFTER", 0.0)
    monkeypatch.setattr(trial, "COMPILE_AFTER_STEPS", FIRST)
    monkeypatch.setattr(trainer.Journal, "due", property(lambda self: True))  # so that a run can be stopped at any step

    def go(name, stop_at=(), **settings):
        config = RunConfig(
            str(pictures), 32, name,
            **{"network": NETWORK, "batch_size": 16, "epochs": 100, "max_steps": LAST, "warmup_steps": 4,
               "held_out": 0.0, "device": "cuda", **settings},
        )  # fmt: skip
        run, said = Run(tmp_path / "out", name), []
        for number, stop in enumerate((*stop_at, None)):
            control = Control()

            def watch(status, stop=stop, control=control):
                said.append(status.message)
                if stop is not None and status.state == "running" and status.step >= stop:
                    control.stop()

            resume = number > 0
            trainer.train(run, config, data_dir=tmp_path / "data", control=control, report=watch, resume=resume)
            torch._dynamo.reset()  # a program that resumes has compiled nothing yet
        return checkpoint.load_state(run.state_path, print), "\n".join(said)

    return go


def differing(one, other):
    """The names of the weights and averages that differ."""
    return [
        f"{part}.{name}"
        for part in ("weights", "ema", "second_ema")
        for name in one[part]
        if not torch.equal(one[part][name], other[part][name])
    ]


def test_a_run_that_starts_from_a_model_learns(go, tmp_path):
    """The model's weights wait in the processor's memory, the network is on the card."""
    go("teacher", max_steps=2, compile=False)
    teacher = tmp_path / "out" / "checkpoints" / "teacher" / "ddpm_final.pt"
    saved, _ = go("pupil", max_steps=2, compile=False, from_model=str(teacher))
    assert saved["step"] == 2


def test_a_compiler_that_fails_is_done_without(go, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler today")

    monkeypatch.setattr(torch, "compile", broken)
    saved, said = go("without")
    assert saved["step"] == LAST and saved["compiled_from"] is None
    assert "no compiler today" in said


def test_where_memory_runs_out_the_step_is_made_in_parts(go, card):
    torch.cuda.empty_cache()
    everything = torch.cuda.get_device_properties(card).total_memory
    there = torch.cuda.memory_reserved(card)
    try:
        torch.cuda.set_per_process_memory_fraction((there + 700 * 2**20) / everything, card)
        saved, said = go("small", batch_size=4096, micro_batch=4096, epochs=1000, max_steps=3, compile=False)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, card)
    assert saved["step"] == 3
    assert saved["micro_batch"] < 4096
    assert "Out of memory" in said


def test_a_card_without_bfloat16_learns_in_float16(go, monkeypatch):
    monkeypatch.setattr(devices, "bfloat16_pays", lambda device: False)
    saved, _ = go("half", compile=False)
    assert saved["scaler"]["scale"] > 1
    assert all(weight.isfinite().all() for weight in saved["weights"].values())


@pytest.mark.parametrize("compile_", [False, True], ids=["called", "recorded"])
def test_a_quiet_step_never_waits_for_the_card(card, compile_):
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    config = RunConfig("blots", 32, network=NETWORK, batch_size=16, device="cuda", compile=compile_)
    state = TrainingState(config, images, card)
    state.compiled_from = None
    gradients = Gradients(state, DiffusionLoss(config, Batches(images, 16, 0, card), card), pytest.fail)
    make_step = Steps(state, gradients, EagerFirst(state, gradients, pytest.fail), pytest.fail)

    def step():
        optimizers.set_learning_rate(state.optimizer, 1e-3)
        make_step(state.step)
        state.step += 1
        state.update_averages()

    step()  # the first one makes the optimizer's state, and is recorded
    assert (make_step.recording is not None) == compile_
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("size", "name", "at_once"), [(32, "standard", 128), (64, "standard", 64), (64, "small", 32)])
@pytest.mark.parametrize("amp", [True, False])
def test_the_plan_knows_what_torch_will_take(card, size, name, at_once, amp):
    config = preset("openmoji", size, name, amp=amp, device="cuda")
    measured_peak(
        preset("openmoji", 32, "cpu", device="cuda"), 3, 2, card
    )  # what CUDA's libraries take once, for themselves
    measured = measured_peak(config, 3, at_once, card)
    planned = memory.needed(config, 3, at_once, Arithmetic(card=True, half=amp), grid=False).of_steps
    assert planned == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "bfloat16"])
def test_the_compiled_network_learns_what_the_plain_one_learns(card, amp):
    """Maps of 32 x 32 places, which its kernels go through in many tiles; weights that are nowhere zero."""
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 64, 64), dtype=np.uint8)
    network = dataclasses.replace(NETWORK, dropout=0.0)
    config = RunConfig("blots", 64, network=network, batch_size=16, device="cuda", amp=amp)
    state = TrainingState(config, images, card)
    draw = torch.Generator().manual_seed(0)
    for weight in state.network.parameters():
        if not weight.any():
            weight.data = (0.05 * torch.randn(weight.shape, generator=draw)).to(card)
    state.use_layout(True)
    gradients = Gradients(state, DiffusionLoss(config, Batches(images, 16, 0, card), card), pytest.fail)
    losses, learned = [], []
    for say in (state.network, torch.compile(state.network)):
        state.network.zero_grad()
        losses.append(gradients.attempt(say, 0).item())
        learned.append([weight.grad.clone() for weight in state.network.parameters()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    for plain, compiled in zip(*learned, strict=True):
        assert (compiled - plain).norm() < 0.05 * plain.norm() + 1e-6


UNRECORDED = "could not be recorded"


def test_a_recorded_step_has_the_bits_of_a_called_one(go, monkeypatch):
    settings = {"class_conditional": True, "augment": 0.12, "max_steps": FIRST - 1}  # all of it before it is compiled
    recorded, said = go("recorded", **settings)
    assert UNRECORDED not in said

    def broken(*_):
        raise RuntimeError("the tape is full")

    monkeypatch.setattr(recording, "Recording", broken)
    called, said = go("called", **settings)
    assert UNRECORDED in said and "the tape is full" in said
    assert differing(recorded, called) == []


MODES = {
    "default": {},
    "float32": {"amp": False},
    "eager": {"compile": False},
    "classes": {"class_conditional": True, "augment": 0.12},
}


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_was_stopped_has_the_same_bits(go, mode):
    whole, said = go("whole", **MODES[mode])
    assert whole["step"] == LAST
    assert ("Compiled in" in said) == (mode != "eager"), said
    assert UNRECORDED not in said
    stopped, _ = go("stopped", stop_at=(3, FIRST, FIRST + 3), **MODES[mode])
    assert differing(whole, stopped) == []
