"""The compiled network takes over at a stored step, whatever stops and resumes came in between; a compiler that fails is
done without. Here a stand-in compiles, as there is no card; the last tests take torch's own on the processor."""

import functools

import pytest
import torch

from ddpm_core import checkpoint, devices
from ddpm_core.config import NetworkConfig
from ddpm_core.runs import Run
from ddpm_core.training import eager_first, trainer, trial
from ddpm_core.training.control import Control
from ddpm_core.training.eager_first import reason

FIRST = 4  # the step from which it is compiled
REAL_COMPILE = torch.compile


@pytest.fixture
def go(tmp_path, monkeypatch):
    """train() on a machine where compiling pays; with `stop_at`, only until that step."""
    monkeypatch.setattr(devices, "compile_pays", lambda device: True)
    monkeypatch.setattr(
        devices, "channels_last_pays", lambda device: True
    )  # one layout, compiled or not, on any processor
    monkeypatch.setattr(eager_first, "PATIENCE", 0.0)  # nobody presses Ctrl-C here
    monkeypatch.setattr(trial, "COMPILE_AFTER", 0.0)
    monkeypatch.setattr(trial, "COMPILE_AFTER_STEPS", FIRST)

    def go(config, stop_at=None, **options):
        run, control = Run(tmp_path / "out", config.name), options.pop("control", Control())

        def watch(status):
            if stop_at is not None and status.state == "running" and status.step >= stop_at:
                control.stop()

        return run, trainer.train(run, config, data_dir=tmp_path / "data", control=control, report=watch, **options)

    # Every step is reported, so that a run can be stopped at any of them.
    monkeypatch.setattr(trainer.Journal, "due", property(lambda self: True))
    return go


class StandIn:
    """What torch.compile gives: it rounds otherwise, and draws from everybody's random numbers when it first compiles."""

    calls = 0

    def __init__(self, network):
        self.network = network
        self.fresh = True
        StandIn.calls = 0

    def __call__(self, *arguments, **named):
        StandIn.calls += 1
        if self.fresh:
            torch.rand(5)
            self.fresh = False
        return 1.001 * self.network(*arguments, **named)


def result(run):
    saved = checkpoint.load_state(run.state_path, print)
    return saved["weights"], saved["ema"]


def same(one, other):
    return all(torch.equal(one[part][name], other[part][name]) for part in (0, 1) for name in one[part])


def test_a_stop_on_either_side_of_the_switch_changes_no_bit(go, tiny, monkeypatch):
    monkeypatch.setattr(torch, "compile", StandIn)
    whole, status = go(tiny(name="whole"))
    assert StandIn.calls == 12 - FIRST + 1, "one to compile, then one a step"
    assert "From step 4 on it is compiled. Compiling the network" in status.message
    assert "Compiled in " in status.message
    eager, _ = go(tiny(name="eager", compile=False))
    assert not same(result(whole), result(eager)), "else nothing would be tested"

    for stop_at in (FIRST - 1, FIRST, FIRST + 1):
        halves, status = go(tiny(name=f"stopped_{stop_at}"), stop_at=stop_at)
        assert status.step == stop_at
        go(halves.config(), resume=True)
        assert StandIn.calls == 12 - max(FIRST, stop_at) + 1
        assert same(result(whole), result(halves)), f"stopped at step {stop_at}"


def test_a_run_that_ends_before_the_switch_is_never_compiled(go, tiny, monkeypatch):
    monkeypatch.setattr(torch, "compile", None)
    _, status = go(tiny(max_steps=FIRST))
    assert status.state == "finished" and "Compil" not in status.message


def test_an_older_run_is_compiled_from_its_first_step(go, tiny, monkeypatch):
    monkeypatch.setattr(torch, "compile", StandIn)
    run, _ = go(tiny(), stop_at=1)
    saved = checkpoint.load_state(run.state_path, print)
    del saved["compiled_from"]
    checkpoint.save_state(run.state_path, saved)
    go(run.config(), resume=True, stop_at=2)
    assert StandIn.calls == 2


