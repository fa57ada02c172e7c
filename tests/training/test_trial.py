"""The trial at the start: it takes what is clearly faster, says so, and changes nothing else. Its clock is invented here."""

import dataclasses

import numpy as np
import pytest
import torch

import train_high_res
from ddpm_core import checkpoint, devices
from ddpm_core.config import NetworkConfig
from ddpm_core.data.batches import Batches
from ddpm_core.network import convolution
from ddpm_core.network.unet import UNet
from ddpm_core.runs import Run, Status
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training import snapshots, trainer, trial
from ddpm_core.training.control import Control
from ddpm_core.training.gradients import Gradients
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.state import TrainingState
from tests.weights import same

CPU = torch.device("cpu")


@pytest.fixture
def threads():
    """threads(n): as if the program had been given n of them."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def material(tiny, eight_pictures):
    """A fresh state, and what makes the gradients of its steps."""
    config = tiny()
    images = eight_pictures.transpose(0, 3, 1, 2).copy()
    state = TrainingState(config, images, CPU)
    return state, Gradients(state, DiffusionLoss(config, Batches(images, 4, 0, CPU), CPU), pytest.fail)


@pytest.fixture
def clock(monkeypatch):
    """clock({threads: seconds, "channels-last": times as long}): a step takes so long; returns the list of the ones made,
    or of the ones that would have been made, unless they are to be "real"."""

    def invent(table):
        made = []

        def seconds(state, gradients):
            if "real" in table:
                gradients.attempt(state.network, state.step)
            threads = torch.get_num_threads()
            made.append((threads, state.channels_last))
            answer = table[threads]
            answer = answer.pop(0) if isinstance(answer, list) else answer
            return answer * (table["channels-last"] if state.channels_last else 1)

        monkeypatch.setattr(trial, "step_seconds", seconds)
        return made

    return invent


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """As on a processor with bfloat16, or with native["bfloat16"] = False as on one without, whichever this is."""
    answers = {"bfloat16": True}
    monkeypatch.setattr(devices, "bfloat16_pays", lambda device: answers["bfloat16"])
    monkeypatch.setattr(devices, "half", lambda device, amp: None)  # it may be emulated here
    return answers


@pytest.fixture
def layouts(monkeypatch):
    """As if a processor could gain by the other layout, which is how it is tested without a card."""
    monkeypatch.setattr(trial, "layout_is_open", lambda state: True)


@pytest.fixture
def go(tmp_path):
    def go(config, **options):
        run = Run(tmp_path / "out", config.name)
        return run, trainer.train(run, config, data_dir=tmp_path / "data", **options)

    return go


def stop_at(step):
    control = Control()

    def watch(status):
        if status.state == "running" and status.step >= step:
            control.stop()

    return {"control": control, "report": watch}


def saved_by(run):
    return checkpoint.load_state(run.state_path, print)


# ---- what is chosen


@pytest.mark.parametrize(
    ("given", "table", "chosen", "line"),
    [
        (2, {2: 0.1, 1: 0.2}, 2, "Trains with 2 threads, weights in plain layout (1 thread: 0.5x)."),
        (2, {2: 0.1, 1: 0.05}, 1, "Trains with 1 thread, weights in plain layout (2 threads: 0.5x)."),
        (2, {2: 0.1, 1: 0.09}, 2, "Trains with 2 threads, weights in plain layout (1 thread: 1.1x)."),
        (4, {4: 0.1, 2: 0.05, 1: 0.02}, 1, "(4 threads: 0.5x; 2 threads: 0.4x)."),
        (4, {4: 0.1, 2: 0.05, 1: 0.2}, 2, "(4 threads: 0.5x; 1 thread: 0.2x)."),
        (4, {4: 0.1, 2: 0.1}, 4, "(2 threads: 1.0x)."),
        (3, {3: 0.1, 1: 0.05}, 1, "(3 threads: 0.5x)."),
        (2, {2: 1.3, 1: 0.2}, 1, "Trains with 1 thread, weights in plain layout (2 threads: 0.2x)."),
        (2, {2: 2.0, 1: 3.0}, 2, "Trains with 2 threads, weights in plain layout (1 thread: 0.7x)."),
        (2, {2: 8.2, 1: 0.2}, 1, "Trains with 1 thread, weights in plain layout (2 threads: under 0.1x)."),
        (2, {2: 20.1}, 2, "Trains with 2 threads, weights in plain layout (a step takes too long here to try others)."),
        (1, {}, 1, "Trains with 1 thread, weights in plain layout."),
    ],
)
def test_fewer_threads_are_taken_where_they_are_clearly_faster(material, threads, clock, given, table, chosen, line):
    threads(given)
    made = clock(table)
    said = trial.choose(*material)
    assert said.endswith(line) and torch.get_num_threads() == chosen
    assert all(number <= given for number, _ in made)


def test_faster_once_is_not_enough(material, threads, clock):
    """Something else wanted the processor while two threads were timed, and then no more."""
    threads(2)
    clock({2: [0.1] * 4 + [0.04] * 10, 1: 0.05})  # at 0.1 s a step two are timed, after one that is not
    assert "(1 thread: 0.8x)" in trial.choose(*material) and torch.get_num_threads() == 2


def test_a_hopeless_choice_is_dropped_after_one_step(material, threads, clock):
    threads(2)
    made = clock({2: 0.1, 1: 0.4})
    trial.choose(*material)
    assert made.count((1, False)) == 1 and torch.get_num_threads() == 2


def test_of_long_steps_one_of_each_kind_tells(material, threads, clock):
    """A quiet machine with a large network waits for one step more, not for several."""
    threads(2)
    made = clock({2: 2.0, 1: 3.0})
    trial.choose(*material)
    assert made == [(2, False), (1, False)]


def test_a_busy_machine_is_not_taken_for_a_large_network(material, threads, clock):
    """Its first step waited for other programs, and so may any with a thread on each processor."""
    threads(2)
    clock({2: [2.5, 0.75], 1: [0.23] + [0.16] * 10})
    assert "with 1 thread" in trial.choose(*material) and torch.get_num_threads() == 1


def test_one_long_step_of_a_quiet_machine_changes_nothing(material, threads, clock):
    """The first one, which waited for something, is asked again before anything is chosen by it."""
    threads(2)
    clock({2: [2.5] + [0.06] * 10, 1: 0.08})
    assert "with 2 threads" in trial.choose(*material) and torch.get_num_threads() == 2


@pytest.mark.parametrize(("times_as_long", "chosen"), [(0.5, True), (0.95, False), (1.0, False), (2.0, False)])
def test_the_layout_reaches_the_network_and_both_averages(material, clock, layouts, times_as_long, chosen):
    state, _ = material
    clock({1: 0.1, "channels-last": times_as_long})
    said = trial.choose(*material)
    assert state.channels_last == chosen
    assert f"weights in {'channels-last' if chosen else 'plain'} layout" in said
    layout = torch.channels_last if chosen else torch.contiguous_format
    for network in (state.network, state.ema.network, state.second_ema.network):
        assert all(weight.is_contiguous(memory_format=layout) for weight in network.parameters() if weight.ndim == 4)


def test_a_processor_with_bfloat16_keeps_the_plain_layout_and_one_thread_needs_no_trial(material, clock):
    made = clock({})
    trial.choose(*material)
    assert made == [] and not material[0].channels_last


def test_a_processor_without_bfloat16_has_channels_last_and_tries_nothing_else(material, clock, native):
    native["bfloat16"] = False
    made = clock({})
    assert trial.choose(*material).endswith("Trains with 1 thread, weights in channels-last layout.")
    assert made == [] and material[0].channels_last


def test_a_card_that_does_not_compile_tries_channels_last(material):
    state, _ = material
    state.device = torch.device("cuda")
    config = dataclasses.replace(state.config, compile=False)
    assert not trial.usual_layout(config, state.device)
    state.config = config
    assert trial.layout_is_open(state)


@pytest.mark.parametrize("pays", [True, False])
def test_compiling_waits_a_minute(material, clock, monkeypatch, pays):
    state, gradients = material
    monkeypatch.setattr(devices, "compile_pays", lambda device: pays)
    clock({1: 0.01, "channels-last": 1.0})
    said = trial.choose(state, gradients)
    assert state.compiled_from == (6000 if pays else 0)
    assert ("From step 6,000 on it is compiled." in said) == pays


def test_compiling_waits_fifty_steps_at_least(material, clock, monkeypatch):
    monkeypatch.setattr(devices, "compile_pays", lambda device: True)
    clock({1: 10.0, "channels-last": 1.0})
    trial.choose(*material)
    assert material[0].compiled_from == 50


# ---- what is left as it was


def test_a_trial_changes_nothing_else(material, threads, layouts):
    """With the real clock: whatever it chooses here."""
    threads(2)
    state, gradients = material
    before = {name: weight.clone() for name, weight in state.network.state_dict().items()}
    torch.manual_seed(7)  # the network has dropout
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert trial.choose(state, gradients).startswith("Trains with ")
    assert torch.equal(torch.rand(3), expected)
    assert same(state.network.state_dict(), before) and state.step == 0
    assert all(weight.grad is None for weight in state.network.parameters())
    assert not optimizers.moments(state.optimizer)


def test_weights_depend_on_the_choice_and_not_on_how_it_was_found(go, tiny, threads, clock, layouts, monkeypatch):
    config = tiny(name="tried")
    threads(2)
    made = clock({2: 0.1, 1: 0.01, "channels-last": 0.1, "real": True})
    tried, status = go(config)
    assert made and "1 thread," in status.message and saved_by(tried)["channels_last"]

    threads(1)
    monkeypatch.setattr(trial, "choose", lambda state, gradients: state.use_layout(True) or "")
    told, _ = go(dataclasses.replace(config, name="told"))
    assert same(saved_by(tried)["weights"], saved_by(told)["weights"])
    assert same(saved_by(tried)["ema"], saved_by(told)["ema"])


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError("DefaultCPUAllocator: can't allocate memory")])
@pytest.mark.parametrize("step", [0, 3])
def test_out_of_memory_chooses_nothing(material, threads, layouts, monkeypatch, kind, step):
    """In the very first step, or in one of another choice."""
    state, _ = material
    steps = iter(range(99))

    def full(state, gradients):
        if next(steps) == step:
            raise kind
        return 0.2

    monkeypatch.setattr(trial, "step_seconds", full)
    said = trial.choose(*material)
    assert said == "Trains with 1 thread, weights in plain layout." and not state.channels_last


def test_on_a_card_the_trial_finds_out_how_many_pictures_fit(material, clock, monkeypatch):
    """Its first step, which loads the card's libraries, makes do with less; the other choices are not tried with less."""
    state, gradients = material
    said, of = [], DiffusionLoss.of

    def cramped(self, network, drawn):
        if len(drawn.x0) > 1:
            raise torch.OutOfMemoryError
        return of(self, network, drawn)

    monkeypatch.setattr(DiffusionLoss, "of", cramped)
    gradients.say = said.append
    state.device = torch.device("cuda")
    clock({1: 0.1})
    assert trial.Trial(state, gradients).seconds == 0.1 and state.micro_batch == 1
    assert [line[:52] for line in said] == [
        "Out of memory at step 0 with 4 pictures at once: it ",
        "Out of memory at step 0 with 2 pictures at once: it ",
    ]
    assert all(weight.grad is None for weight in state.network.parameters())


