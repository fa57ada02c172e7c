"""Training batches by counter: which pictures step k sees depends on the seed and k, on nothing that ran before.

Picture number i of the whole run (i = step * batch_size + j) is at place i mod N in the order of epoch i div N. So a
resumed run goes on exactly where it was, and a batch larger than the data set simply reaches into the next epochs.
"""

import numpy as np
import torch

from ddpm_core import seeds
from ddpm_core.data import places
from ddpm_core.data.places import send


class Batches:
    """Shuffled batches of `images`, uint8 (N, C, H, W), with their `labels`, int64 (N,), if there are any.

    Only those that `trained`, int64, numbers ever come into a batch; without it all do. `data_on` is where they wait, see
    `places.find`.
    """

    def __init__(
        self,
        images: np.ndarray,
        batch_size: int,
        seed: int,
        device: torch.device | str,
        *,
        labels: np.ndarray | None = None,
        trained: torch.Tensor | None = None,
        data_on: str = "auto",
    ):
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.seed = seed
        self.pictures = len(images) if trained is None else len(trained)
        self._place = places.find(images, self.device, data_on)
        self._trained = trained
        self._labels = None if labels is None else torch.tensor(labels)
        self._orders: dict[int, torch.Tensor] = {}

    @property
    def steps_per_epoch(self) -> float:
        return self.pictures / self.batch_size

    @property
    def where(self) -> str:
        """Where the pictures are, in words for a person."""
        return self._place.where

    def indices(self, step: int) -> torch.Tensor:
        """Which pictures step `step` (from 0) sees: int64 (batch_size,) on the processor."""
        first = step * self.batch_size
        last = first + self.batch_size - 1
        parts = []
        for epoch in range(first // self.pictures, last // self.pictures + 1):
            start = epoch * self.pictures
            parts.append(self._order(epoch)[max(first - start, 0) : last - start + 1])
        places = torch.cat(parts)
        return places if self._trained is None else self._trained[places]

    def batch(self, step: int) -> torch.Tensor:
        """Step `step`'s pictures: float32 (batch_size, C, H, W) in [-1, 1] on the device."""
        return _as_floats(self._place.batch(step, self.indices))

    def labels(self, step: int) -> torch.Tensor | None:
        """The classes of step `step`'s pictures: int64 (batch_size,) on the processor, -1 for none; None without labels."""
        return None if self._labels is None else self._labels[self.indices(step)]

    def at(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The pictures `indices`, int64 (B,), as `batch` gives them, and their classes, both on the device."""
        labels = None if self._labels is None else send(self._labels[indices], self.device)
        return _as_floats(self._place.at(indices)), labels

    def _order(self, epoch: int) -> torch.Tensor:
        """The permutation of one epoch; the last two are kept, as a batch may lie across their border."""
        if epoch not in self._orders:
            while len(self._orders) >= 2:
                self._orders.pop(min(self._orders))
            generator = seeds.generator("cpu", self.seed, "order", epoch)
            self._orders[epoch] = torch.randperm(self.pictures, generator=generator)
        return self._orders[epoch]


def _as_floats(chosen: torch.Tensor) -> torch.Tensor:
    return chosen.float().div_(127.5).sub_(1)
