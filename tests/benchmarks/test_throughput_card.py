"""The speed table of a graphics card, as far as it goes without one."""

import contextlib
import json
import os
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from benchmarks import machine, methods, peak, peer_networks, peers, records, rows, throughput
from benchmarks.tables.pages import renewed
from benchmarks.tables.throughput import card
from ddpm_core.config import NetworkConfig
from ddpm_core.errors import StudioError
from ddpm_core.network.unet import UNet
from ddpm_core.presets import TABLE
from tests.benchmarks import fake_children

CPU, CARD = torch.device("cpu"), torch.device("cuda")
NETWORKS = {
    ("diffusers", 32): 8.95, ("diffusers", 64): 35.75, ("diffusers", 128): 113.67,
    ("lucidrains", 32): 7.40, ("lucidrains", 64): 35.97, ("lucidrains", 128): 93.21,
}  # fmt: skip
THERE = "the peers come with requirements-bench.txt"


def needs(package):
    pytest.importorskip("diffusers", reason=THERE)
    if package == "lucidrains":
        pytest.importorskip("denoising_diffusion_pytorch", reason=THERE)


# ---- which rows, and where they go


def test_the_rows_follow_the_device():
    assert throughput.rows_on(CPU) is throughput.ROWS
    on_a_card = throughput.rows_on(CARD)
    assert throughput.chosen("standard_eager,diffusers_tuned_graphs", on_a_card) == [
        "diffusers_tuned_graphs", "standard_eager",
    ]  # fmt: skip
    assert throughput.BASE in on_a_card
    compiled = {key for key, row in on_a_card.items() if rows.compiles(row)}
    assert compiled == set(on_a_card) - {"diffusers", "lucidrains", "standard_eager"}


@pytest.mark.parametrize(
    ("device", "bfloat16", "file"),
    [
        (CPU, True, "throughput_64.json"),
        (CPU, False, "throughput_float32_64.json"),
        (CARD, True, "throughput_cuda_64.json"),
    ],
)
def test_all_rows_of_the_device_are_measured_and_kept_by_size(device, bfloat16, file, monkeypatch, tmp_path):
    asked = []

    failing = ""

    def measure(keys, *_):
        asked.extend(keys)
        row = {
            "images_per_second": 9.0,
            "ratio": None,
            "parameters": 1,
            "flops": 1,
            "share_of_peak": None,
            "steps": 1,
            "disturbed_steps": 0,
        }
        return {"peak_gflops": {}, "rows": {key: row for key in keys if key != failing}, "left_out": {}}

    pictures = SimpleNamespace(images=np.zeros((1, 3, 64, 64), np.uint8))
    monkeypatch.setattr(throughput, "measure", measure)
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    monkeypatch.setattr(throughput.catalogue, "load", lambda *_: pictures)
    monkeypatch.setattr(
        throughput.machine, "describe", lambda command, device: {"command": command, "device": device.type}
    )
    monkeypatch.setattr(throughput.devices, "choose", lambda name: device)
    monkeypatch.setattr(throughput.devices, "bfloat16_pays", lambda device: bfloat16)
    throughput.main(["--size", "64"])
    assert asked == list(throughput.rows_on(device))
    kept = json.loads((tmp_path / file).read_text())
    assert kept["command"] == "python -m benchmarks.throughput --size 64" and kept["device"] == device.type
    assert kept["size"] == 64
    # Some of the rows alone do not take the place of all of them.
    with pytest.raises(
        SystemExit, match=f"{file} also has diffusers, .*: measure them as well, or add --output FILE.$"
    ):
        throughput.main(["--size", "64", "--only", "standard"])
    throughput.main(["--size", "64", "--only", "standard", "--output", str(tmp_path / "some.json")])
    assert list(json.loads((tmp_path / "some.json").read_text())["rows"]) == ["standard"]
    assert json.loads((tmp_path / file).read_text()) == kept
    # Nor does what is left where one of them fails: it stands beside.
    failing = "diffusers"
    throughput.main(["--size", "64"])
    assert json.loads((tmp_path / file).read_text()) == kept
    beside = json.loads((tmp_path / file.replace(".json", "_incomplete.json")).read_text())
    assert list(beside["rows"]) == [key for key in kept["rows"] if key != "diffusers"]


# ---- the rows' processes


