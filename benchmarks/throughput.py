"""How many pictures a second training takes: this project against what people install today, as it comes and tuned.

    python -m benchmarks.throughput
    python -m benchmarks.throughput --only diffusers,standard --rounds 3 --seconds 1

Every row lives in a process of its own, with its own threads and memory settings; the parent wakes one after the other, round
after round, so that whatever slows the machine for a while slows them all. Figures are medians over rounds, ratios are taken
inside a round. Steps beside which other programs were at work are left out where enough others remain. The machine's peak is
measured in the same rounds: its fastest 3x3 convolution, forward, best of several shapes and both layouts.

All rows get the same pictures (OpenMoji, in memory), which spares the peers the reading of files. Writes
benchmarks/results/throughput.json; `python -m benchmarks.tables` makes the table of it.
"""

import argparse
import copy
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine, peers
from ddpm_core import devices
from ddpm_core.config import RunConfig, preset
from ddpm_core.data import catalogue
from ddpm_core.data.batches import Batches
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.training import state as states
from ddpm_core.training.loss import DiffusionLoss

RESULTS = Path(__file__).parent / "results" / "throughput.json"
BASE = "diffusers"  # the row that the others are compared with
PEAK = "peak"
PAUSE = 0.3  # seconds between rows: the threads of the one before spin for a while before they sleep
ENOUGH = 0.5  # of a round's time must be undisturbed; else all of it counts, and the table says so


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is called, and what it trains with."""

    title: str
    amp: bool  # bfloat16 asked for
    settings: dict[str, Any] = field(default_factory=dict)  # of `RunConfig`, for our recipe
    peer: str | None = None  # a key of `peers.PEERS`; None = our recipe
    their_network: bool = False  # diffusers' network inside our recipe


FULL = {"network": peers.FULL_RESOLUTION, "batch_size": 32}
ROWS: dict[str, Row] = {
    "diffusers": Row("diffusers, its defaults", False, peer="diffusers"),
    "diffusers_tuned": Row("diffusers, tuned", True, peer="diffusers_tuned"),
    "lucidrains": Row("denoising-diffusion-pytorch, its defaults", False, peer="lucidrains"),
    "lucidrains_tuned": Row("denoising-diffusion-pytorch, tuned", True, peer="lucidrains_tuned"),
    "cpu": Row("ours, preset `cpu`", True, {"preset": "cpu"}),
    "standard": Row("ours, preset `standard`", True, {"preset": "standard"}),
    "full": Row("ours, full resolution", True, FULL),
    "full_float32": Row("ours, full resolution, amp off", False, {**FULL, "amp": False}),
    "their_network": Row("control: diffusers' network, our recipe", True, FULL, their_network=True),
    "their_recipe": Row(
        "control: our full-resolution network, diffusers' recipe", False, peer="ours_their_recipe"
    ),
}  # fmt: skip


# ---- one row, in its own process


@dataclass
class Turn:
    """What a row did in one round."""

    steps: int
    disturbed: int  # steps beside which others were at work
    kept: bool  # whether the disturbed ones are part of `images_per_second` (too few others were left)
    images_per_second: float


class OurRecipe:
    """The trainer's own step (training/trainer.py), less its reports: `train_step(k)`."""

    def __init__(self, config: RunConfig, images: np.ndarray, device: torch.device, network: nn.Module | None) -> None:
        if network is None:
            self.state = states.TrainingState(config, images, device)
        else:  # the trainer's state around a network that is not ours
            with mock.patch.object(states, "UNet", lambda *_: network):
                self.state = states.TrainingState(config, images, device)
        self.config = config
        self.network = self.state.network
        self.call: Callable[..., Tensor] = self.network
        if config.compile and devices.compile_pays(device):
            self.call = torch.compile(self.network)
        self.batch_loss = DiffusionLoss(config, Batches(images, config.batch_size, config.seed, device), device)

    def train_step(self, step: int) -> None:
        state = self.state
        loss = self.batch_loss(self.call, step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), self.config.grad_clip)
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1
        for average in (state.ema, state.second_ema):
            average.update(state.network, state.step)
        state.loss_sum += loss.detach()