class Spoiled(torch.autograd.Function):
    """Fails on the way back: there torch compiles a second time."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise AssertionError("no kernel for this")


def broken_forward(network):
    def call(*arguments, **named):
        torch.rand(3)
        raise NotImplementedError("no compiler here")

    return call


def broken_backward(network):
    return lambda *arguments, **named: Spoiled.apply(network(*arguments, **named))


def broken_at_once(network):
    raise RuntimeError("no compiler here")


def out_of_memory(network):
    raise torch.OutOfMemoryError


@pytest.mark.parametrize("broken", [broken_forward, broken_backward, broken_at_once, out_of_memory])
def test_a_compiler_that_fails_is_done_without(go, tiny, monkeypatch, broken):
    eager, _ = go(tiny(name="eager", compile=False))
    monkeypatch.setattr(torch, "compile", broken)
    run, status = go(tiny(name="broken"))
    assert status.state == "finished" and same(result(eager), result(run))
    why = {
        broken_forward: "NotImplementedError: no compiler here", broken_at_once: "RuntimeError: no compiler here",
        broken_backward: "AssertionError: no kernel for this", out_of_memory: "OutOfMemoryError",
    }[broken]  # fmt: skip
    assert f"torch.compile does not work here, going on without it ({why})." in status.message


def breaks_at(call, otherwise=None):
    """A compiled network that fails at its call number `call`, as when torch compiles anew for another shape; or is the plain
    one from there on."""

    class Breaks(StandIn):
        def __call__(self, *arguments, **named):
            if StandIn.calls + 1 >= call and otherwise is None:
                Spoiled.apply(self.network(*arguments, **named)).sum().backward()
            if StandIn.calls + 1 >= call:
                StandIn.calls += 1
                return self.network(*arguments, **named)
            return super().__call__(*arguments, **named)

    return Breaks


def test_a_compiler_that_fails_later_is_done_without_once_and_for_all(go, tiny, monkeypatch):
    settings = {"micro_batch": 2}  # two calls a step, and two to compile: the seventh is in the second half of step 6
    monkeypatch.setattr(torch, "compile", breaks_at(7, otherwise="plain"))
    expected, _ = go(tiny(name="expected", **settings))
    monkeypatch.setattr(torch, "compile", breaks_at(7))
    whole, status = go(tiny(name="whole", **settings))
    assert status.message.count("going on without it") == 1
    line = "torch.compile does not work any more at step 6, going on without it (AssertionError: no kernel for this)."
    assert line in status.message and same(result(expected), result(whole))

    halves, status = go(tiny(name="halves", **settings), stop_at=8)
    assert status.step == 8
    monkeypatch.setattr(torch, "compile", None)  # nobody asks for it again
    go(halves.config(), resume=True)
    assert same(result(whole), result(halves))


@pytest.mark.parametrize("later", [False, True])
def test_a_compiler_that_ends_of_the_same_ctrl_c_is_asked_again(go, tiny, monkeypatch, later):
    """Ctrl-C also reaches the programs that the compiler has started."""
    monkeypatch.setattr(torch, "compile", StandIn)
    whole, _ = go(tiny(name="whole"))
    control = Control()

    class Interrupted(StandIn):
        def __call__(self, *arguments, **named):
            if not later or StandIn.calls == 3:
                control.stop()
                raise RuntimeError("ptxas died")
            return super().__call__(*arguments, **named)

    monkeypatch.setattr(torch, "compile", Interrupted)
    halves, status = go(tiny(name="halves"), control=control)
    assert (status.state, status.step) == ("stopped", FIRST + 2 if later else FIRST)
    assert "going on without" not in status.message
    monkeypatch.setattr(torch, "compile", StandIn)
    go(halves.config(), resume=True)
    assert same(result(whole), result(halves))


def test_the_reason_is_the_first_line_of_a_long_story():
    story = RuntimeError("\n  backend='inductor' raised:\n" + "and so on\n" * 50)
    assert reason(story) == "RuntimeError: backend='inductor' raised:"
    assert reason(ValueError()) == "ValueError" and len(reason(ValueError("x" * 900))) < 200


def resumes_to_the_same_bits(go, tiny):
    network = NetworkConfig(width=8, multipliers=(1,), blocks=1, patch=2, attention=())
    whole, status = go(tiny(name="whole", network=network))
    assert "Compiled in " in status.message
    halves, _ = go(tiny(name="halves", network=network), stop_at=FIRST + 1)
    torch._dynamo.reset()  # a resume is another process
    go(halves.config(), resume=True)
    assert same(result(whole), result(halves))


@pytest.mark.slow
def test_with_torch_s_own_tracing(go, tiny, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(REAL_COMPILE, backend="aot_eager"))
    resumes_to_the_same_bits(go, tiny)


@pytest.mark.slow
def test_with_torch_s_own_compiler(go, tiny):
    resumes_to_the_same_bits(go, tiny)
