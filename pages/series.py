"""A run's metrics as charts and film strip need them: columns that grow by what was logged since the last look."""

import bisect
from dataclasses import dataclass, field
from typing import Any

from ddpm_core.runs import Run


@dataclass
class Series:
    """A run's metrics as columns, read on from where the last reading ended."""

    cursor: int = 0
    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {
            k: []
            for k in ("step", "epoch", "images", "loss", "held_out", "trained", "lr", "images_per_second", "seconds")
        }
    )

    def extend(self, run: Run) -> None:
        """Take in what is new. A resumed run begins again at its last save: then the steps after it are taken back."""
        lines, self.cursor = run.metrics(self.cursor)
        steps = self.columns["step"]
        if not lines and not self.cursor:  # there is no log any more, or not yet
            for column in self.columns.values():
                column.clear()
        for line in lines:
            if steps and line["step"] <= steps[-1]:
                keep = bisect.bisect_left(steps, line["step"])
                for column in self.columns.values():
                    del column[keep:]
            for key, column in self.columns.items():
                column.append(line.get(key))

    def at_step(self, step: int) -> int:
        """The row that was written at `step` or just after; -1 if there is none."""
        row = bisect.bisect_left(self.columns["step"], step)
        return row if row < len(self.columns["step"]) else len(self.columns["step"]) - 1

    def at_epoch(self, epoch: float) -> int:
        row = bisect.bisect_left(self.columns["epoch"], epoch, key=lambda value: value or 0.0)
        return row if row < len(self.columns["epoch"]) else len(self.columns["epoch"]) - 1

    def last(self, key: str) -> Any:
        return self.columns[key][-1] if self.columns[key] else None