def test_the_line_is_told_with_the_first_status_and_kept(go, tiny):
    seen = []
    _, status = go(tiny(), report=lambda status: seen.append((status.state, status.message)))
    line = "Pictures in memory. Trains with 1 thread, weights in plain layout."
    assert status.message == line and next(message for state, message in seen if state == "running") == line


def test_the_command_line_prints_each_line_once(capsys):
    bar = train_high_res.Bar()
    for message in ("One.", "One.", "One. Two.", "One. Two.", "Another."):
        bar.show(Status(state="running", total_steps=10, message=message))
    bar.close()
    lines = [line.strip() for line in capsys.readouterr().err.replace("\r", "\n").splitlines()]
    assert [line for line in lines if line in ("One.", "Two.", "One. Two.", "Another.")] == ["One.", "Two.", "Another."]


# ---- and the resume point


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_other_layout_resumes_to_the_same_bits_and_its_files_are_as_ever(go, tiny, clock, native, optimizer):
    native["bfloat16"] = False
    clock({1: 0.1, "channels-last": 0.5})
    network = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, attention=(1,), dropout=0.1)
    settings = {"optimizer": optimizer, "network": network, "epochs": 8}
    whole, _ = go(tiny(name="whole", **settings))
    halves, status = go(tiny(name="halves", **settings), **stop_at(3))
    assert 3 <= status.step < 16
    go(halves.config(), resume=True)
    one, other = saved_by(whole), saved_by(halves)
    assert one["channels_last"] and other["channels_last"]
    for part in ("weights", "ema", "second_ema"):
        assert same(one[part], other[part])
    for index in one["moments"]:
        assert same(one["moments"][index], other["moments"][index])
        for name, moment in one["moments"][index].items():
            assert moment.stride() == other["moments"][index][name].stride()

    model = checkpoint.load_model(whole.final_path)
    assert all(weight.is_contiguous() for weight in model.weights.values())
    checkpoint.load_weights(UNet(model.config.network, model.channels), model.weights, whole.final_path)
    assert same(model.weights, one["ema"])


