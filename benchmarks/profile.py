"""Where a training step's time goes: one table a network, by kind of work.

    python -m benchmarks.profile
    python -m benchmarks.profile --rows cpu,full --steps 5 --output some.json

Uses torch's profiler around the step that benchmarks/throughput.py times, and tells its GFLOP/s beside those of the fastest
convolution that the machine can do. On a card a step is played from a recording, where only kernels are seen: they are told apart
by their names. Writes benchmarks/results/profile.json, on a processor without bfloat16 profile_float32.json, on a card
profile_cuda_SIZE.json, with another size than 32 the size in its name; `profile_before.json` beside it is the same file, run in the
tree of the commit that its foot names, before the network and the optimizer were made fast.
"""

import argparse
import itertools
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine, peers
from benchmarks.arguments import COUNT
from benchmarks.peak import fastest_convolution, flops, synchronize
from benchmarks.records import nothing_lost, results_of, rows_of, write
from benchmarks.rows import begin
from benchmarks.throughput import ROWS
from ddpm_core import devices
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError

# The first kind whose words are in an operator's name has it.
KINDS = {
    "convolution, forward": ("mkldnn_convolution", "cudnn_convolution", "thnn_conv2d"),
    "convolution, backward": ("convolution_backward",),
    "attention and linear layers": ("attention", "mm", "softmax"),
    "group norm": ("group_norm",),
    "SiLU": ("silu",),
    "dropout": ("bernoulli", "dropout", "random_", "aten::ge"),
    "optimizer, averages, clipping": ("adam", "lerp", "_foreach", "linalg_vector_norm", "matrix_norm"),
    "copies, casts and joins": ("copy_", "cat", "to_copy", "contiguous", "clone", "upsample", "pixel_"),
}
REST = "additions, products, everything else"
# Ours, on a processor; all that happens inside is a convolution's.
WINOGRAD = {"_WinogradBackward": "convolution, backward", "_Winograd": "convolution, forward"}


# The same for the names of a card's kernels: cuDNN's, torch's attention, cuBLAS's, those that torch.compile wrote.
KERNELS = {
    "convolutions": ("fprop", "dgrad", "wgrad", "convolve_common", "cutlass__5x_cudnn", "nhwcAddPadding"),
    "attention": ("flash", "fmha", "cudnn_sdpa"),
    "linear layers and 1 x 1 convolutions": ("nvjet", "splitKreduce", "tensorop_bf16"),
    "all else that is compiled: casts, sums, joins": ("triton_",),
}
OURS_ON_A_CARD = "norms, SiLU, dropout: our kernels"  # of ddpm_core/network/norm_kernels.py
REST_ON_A_CARD = "optimizer, averages, clipping, the loss"


def kind_of_kernel(name: str) -> str:
    if name in ("_forward", "_backward"):
        return OURS_ON_A_CARD
    return next((kind for kind, words in KERNELS.items() if any(word in name for word in words)), REST_ON_A_CARD)


def kind_of(name: str, inside: Iterable[str] = ()) -> str:
    """Of an operator's own time; `inside` are the names of what has called it."""
    ours = (kind for caller in (name, *inside) for words, kind in WINOGRAD.items() if words in caller)
    found = (kind for kind, words in KINDS.items() if any(word in name for word in words))
    return next(itertools.chain(ours, found), REST)


def callers(event: FunctionEvent) -> Iterator[str]:
    caller = event.cpu_parent
    while caller is not None:
        yield caller.name
        caller = caller.cpu_parent


def measure(key: str, images: np.ndarray, steps: int, device: torch.device) -> dict[str, Any]:
    """Milliseconds a step by kind of work; `wall` is that of a step without the profiler."""
    trained = begin(ROWS[key], images, device)
    for _ in range(2):
        trained.step(0.0)
    synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        trained.step(0.0)
    synchronize(device)
    wall = 1000 * (time.perf_counter() - start) / steps
    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=kinds) as seen:
        for _ in range(steps):
            trained.step(0.0)
        synchronize(device)
    spent: defaultdict[str, float] = defaultdict(float)
    for event in seen.events():
        if device.type != "cuda":
            spent[kind_of(event.name, callers(event))] += event.self_cpu_time_total / 1000 / steps
        elif event.device_type == DeviceType.CUDA:
            spent[kind_of_kernel(event.name)] += event.time_range.elapsed_us() / 1000 / steps
    all_kinds = (*KERNELS, OURS_ON_A_CARD, REST_ON_A_CARD) if device.type == "cuda" else (*KINDS, REST)
    return {
        "batch_size": trained.batch_size,
        "parameters": trained.parameters,
        "gflops_an_image": flops(trained.network, images.shape[1], images.shape[2]) / 1e9,
        "wall": round(wall, 2),
        "milliseconds": {kind: round(spent[kind], 2) for kind in all_kinds},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="cpu,standard,full", help="rows of the throughput table that are ours")
    parser.add_argument("--steps", type=COUNT, default=5)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--output", type=Path, help="the results file instead of the usual one")
    options = parser.parse_args()
    try:
        device = machine.device_of(options.device)
        path = results_of("profile", device)
        if device.type == "cuda" or options.size != 32:
            path = path.with_stem(f"{path.stem}_{options.size}")
        keys = options.rows.split(",")
        for key in keys:
            if key not in ROWS or ROWS[key].method in peers.PEERS or not ROWS[key].amp:  # they share one peak
                raise UsageError(f"there is no row {key!r} of ours: choose from cpu, standard, full, their_network.")
        if not options.output:
            nothing_lost(path, keys, rows_of)
        images = np.array(catalogue.load("openmoji", options.size, options.data_dir).images)
        rows = {}
        for key in keys:
            rows[key] = measure(key, images, options.steps, device)
            print(key, json.dumps(rows[key]), flush=True)
        kind = torch.bfloat16 if devices.bfloat16_pays(device) else torch.float32
        fastest = fastest_convolution(kind, device, 3.0)
    except StudioError as error:
        sys.exit(f"profile: {error}")
    about = machine.describe(" ".join(["python -m benchmarks.profile", *sys.argv[1:]]), device)
    titles = {key: ROWS[key].title for key in rows}
    found = {**about, "peak_gflops": round(fastest), "titles": titles, "rows": rows}
    write(options.output or path, found)


if __name__ == "__main__":
    main()