@pytest.fixture
def fakes(monkeypatch, tmp_path):
    """fakes(count): rows' processes are fakes, none of which is ready before so many have begun."""
    monkeypatch.setattr(rows, "_child", fake_children.act)
    monkeypatch.setattr(rows, "as_installed", contextlib.nullcontext)
    monkeypatch.setattr(throughput, "compiles", bool)
    monkeypatch.setenv("FAKES", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS", raising=False)

    def make(count, **on_a_card):
        monkeypatch.setenv("FAKES_TOGETHER", str(count))
        monkeypatch.setattr(throughput, "ROWS_ON_A_CARD", on_a_card)
        return list(on_a_card)

    yield make
    os.environ.pop("TORCHINDUCTOR_COMPILE_THREADS", None)


def measure(keys, **settings):
    said = []
    result = throughput.measure(keys, np.zeros((1, 1, 2, 2), np.uint8), 2, 0.0, CARD, say=said.append, **settings)
    return result, said


def test_on_a_card_all_start_at_once_and_who_fails_stops_nobody(fakes, monkeypatch):
    monkeypatch.setattr(throughput.devices, "cores", lambda: 16)
    keys = fakes(6, diffusers="good", good="good", dead="dies", refusing="cannot", late="dies in its turn")
    result, said = measure(keys)
    assert list(result["rows"]) == ["diffusers", "good"] and result["rows"]["good"]["rounds"] == [10.0, 10.0]
    assert result["rows"]["good"]["ratio"] == 1.0 and result["rows"]["good"]["share_of_peak"] == 0.25
    assert result["left_out"] == {
        "dead": "row dead died (exit code 3).",
        "refusing": "row refusing: it cannot",
        "late": "row late died (exit code 4).",
    }
    assert set(result["left_out"].values()) < set(said) and "good was ready after 1.5 s" in said
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == "3"  # 16 cores, five that compile


def test_fewer_start_together_where_that_is_asked_for(fakes):
    result, _ = measure(fakes(2, one="good", other="good"), together=2)
    assert list(result["rows"]) == ["one", "other"] and result["rows"]["one"]["ratio"] is None
    assert not result["left_out"]


def test_who_is_not_ready_in_time_is_left_out(fakes):
    result, _ = measure(fakes(99, one="good"), patience=0.0)
    late = "was not ready after 0 seconds, and was ended."
    assert result == {
        "peak_gflops": {}, "rows": {}, "left_out": {"peak": f"row peak {late}", "one": f"row one {late}"},
    }  # fmt: skip
    assert list(throughput.show(result)) == []


def test_with_a_process_everything_ends_that_it_started(fakes, tmp_path):
    fakes(1)
    child = rows.Child("endless", "works forever", tmp_path / "pictures.npy", "cpu")
    until = time.monotonic() + 60
    while not (begun := [path for path in tmp_path.iterdir() if path.name.isdigit()]) and time.monotonic() < until:
        time.sleep(0.02)
    worker = psutil.Process(int(begun[0].read_text()))
    assert worker.is_running()
    with pytest.raises(StudioError, match="^row endless was not ready after 0.1 seconds, and was ended.$"):
        child.wait(0.1)
    assert child.process.exitcode == -9
    assert not psutil.wait_procs([worker], timeout=10)[1]


def test_a_row_without_memory_waits_for_the_others(monkeypatch):
    monkeypatch.setattr(rows.time, "sleep", lambda seconds: None)
    answers = iter([torch.OutOfMemoryError(), torch.OutOfMemoryError(), None, None])

    def step():
        if (answer := next(answers)) is not None:
            raise answer

    rows.first_steps(step, CPU)
    assert next(answers, "all taken") == "all taken"
    monkeypatch.setattr(rows, "WAIT_FOR_MEMORY", -1.0)
    answers = iter([torch.OutOfMemoryError()])
    with pytest.raises(torch.OutOfMemoryError):
        rows.first_steps(step, CPU)


def test_a_row_of_ours_must_do_what_it_says(monkeypatch):
    method = object.__new__(methods.Ours)
    method.batch_size, method.config = 8, SimpleNamespace(compile=True)
    method.state = SimpleNamespace(
        compiled_from=None, micro_batch=8, config=SimpleNamespace(compile=True, batch_size=8), device=CARD,
        precision=SimpleNamespace(scaler=None),
    )  # fmt: skip
    method.make_step = SimpleNamespace(recording=object())
    assert rows.broken_promise(method, CPU) is None
    monkeypatch.setattr(rows.devices, "compile_pays", lambda device: True)
    assert rows.broken_promise(method, CARD) == "its network could not be compiled"
    method.state.compiled_from = 0
    assert rows.broken_promise(method, CARD) is None
    method.make_step.recording = None
    assert rows.broken_promise(method, CARD) == "its steps could not be recorded"
    method.state.micro_batch = 4
    assert "memory" in rows.broken_promise(method, CARD)


# ---- the peers there


def test_a_peer_s_cosine_is_diffusers_own_and_follows_the_clock():
    """Promised 8 steps by a trial, it made 14: the last ones must not be made at a rate of nothing."""
    diffusers = pytest.importorskip("diffusers", reason=THERE)
    weight = torch.nn.Parameter(torch.zeros(1))
    own = torch.optim.SGD([weight], lr=1e-3)
    theirs = diffusers.optimization.get_scheduler("cosine", optimizer=own, num_warmup_steps=3, num_training_steps=30)
    network = peer_networks.Timed(UNet(NetworkConfig(8, (1, 2), patch=2), 1))
    peer = peers.DiffusersRecipe("d", network, (1, 8, 8), tuned=True, lr=1e-3, total_steps=30)
    for _ in range(30):
        assert peer.optimizer.param_groups[0]["lr"] == pytest.approx(own.param_groups[0]["lr"], abs=1e-12)
        own.step()
        theirs.step()
        peer.step(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))

    method = methods.Theirs("diffusers_tuned", np.zeros((40, 1, 16, 16), np.uint8), 0, CPU, total_steps=8)
    method.order.batch_size = 2
    rates = []
    for step in range(14):
        rates.append(method.peer.optimizer.param_groups[0]["lr"])
        method.step(step / 14)
    assert min(rates[1:]) > 0 and rates[-1] < 0.1 * max(rates)


