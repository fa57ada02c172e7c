"""Training batches by counter: which pictures step k sees depends on the seed and k, on nothing that ran before.

Picture number i of the whole run (i = step * batch_size + j) is at place i mod N in the order of epoch i div N. So a
resumed run goes on exactly where it was, and a batch larger than the data set simply reaches into the next epochs.
"""

import numpy as np
import torch

from ddpm_core import seeds

# Pictures move to the device when they take at most this part of its free memory; the network needs the rest.
_SHARE_OF_FREE_MEMORY = 0.3


class Batches:
    """Shuffled batches of `images`, uint8 (N, C, H, W), with their `labels`, int64 (N,), if there are any.

    Only those that `trained`, int64, numbers ever come into a batch; without it all do.
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
    ):
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.seed = seed
        self.pictures = len(images) if trained is None else len(trained)
        # A copy: torch cannot wrap a read-only array without a warning, and batches must not wait for the disk.
        self._images = torch.tensor(images)
        if self._fits_on_device():
            self._images = self._images.to(self.device)
        self._trained = trained
        self._labels = None if labels is None else torch.tensor(labels)
        self._orders: dict[int, torch.Tensor] = {}

    @property
    def steps_per_epoch(self) -> float:
        return self.pictures / self.batch_size

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
        return self._pictures(self.indices(step))

    def labels(self, step: int) -> torch.Tensor | None:
        """The classes of step `step`'s pictures: int64 (batch_size,) on the processor, -1 for none; None without labels."""
        return None if self._labels is None else self._labels[self.indices(step)]

    def at(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The pictures `indices`, int64 (B,), as `batch` gives them, and their classes, both on the device."""
        labels = None if self._labels is None else send(self._labels[indices], self.device)
        return self._pictures(indices), labels

    def _pictures(self, indices: torch.Tensor) -> torch.Tensor:
        if self._images.device.type == "cpu" and self.device.type == "cuda":
            chosen = self._images[indices].pin_memory().to(self.device, non_blocking=True)
        else:
            chosen = self._images[send(indices, self._images.device)].to(self.device)
        return chosen.float().div_(127.5).sub_(1)

    def _order(self, epoch: int) -> torch.Tensor:
        """The permutation of one epoch; the last two are kept, as a batch may lie across their border."""
        if epoch not in self._orders:
            while len(self._orders) >= 2:
                self._orders.pop(min(self._orders))
            generator = seeds.generator("cpu", self.seed, "order", epoch)
            self._orders[epoch] = torch.randperm(self.pictures, generator=generator)
        return self._orders[epoch]

    def _fits_on_device(self) -> bool:
        if self.device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(self.device)
        return self._images.nbytes <= _SHARE_OF_FREE_MEMORY * free


def send(few: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A small tensor of the processor on `device`. From pinned memory it travels without waiting for a card to be idle."""
    return few.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else few.to(device)