@pytest.mark.parametrize("bfloat16", [False, True])
def test_winograds_products_resume_to_the_same_bits(go, tiny, native, monkeypatch, bfloat16):
    """With convolutions wide enough for them, and a stop in between."""
    native["bfloat16"] = bfloat16
    kinds, winograd = [], convolution.winograd
    monkeypatch.setattr(convolution, "winograd", lambda x, *given: kinds.append(x.dtype) or winograd(x, *given))
    monkeypatch.setattr(devices, "has_matrix_units", lambda: False)
    if bfloat16:
        monkeypatch.setattr(devices, "half", lambda device, amp: torch.bfloat16)
        monkeypatch.setitem(convolution.LEAST_CHANNELS, torch.bfloat16, 96)  # few, as it may be emulated here
    network = NetworkConfig(width=96, multipliers=(1,), blocks=1, patch=1, attention=(), dropout=0.1)
    settings = {"network": network, "epochs": 2, "batch_size": 8, "optimizer": "muon"}
    whole, _ = go(tiny(name="whole", **settings))
    halves, status = go(tiny(name="halves", **settings), **stop_at(1))
    assert status.step == 1 and saved_by(halves)["channels_last"] == (not bfloat16)
    go(halves.config(), resume=True)
    for part in ("weights", "ema", "second_ema"):
        assert same(saved_by(whole)[part], saved_by(halves)[part])
    assert set(kinds) == {torch.bfloat16 if bfloat16 else torch.float32}