def test_a_peer_s_cosine_ends_where_it_is_zero():
    """Past the promised steps diffusers' own would rise again: who trains faster than promised would be hurt."""
    pytest.importorskip("diffusers", reason=THERE)
    network = peer_networks.Timed(UNet(NetworkConfig(8, (1, 2), patch=2), 1))
    peer = peers.DiffusersRecipe("d", network, (1, 8, 8), tuned=True, total_steps=4)
    rates = []
    for _ in range(7):
        peer.step(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
        rates.append(peer.optimizer.param_groups[0]["lr"])
    assert rates[0] > rates[2] > 0 and rates[3:] == [0.0] * 4


def test_peers_draw_few_large_pictures_at_once():
    assert peers._parts(600, 32) == [250, 250, 100] and set(peers._parts(2000, 64)[:-1]) == {62}
    assert sum(peers._parts(2000, 64)) == 2000 and peers._parts(2, 1024) == [1, 1]


@pytest.mark.parametrize(("package", "size"), NETWORKS)
def test_the_peers_networks_have_as_many_weights_as_ours(package, size):
    needs(package)

    def millions(device):
        with torch.device("meta"):
            network = getattr(peer_networks, f"{package}_network")(3, size, device)
        return sum(weight.numel() for weight in network.parameters()) / 1e6

    assert millions(CARD) == pytest.approx(NETWORKS[package, size], abs=0.005)
    assert millions(CARD) == pytest.approx(TABLE["standard", size].weights, rel=0.25)
    assert millions(CPU) == pytest.approx(NETWORKS[package, 32], abs=0.005)
    assert peers.tuned_batch(size, CARD) == TABLE["standard", size].batch_size and peers.tuned_batch(size, CPU) == 32


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "key",
    [
        "diffusers_tuned_graphs",
        *(pytest.param(key, marks=pytest.mark.slow) for key in ("diffusers_tuned", "lucidrains_tuned_graphs")),
    ],
)
def test_a_tuned_peer_is_compiled_and_still_draws(key, monkeypatch):
    needs(key.partition("_")[0])
    modes, compile_ = [], torch.nn.Module.compile

    def traced(module, mode=None):
        modes.append(mode)
        compile_(module, backend="eager", fullgraph=True)

    monkeypatch.setattr(peers, "on_a_card", lambda device: True)
    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    peer = peers.make(key, (1, 32, 32))
    assert modes == ["reduce-overhead" if key.endswith("graphs") else None]
    assert peer.batch_size == TABLE["standard", 32].batch_size and peer.network._compiled_call_impl is not None
    convolutions = [module.weight for module in peer.network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in convolutions)
    assert not all(weight.is_contiguous() for weight in convolutions)
    before = [weight.clone() for weight in peer.network.parameters()]
    images = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    assert all(peer.step(images).isfinite() for _ in range(2))
    assert any(not torch.equal(*pair) for pair in zip(before, peer.network.parameters(), strict=True))
    assert all(module._compiled_call_impl is None for module in peer.average.network.modules())
    assert peer.sample(3, steps=1, seed=1).shape == (3, 32, 32, 1)
    assert peak.flops(peer.network, 1, 32) > 1e9


