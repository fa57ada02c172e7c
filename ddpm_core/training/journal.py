"""What a run tells the world while it trains: the metrics log, the status file, speed and time left.

Losses stay on the device and are added up there; they are fetched only when a line is due, so a quiet step never waits.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpm_core.errors import StudioError
from ddpm_core.runs import Run, Status


class Journal:
    """Keeps `status` up to date, hands it to `report`, and writes it and the metrics into the run's folder.

    `seconds` counts the training time of the whole run, pauses left out, also over resumes.
    """

    def __init__(
        self,
        run: Run,
        status: Status,
        batch_size: int,
        seconds: float,
        report: Callable[[Status], None],
        usage: Callable[[], dict[str, Any]] = dict,
    ):
        self.run = run
        self.status = status
        self.seconds = seconds
        self._batch_size = batch_size
        self._report = report
        self._usage = usage
        self._clock = time.monotonic()
        self._session_start = (status.step, seconds)
        self._last_line = (status.step, -math.inf)
        self._loss_sum: Tensor | None = None
        self._grad_norm: Tensor | None = None
        self._steps = 0
        self._measured: dict[str, float] = {}

    def tick(self) -> None:
        """Add the time since the last tick to the run's training time."""
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now

    def skip_time(self) -> None:
        """Forget the time since the last tick: it was a pause."""
        self._clock = time.monotonic()

    def note(self, loss: Tensor, grad_norm: Tensor) -> None:
        """Remember one step's loss and gradient norm (0-d tensors on the device)."""
        self._loss_sum = loss if self._loss_sum is None else self._loss_sum + loss
        self._grad_norm = grad_norm
        self._steps += 1

    def add(self, measured: dict[str, float]) -> None:
        """Figures for the next line, and for the status, by their names there."""
        self._measured |= measured

    @property
    def due(self) -> bool:
        """Twice a second at first, later more rarely, so that a run of days still has a log of some 20,000 lines."""
        self.tick()
        return self.seconds - self._last_line[1] >= max(0.5, self.seconds / 4000)

    def write_line(self, step: int, epoch: float, lr: float) -> None:
        """One metrics line for the steps since the last one, and a fresh status. Raises `StudioError` if the loss is no number."""
        self.tick()
        if self._loss_sum is None or self._grad_norm is None:
            return
        loss, grad_norm = torch.stack([self._loss_sum / self._steps, self._grad_norm]).tolist()
        self._loss_sum, self._grad_norm, self._steps = None, None, 0
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise StudioError(
                f"the loss is not a number any more at step {step}: the checkpoints before it are untouched."
                " Start again with a lower learning rate, or without mixed precision (--no-amp)."
            )

        last_step, last_seconds = self._last_line
        if math.isinf(last_seconds):
            last_step, last_seconds = self._session_start
        speed = (step - last_step) * self._batch_size / max(1e-9, self.seconds - last_seconds)
        self._last_line = (step, self.seconds)
        images = step * self._batch_size
        self.run.append_metrics(
            {
                "step": step,
                "epoch": round(epoch, 4),
                "images": images,
                "loss": loss,
                "lr": lr,
                "grad_norm": grad_norm,
                "images_per_second": round(speed, 2),
                "seconds": round(self.seconds, 2),
                **self._measured,
            }
        )
        # The figure for a person is calmer than the log's: it leans on what it was before.
        calm = self.status.images_per_second
        calm = 0.8 * calm + 0.2 * speed if calm else speed
        self.set(
            step=step,
            epoch=int(epoch),
            images=images,
            loss=loss,
            images_per_second=calm,
            seconds_left=self._seconds_left(step),
            **self._usage(),
            **self._measured,
        )
        self._measured = {}

    def set(self, **fields: Any) -> None:
        """Change the status, write it, and tell whoever watches."""
        self.status = dataclasses.replace(self.status, updated=time.time(), **fields)
        self.run.write_status(self.status)
        self._report(self.status)

    def say(self, line: str) -> None:
        """One more line for a person, after those that the status tells already; once."""
        if line not in self.status.message:
            self.set(message=f"{self.status.message} {line}".strip())

    def fail(self, message: str) -> None:
        """The end by an error, told even if it cannot be written down: the disk may be what failed."""
        with contextlib.suppress(OSError):
            self.set(state="failed", message=message, seconds_left=None)
        self._report(self.status)

    def _seconds_left(self, step: int) -> float | None:
        # From this session's steps only: an earlier one may have run on another machine. Sample grids are part of the pace.
        first_step, first_seconds = self._session_start
        if step - first_step < 3:
            return None
        return (self.status.total_steps - step) * (self.seconds - first_seconds) / (step - first_step)