def test_a_processor_with_bfloat16_goes_on_in_the_plain_layout(material, native, tmp_path):
    """Of a run that was begun on one without."""
    state, _ = material
    run = Run(tmp_path, "toy")
    run.create(state.config)
    state.use_layout(True)
    state.save(run, 1.0)
    for bfloat16 in (True, False):
        native["bfloat16"] = bfloat16
        other = TrainingState(state.config, np.zeros((8, 3, 16, 16), np.uint8), CPU)
        other.data_mark = state.data_mark
        other.restore(run, print)
        assert other.channels_last == (not bfloat16)


def test_a_snapshot_in_the_other_layout_is_read_as_ever(material, tmp_path):
    state, _ = material
    run = Run(tmp_path, "toy")
    run.create(state.config)
    state.use_layout(True)
    snapshots.take(run, snapshots.FIRST, state.averages)
    (path, _), *_ = run.snapshots()
    weights = checkpoint.load_snapshot(path)["weights"][0]
    fresh = UNet(state.config.network, state.channels)
    fresh.load_state_dict(weights)
    expected = {name: weight.half().float() for name, weight in state.ema.network.state_dict().items()}
    assert same(fresh.state_dict(), expected)


def rewritten(run, change):
    """Saves the run's state again, changed."""
    saved = saved_by(run)
    change(saved)
    checkpoint.save_state(run.state_path, saved)


def test_a_resume_point_from_before_there_was_a_trial_still_serves(go, tiny):
    whole, _ = go(tiny(name="whole"))
    old, _ = go(tiny(name="old"), **stop_at(3))
    rewritten(old, lambda saved: [saved.pop(key) for key in ("channels_last", "compiled_from", "device")])
    go(old.config(), resume=True)
    assert same(saved_by(whole)["weights"], saved_by(old)["weights"])


@pytest.mark.parametrize("usual", [False, True])
def test_a_run_from_another_kind_of_device_gets_the_layout_that_is_usual_here(material, tmp_path, usual):
    """The moments come over in the other device's layout, and serve weights in this one's."""
    state, gradients = material
    run = Run(tmp_path, "toy")
    run.create(state.config)
    state.use_layout(not usual)
    gradients(state.network, 0)
    wanted = [weight.grad.clone() for weight in state.network.parameters()]
    state.optimizer.step()
    state.save(run, 1.0)
    rewritten(run, lambda saved: saved.update(device="cuda"))

    other = TrainingState(state.config, np.zeros((8, 3, 16, 16), np.uint8), CPU)
    other.data_mark = state.data_mark
    other.restore(run, print, usual)
    assert other.channels_last == usual
    for of_both in (state, other):
        for weight, gradient in zip(of_both.network.parameters(), wanted, strict=True):
            weight.grad = torch.empty_like(weight).copy_(gradient)
        of_both.optimizer.step()
    for (name, one), two in zip(state.network.named_parameters(), other.network.parameters(), strict=True):
        assert two.is_contiguous(
            memory_format=torch.channels_last if usual and two.ndim == 4 else torch.contiguous_format
        ), name
        assert torch.allclose(one, two, rtol=0, atol=1e-6), name