class PeersRecipe:
    """A peer of peers.py on pictures that are already in memory: `train_step(k)`."""

    def __init__(self, key: str, images: np.ndarray, device: torch.device) -> None:
        channels, height, width = images.shape[1:]
        self.peer = peers.make(key, (channels, height, width), device=device)
        self.network: nn.Module = self.peer.network  # type: ignore[attr-defined]
        self.images = torch.tensor(images).to(device)

    def train_step(self, step: int) -> None:
        picks = torch.randint(0, len(self.images), (self.peer.batch_size,)).to(self.images.device)
        loss = self.peer.step(self.images[picks])
        if not self.peer.amp:
            loss.item()  # both packages' loops show the loss of every step


def config_of(row: Row, size: int, device: torch.device) -> RunConfig:
    """The settings of a row with our recipe."""
    settings = {"size": size, "device": str(device), **row.settings}
    return preset(**settings)


def flops(network: nn.Module, channels: int, size: int) -> int:
    """Of one picture forward and backward: three times forward, as the backward pass makes two products for each of forward's."""
    with torch.device("meta"):
        still = copy.deepcopy(network).to("meta").eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            still(torch.empty(1, channels, size, size), torch.zeros(1, dtype=_second_argument(network)))
    return 3 * counter.get_total_flops()


def _second_argument(network: nn.Module) -> torch.dtype:
    return torch.long if isinstance(network, peers.Timed) else torch.float32


def live(key: str, pipe: Connection, images: np.ndarray, device_name: str) -> None:
    """The child process of row `key`: says what it is, then trains `seconds` at a time whenever it is asked to."""
    try:
        device = devices.choose(device_name)
        row = ROWS[key]
        if row.amp or row.peer is None:  # the trainer's memory setting; the tuned peers get it too
            devices.keep_freed_memory()
        trained: OurRecipe | PeersRecipe
        size = images.shape[2]
        if row.peer:
            trained = PeersRecipe(row.peer, images, device)
            batch_size = trained.peer.batch_size
        else:
            config = config_of(row, size, device)
            theirs = peers.Levelled(peers.diffusers_network(images.shape[1], size)) if row.their_network else None
            trained = OurRecipe(config, images, device, theirs)
            batch_size = config.batch_size
        step = 0
        for _ in range(2):  # the first steps choose kernels and make the optimizer's state
            trained.train_step(step)
            step += 1
        pipe.send(
            {
                "batch_size": batch_size,
                "bfloat16": row.amp and devices.bfloat16_pays(device),
                "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
                "flops": flops(trained.network, images.shape[1], size),
            }
        )
        while (seconds := pipe.recv()) is not None:
            turn, step = take_turn(trained.train_step, step, seconds, batch_size, device)
            pipe.send(asdict(turn))
    except StudioError as error:
        pipe.send(str(error))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def take_turn(
    train_step: Callable[[int], None], step: int, seconds: float, batch_size: int, device: torch.device
) -> tuple[Turn, int]:
    """Trains for about `seconds`, at least one stretch that is long enough to be judged; returns also the next step's number."""
    stretches: list[tuple[int, machine.Load]] = []
    train_step(step)  # wakes threads and caches; not counted
    step += 1
    synchronize(device)
    watch = machine.Watch()
    end = time.perf_counter() + seconds
    while not stretches or time.perf_counter() < end:
        first, start = step, time.perf_counter()
        while step == first or time.perf_counter() < min(start + machine.SHORTEST, max(end, start + 0.1)):
            train_step(step)
            step += 1
        synchronize(device)
        stretches.append((step - first, watch.lap()))
    clean = [(steps, load) for steps, load in stretches if not load.disturbed]
    all_seconds = sum(load.wall for _, load in stretches)
    enough = sum(load.wall for _, load in clean) >= ENOUGH * all_seconds
    counted = clean if enough else stretches
    steps, disturbed = (sum(count for count, _ in some) for some in (stretches, clean))
    pace = batch_size * sum(count for count, _ in counted) / sum(load.wall for _, load in counted)
    return Turn(steps, steps - disturbed, not enough, pace), step


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ---- the machine's peak

