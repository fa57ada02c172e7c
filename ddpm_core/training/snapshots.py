"""Small copies of both weight averages along the run, and an average of any other length made from them afterwards.

How long the average's memory should be shows only in the pictures, and training again for each length is dear. An average
is a weighted sum of all steps' weights, its profile says how much each step counts; a profile that nobody tracked is, to a
good approximation, a sum of those that were kept (Karras et al. 2024, arXiv 2312.02696, section 3.2 and appendix C).
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddpm_core import checkpoint
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.runs import Run
from ddpm_core.training.ema import WeightAverage, gamma_from_length, second_length

FIRST = 256  # a run shorter than this is too short to need another average
MOST = 16  # files; each holds two averages in float16, as many bytes as a model file
LARGEST_MISFIT = 0.04  # of the squared profile; beyond it the nearest tracked average is about as good an answer
LENGTHS = (0.01, 0.25)
ROOM = 2**30  # bytes for averages that are made at once; one that is larger is made alone

# ---- keeping: what lies on the disk is a function of the step alone, so that a resumed run has the same files


def interval(step: int) -> int:
    """Steps between snapshots at `step`: 256, and twice that whenever there would be more than 16."""
    spacing = FIRST
    while step // spacing > MOST:
        spacing *= 2
    return spacing


def due(step: int) -> bool:
    return step > 0 and step % interval(step) == 0


def kept(step: int) -> list[int]:
    """The steps whose snapshots exist at `step`: none before 256, from 2,304 on 9 to 16, evenly spaced."""
    spacing = interval(step)
    last = step // spacing * spacing
    spacing = interval(last)  # when the interval doubles the old files stay until the next one is due
    return list(range(spacing, last + 1, spacing))


def thin(run: Run, step: int) -> None:
    """Drops the files that are not for `step`: every second one when the interval doubles, and what a resumed run wrote
    after the point that it goes on from."""
    keep = set(kept(step))
    for path, number in run.snapshots():
        if number not in keep:
            # On Windows a file that somebody reads stays; it goes at the next time.
            with contextlib.suppress(PermissionError):
                path.unlink(missing_ok=True)


def take(run: Run, step: int, averages: Sequence[WeightAverage]) -> None:
    """Writes the snapshot of `step`. Raises CheckpointError if the disk refuses, OSError if the folder cannot be made."""
    run.averages.mkdir(exist_ok=True)
    thin(run, step)  # before writing: so there are never more than `MOST`
    content = {
        "step": step,
        "lengths": [average.length for average in averages],
        "weights": [
            {name: weight.detach().to("cpu", torch.float16) for name, weight in average.network.state_dict().items()}
            for average in averages
        ],
    }
    checkpoint.save_snapshot(run.snapshot_path(step), content)


# ---- making other averages


def reconstruct(run: Run, length: float, step: int | None = None) -> dict[str, Tensor]:
    """The weights, float32 on the CPU, of the average of `length` (sigma_rel, 0.01 to 0.25) at `step`, made from the run's
    snapshots and its saved state. `step` is one that these were made at; without it the latest, for a run at rest its last.

    Raises `UsageError` if there are no snapshots, or none that can make this average, `CheckpointError` for a damaged file.
    """
    return next(Kept(run).reconstruct([length], step))


class Kept:
    """What a run has to make averages from, as it was when this was made: its snapshots, and its saved state if that is later.

    A run that trains goes on saving, and its latest step with it: whoever asks first what can be made, and then for that, asks
    the same `Kept` both times. Raises `UsageError` if the run has no snapshots.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.files = run.snapshots()
        if not self.files:
            raise UsageError(
                f"the run {run.name} has no snapshots of its weight averages: they are kept from step {FIRST} on, unless the run"
                " was made without them. Use its model files, or train it on."
            )
        self.steps = [number for _, number in self.files]
        length = run.config().ema_length
        self.tracked = length, second_length(length)
        self.state = _resume_point(run) if run.can_resume() else None
        if self.state is not None and self.state["step"] <= self.steps[-1]:
            self.state = None
        if self.state is not None:
            self.steps.append(self.state["step"])

    @property
    def latest(self) -> int:
        """The step that averages are made at without being told one."""
        return self.steps[-1]

    def possible(self, lengths: Sequence[float], step: int | None = None) -> list[float]:
        """Those of `lengths` that `reconstruct` can make at `step`. Reads no file. Raises `UsageError` if there is none."""
        able, refusal = [], None
        for length in lengths:
            try:
                self._shares(length, step)
            except UsageError as error:
                refusal = error
            else:
                able.append(length)
        if not able and refusal is not None:
            raise refusal
        return able

    def reconstruct(self, lengths: Sequence[float], step: int | None = None) -> Iterator[dict[str, Tensor]]:
        """What `reconstruct` makes of each of `lengths`, in their order, to the same bits; but each file is read once for as
        many of them as have room in memory, and reading is nearly all of the work."""
        # Weights are added up one file at a time: a whole run's snapshots may be more than memory holds. So first what each
        # file has to offer, which is known from its name and the run's settings.
        shares = [self._shares(length, step) for length in lengths]
        path, _ = self.files[-1]  # (it may be empty, or dropped meanwhile by a run that trains: reading it says so)
        size = path.stat().st_size if path.exists() else 0
        at_once = max(1, ROOM // max(1, size))  # two averages in float16 are as large as one in float32
        for first in range(0, len(lengths), at_once):
            some = shares[first : first + at_once]
            totals: list[dict[str, np.ndarray]] = [{} for _ in some]
            for index, (path, number) in enumerate(self.files):
                averages = _read(path, number, self.tracked)
                for total, share in zip(totals, some, strict=True):
                    _add(total, averages, share[2 * index : 2 * index + 2], path)
            if self.state is not None:
                for total, share in zip(totals, some, strict=True):
                    _add(total, [self.state["ema"], self.state["second_ema"]], share[-2:], self.run.state_path)
            while totals:  # and lets go of each
                yield {name: torch.from_numpy(total) for name, total in totals.pop(0).items()}

    def _shares(self, length: float, step: int | None) -> np.ndarray:
        """How much of each average of `steps`, two a step, the average of `length` at `step` takes. Raises `UsageError`."""
        if not LENGTHS[0] <= length <= LENGTHS[1]:
            raise UsageError(f"length is {length:g}: choose a number from {LENGTHS[0]:g} to {LENGTHS[1]:g}.")
        step = self.latest if step is None else step
        if (
            step not in self.steps
        ):  # between them too much is unknown: the wanted profile ends where none of theirs does
            steps = ", ".join(map(str, self.steps))
            raise UsageError(f"{self.run.name} has no snapshot of step {step}: choose one of {steps}.")
        profiles = [(number, gamma_from_length(tracked)) for number in self.steps for tracked in self.tracked]
        shares, misfit = coefficients(profiles, (step, gamma_from_length(length)))
        if misfit > LARGEST_MISFIT:
            raise UsageError(
                f"the {len(self.files)} snapshots of {self.run.name} cannot make an average of length {length:g} at step {step:,}:"
                f" choose a length nearer to {min(self.tracked):g} or {max(self.tracked):g}, or train on."
            )
        return shares


def coefficients(profiles: Sequence[tuple[int, float]], wanted: tuple[int, float]) -> tuple[np.ndarray, float]:
    """How much of each average to take, (P,) float64, and how far from `wanted` their sum stays: squared distance of the
    profiles relative to the wanted one. `profiles` and `wanted` are (step, gamma).

    Least squares over the profiles as functions of the step, as in appendix C: the Gram matrix of their inner products
    against those with the wanted one. Beyond the paper the shares are held to a sum of one (a Lagrange multiplier, the
    last row and column): a set of weights that has stood still must come back as it is. On random walks it halves the error.
    """
    gram = inner_products(profiles, profiles)
    aim = inner_products(profiles, [wanted])[:, 0]
    count = len(profiles)
    system = np.ones((count + 1, count + 1))
    # Times the step: the numbers are then about as large as the ones beside them.
    system[:count, :count] = gram * wanted[0]
    system[-1, -1] = 0
    shares = np.linalg.solve(system, np.append(aim * wanted[0], 1.0))[:count]
    norm = inner_products([wanted], [wanted])[0, 0]
    return shares, float((norm - 2 * shares @ aim + shares @ gram @ shares) / norm)


def inner_products(first: Sequence[tuple[int, float]], second: Sequence[tuple[int, float]]) -> np.ndarray:
    """(F, S) float64: the integrals over t of p(t) q(t) for all p in `first`, q in `second`, given as (step n, gamma).

    A profile is p(t) = (gamma + 1) t^gamma / n^(gamma + 1) for 0 < t < n and zero after. With m the earlier of the two ends,
    n the later, and c the exponent that belongs to the later one, the integral is

        (a + 1)(b + 1) / (a + b + 1) * (m / n)^c / n

    The update's beta (equation 127) gives step k exactly the share that the profile has from k - 1 to k, so this holds for
    the averages as they are computed, not only for ever smaller steps.
    """
    end_a, a = (np.array(column, dtype=np.float64)[:, None] for column in zip(*first, strict=True))
    end_b, b = (np.array(column, dtype=np.float64)[None, :] for column in zip(*second, strict=True))
    later = np.maximum(end_a, end_b)
    return (a + 1) * (b + 1) / (a + b + 1) * (np.minimum(end_a, end_b) / later) ** np.where(end_a > end_b, a, b) / later


def _resume_point(run: Run) -> dict[str, Any] | None:
    """The saved state, which knows both averages at a later step than the last snapshot; None if it does not serve."""
    try:
        state = checkpoint.load_state(run.state_path, lambda _: None, to_go_on=False)
    except CheckpointError:
        return None  # the snapshots do without it
    if "second_ema" not in state:  # written before there were two, or by a run that keeps one
        return None
    return {key: state[key] for key in ("step", "ema", "second_ema")}  # lets go of the moments, the larger part


def _read(path: Path, number: int, lengths: tuple[float, float]) -> list[dict[str, Tensor]]:
    try:
        content = checkpoint.load_snapshot(path)
    except CheckpointError as error:
        if not path.exists():
            raise CheckpointError(f"{path} was dropped meanwhile by its run, which trains on: try again.") from None
        raise CheckpointError(f"{error} Or delete it: averages are then made without it.") from None
    if content.get("step") != number or content.get("lengths") != list(lengths):
        raise CheckpointError(
            f"{path} is a snapshot of another run or step: delete it, this run's others do without it."
        )
    return content["weights"]


def _add(total: dict[str, np.ndarray], averages: list[dict[str, Tensor]], shares: np.ndarray, path: Path) -> None:
    """Adds the shares of one step's averages to `total`, in float32.

    By numpy, which uses one thread: torch's, who wait for each other at each of many small tensors, took ten times as long
    where a run trained beside them on the same two cores.
    """
    for average, share in zip(averages, shares.astype(np.float32), strict=True):
        for name, weight in average.items():
            if name in total and total[name].shape != weight.shape:
                raise CheckpointError(f"{path} is of another network than this run's other snapshots: delete it.")
            if name not in total:
                total[name] = np.zeros(weight.shape, np.float32)
            total[name] += share * weight.numpy().astype(np.float32)