def test_a_default_peer_is_not_compiled(monkeypatch):
    needs("diffusers")
    monkeypatch.setattr(peers, "on_a_card", lambda device: True)
    peer = peers.make("diffusers", (1, 32, 32))
    assert peer.network._compiled_call_impl is None and peer.batch_size == 16
    assert all(weight.is_contiguous() for weight in peer.network.parameters())


def test_the_peak_leaves_the_choice_of_kernels_as_it_was(monkeypatch):
    monkeypatch.setattr(peak, "SHAPES", ((1, 8, 8),))
    before = torch.backends.cudnn.benchmark
    assert peak.fastest_convolution(torch.float32, CPU, 0.02) > 0
    assert torch.backends.cudnn.benchmark == before


# ---- the table


def test_the_card_has_a_table_for_each_size(tmp_path):
    page = "<!-- table: throughput_card -->\n<!-- /table -->\n"
    assert "Not measured yet." in renewed(page, tmp_path)
    about = {"batch_size": 64, "bfloat16": True, "parameters": 36_000_000, "flops": 30_000_000_000}

    def row(*paces):
        turns = [{"steps": 5, "disturbed": 0, "kept": False, "images_per_second": pace} for pace in paces]
        base = [{**turn, "images_per_second": 500.0} for turn in turns]
        return throughput.summary(about, turns, base, {"float32": 300_000.0, "bfloat16": 800_000.0})

    measured = {
        "diffusers": row(500.0, 500.0, 500.0), "diffusers_tuned": row(2000.0, 2000.0, 2000.0),
        "lucidrains_tuned_graphs": row(1900.0, 2500.0, 2600.0), "standard": row(7600.0, 5000.0, 5200.0),
    }  # fmt: skip
    for size in (128, 64):
        result = {
            **machine.describe(f"python -m benchmarks.throughput --size {size}", CPU), "device": "NVIDIA H200, 140 GB",
            "pictures": f"OpenMoji, {size} px", "size": size, "rounds": 3, "seconds": 3.0,
            "titles": {key: throughput.ROWS_ON_A_CARD[key].title for key in measured},
            "peak_gflops": {"float32": 300_000, "bfloat16": 800_000}, "rows": measured, "left_out": {"x": "row x: no"},
        }  # fmt: skip
        (tmp_path / f"throughput_cuda_{size}.json").write_text(json.dumps(result))
    page = renewed(page, tmp_path)
    assert renewed(page, tmp_path) == page
    first, second = page.index("**OpenMoji, 64 px**\n\n| training"), page.index("**OpenMoji, 128 px**\n\n| training")
    assert first < second
    one = page[first:second]
    assert "| images/s | against diffusers | range | against the best tuned | TFLOP/s | of peak |" in one
    assert (
        "| ours, preset `standard` (batch 64) | 36.00 M | 30.00 | 5,200 | **10.40x** | 10.00 to 15.20 | **2.00x** (2.00 to 4.00) | 156.0"
        " | 20 % of bfloat16 |" in one
    )
    assert "The best tuned is denoising-diffusion-pytorch, tuned, CUDA graphs." in one
    assert "reaches 300 TFLOP/s in float32 and 800 TFLOP/s in bfloat16 (torch computes float32 in TF32 there)." in one
    assert "NVIDIA H200, 140 GB (" in one and "`python -m benchmarks.throughput --size 64`" in one
    assert "Left out: row x: no" in one


def test_the_card_in_short_takes_what_was_measured(tmp_path):
    """Sizes without our row, without peers, without the peak."""
    about = {"batch_size": 64, "bfloat16": True, "parameters": 36_000_000, "flops": 30_000_000_000}
    turns = [{"steps": 5, "disturbed": 0, "kept": False, "images_per_second": 100.0}]
    bare, whole = (throughput.summary(about, turns, None, peak) for peak in ({}, {"bfloat16": 30_000.0}))
    for size, measured in {
        256: {"diffusers": bare}, 128: {"standard": bare}, 64: {"standard": whole, "diffusers_tuned": whole},
    }.items():  # fmt: skip
        result = {**machine.describe(f"command {size}", CPU), "size": size, "rows": measured}
        (tmp_path / f"throughput_cuda_{size}.json").write_text(json.dumps(result))
    lines = card(tmp_path).splitlines()
    assert lines[2] == "| 64 | 36 M | 30.00 / 30.00 | 100 | 100 | **1.00x** (1.00 to 1.00) | 10 % / 10 % |"
    assert lines[3] == "| 128 | 36 M | 30.00 | 100 |  |  |  |"
    assert "Blank: not measured yet." in lines[-1] and lines[-1].endswith("`command 64`, `command 128`")