SHAPES = (
    (32, 64, 32),
    (32, 128, 32),
    (32, 128, 16),
    (64, 256, 16),
    (32, 256, 32),
    (64, 512, 8),
)  # batch, channels, side
SHAPES_CUDA = ((256, 256, 32), (256, 512, 32), (128, 1024, 16))


def live_peak(key: str, pipe: Connection, images: np.ndarray, device_name: str) -> None:
    """The child process that measures the fastest convolution, in float32 and bfloat16."""
    try:
        device = devices.choose(device_name)
        devices.keep_freed_memory()
        shapes = SHAPES_CUDA if device.type == "cuda" else SHAPES
        pipe.send({})
        while (seconds := pipe.recv()) is not None:
            pipe.send({"float32": peak(torch.float32, device, shapes, seconds / 2),
                       "bfloat16": peak(torch.bfloat16, device, shapes, seconds / 2)})  # fmt: skip
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


@torch.no_grad()
def peak(kind: torch.dtype, device: torch.device, shapes: tuple[tuple[int, int, int], ...], seconds: float) -> float:
    """GFLOP/s of the best of the 3x3 convolutions `shapes` (batch, channels, side), in both layouts; about `seconds` for all."""
    best = 0.0
    for batch, channels, side in shapes:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(batch, channels, side, side, device=device, dtype=kind).to(memory_format=layout)
            layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, kind)
            layer.weight.data = layer.weight.contiguous(memory_format=layout)
            work = 2 * 9 * channels * channels * side * side * batch / 1e9
            layer(x)
            end = time.perf_counter() + seconds / len(shapes) / 2
            while True:
                synchronize(device)
                start = time.perf_counter()
                layer(x)
                synchronize(device)
                now = time.perf_counter()
                best = max(best, work / (now - start))
                if now > end:
                    break
    return best


# ---- the parent


class Child:
    """A row's process, asleep until it is asked."""

    def __init__(self, key: str, images: np.ndarray, device: str) -> None:
        # A fresh interpreter: a copy of this one would share its threads' and its memory's settings.
        context = multiprocessing.get_context("spawn")
        self.key = key
        self.pipe, theirs = context.Pipe()
        target = live_peak if key == PEAK else live
        self.process = context.Process(target=target, args=(key, theirs, images, device), daemon=True)
        self.process.start()
        theirs.close()
        self.about = self._answer()  # when it has made its first steps

    def turn(self, seconds: float) -> dict[str, Any]:
        self.pipe.send(seconds)
        return self._answer()

    def end(self) -> None:
        if self.process.is_alive():
            self.pipe.send(None)
            self.process.join(10)

    def _answer(self) -> dict[str, Any]:
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join(10)
            raise StudioError(f"row {self.key} died (exit code {self.process.exitcode}).") from None
        if isinstance(answer, str):
            raise StudioError(f"row {self.key}: {answer}")
        return answer


def measure(
    keys: list[str],
    images: np.ndarray,
    rounds: int,
    seconds: float,
    device: str,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """{"peak": {...}, "rows": {key: {...}}}: the figures of the rows `keys`, and under "left_out" the rows that could not run."""
    children: dict[str, Child] = {}
    left_out: dict[str, str] = {}
    for key in (PEAK, *keys):
        try:
            children[key] = Child(key, images, device)
        except StudioError as error:
            left_out[key] = str(error)
            say(str(error))
    turns: dict[str, list[dict[str, Any]]] = {key: [] for key in children}
    try:
        for number in range(rounds):
            for key, child in children.items():
                time.sleep(PAUSE)
                turns[key].append(child.turn(seconds))
            said = (f"{key} {turns[key][-1]['images_per_second']:.1f}" for key in children if key != PEAK)
            say(f"round {number + 1} of {rounds}, images/s: " + ", ".join(said))
    finally:
        for child in children.values():
            child.end()
    peaks = {kind: max(turn[kind] for turn in turns[PEAK]) for kind in ("float32", "bfloat16")}
    rows = {key: summary(children[key].about, turns[key], turns.get(BASE), peaks) for key in children if key != PEAK}
    return {"peak_gflops": {kind: round(value) for kind, value in peaks.items()}, "rows": rows, "left_out": left_out}


def summary(
    about: dict[str, Any], turns: list[dict[str, Any]], base: list[dict[str, Any]] | None, peaks: dict[str, float]
) -> dict[str, Any]:
    """A row's figures from its rounds; ratios are taken with the base row's turn of the same round."""
    paces = [turn["images_per_second"] for turn in turns]
    gflops = statistics.median(paces) * about["flops"] / 1e9
    ratios = [pace / other["images_per_second"] for pace, other in zip(paces, base or [], strict=False)]
    return {
        **about,
        "images_per_second": round(statistics.median(paces), 2),
        "rounds": [round(pace, 2) for pace in paces],
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)] if ratios else None,
        "gflops": round(gflops, 1),
        "share_of_peak": round(gflops / peaks["bfloat16" if about["bfloat16"] else "float32"], 3),
        "steps": sum(turn["steps"] for turn in turns),
        "disturbed_steps": sum(turn["disturbed"] for turn in turns),
        "disturbed_steps_kept": sum(turn["disturbed"] for turn in turns if turn["kept"]),
    }


def chosen(only: str | None) -> list[str]:
    """The rows of `--only`, in the table's order. Raises `UsageError` for one that does not exist."""
    wanted = only.split(",") if only else list(ROWS)
    for key in wanted:
        if key not in ROWS:
            raise UsageError(f"there is no row {key!r}: choose from {', '.join(ROWS)}.")
    return [key for key in ROWS if key in wanted]


def show(result: dict[str, Any]) -> Iterator[str]:
    """The result as lines for a terminal."""
    for key, row in result["rows"].items():
        ratio = f"{row['ratio']:.2f}x" if row["ratio"] else ""
        yield (
            f"{key:18} {row['images_per_second']:8.1f} images/s {ratio:>8} {row['parameters'] / 1e6:6.2f} M"
            f" {row['flops'] / 1e9:6.2f} GFLOP/image {100 * row['share_of_peak']:4.0f} % of peak,"
            f" {row['disturbed_steps']} of {row['steps']} steps disturbed"
        )
    yield f"peak: {result['peak_gflops']['float32']} GFLOP/s float32, {result['peak_gflops']['bfloat16']} bfloat16"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each row trains in a round")
    parser.add_argument("--only", help=f"rows, with commas between them: {', '.join(ROWS)}")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    try:
        keys = chosen(options.only)
        images = np.array(catalogue.load("openmoji", options.size, options.data_dir).images)
        result = measure(
            keys, images, options.rounds, options.seconds, options.device, lambda line: print(line, flush=True)
        )
    except StudioError as error:
        sys.exit(f"throughput: {error}")
    for line in show(result):
        print(line)
    words = sys.argv[1:] if argv is None else argv
    about = machine.describe(" ".join(["python -m benchmarks.throughput", *words]))
    titles = {key: ROWS[key].title for key in result["rows"]}
    settings = {"pictures": f"OpenMoji, {options.size} px", "rounds": options.rounds, "seconds": options.seconds}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**about, **settings, "titles": titles, **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
