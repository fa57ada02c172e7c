"""Where the pictures wait until a step wants them: on the device, in memory, or on the disk. The same pictures, bit for bit.

On the device a batch is there at once. From memory and from the disk, threads fetch the batches of the next steps while this
one is computed, into pinned memory where there is a card, so that it can take them without making anybody wait.
"""

import math
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ddpm_core import devices, room
from ddpm_core.errors import UsageError

SHARE_OF_DEVICE = 0.3  # of the device's free memory is what the pictures may take; the network needs the rest
SHARE_OF_MEMORY = 0.5
STEPS_AHEAD = 3
PICTURES_A_TASK = 16  # fewer are not worth another thread
SMALL = 2**30  # bytes; a larger set's mark is made from samples of it


class Place(Protocol):
    """`images`, uint8 (N, C, H, W), wherever they are. `where` says it in words."""

    where: str

    def at(self, indices: Tensor) -> Tensor:
        """The pictures `indices`, int64 (B,) on the processor: uint8 (B, C, H, W) on the device."""

    def batch(self, step: int, indices: Callable[[int], Tensor]) -> Tensor:
        """The pictures indices(step), in the same way. Steps are mostly asked for one after the other."""


def find(images: np.ndarray, device: torch.device, data_on: str = "auto") -> Place:
    """The place for `images`: "device", "memory" or "disk", or with "auto" the first that has room.

    Raises `UsageError` where the device was asked for and has none.
    """
    if data_on == "auto":
        data_on = choose(images.nbytes, device)
    if data_on == "device" and device.type != "cpu":
        try:
            return Resident(_move(images, device), "pictures on the device")
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            gigabytes = images.nbytes / 2**30
            raise UsageError(
                f"the pictures ({gigabytes:.1f} GB) do not fit on the device: let them wait in memory or on the disk (data_on)."
            ) from None
    if data_on == "disk" and isinstance(images, np.memmap):
        return ReadAhead(images.view(np.ndarray), device, "pictures on the disk")
    if data_on == "disk":  # no cache of them could be written
        return ReadAhead(images, device, "pictures in memory")
    if device.type == "cpu":
        # A copy: torch cannot wrap a read-only array without a warning, and a file would make steps wait for the disk.
        return Resident(torch.tensor(images), "pictures in memory")
    return ReadAhead(np.array(images), device, "pictures in memory")


def choose(size: int, device: torch.device) -> str:
    """The first place with room for `size` bytes. A processor's memory is its device."""
    if device.type != "cpu" and fits_beside(size, free_on(device)):
        return "device"
    return "memory" if size <= SHARE_OF_MEMORY * room.left() else "disk"


def fits_beside(size: int, free: int) -> bool:
    """Whether pictures of `size` bytes leave a network enough of a card's `free` bytes."""
    return size <= SHARE_OF_DEVICE * free


def free_on(device: torch.device) -> int:
    """Bytes of a card's memory that nobody uses: what torch has taken there and holds unused counts as well."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()


class Resident:
    """Pictures that are where they are needed."""

    def __init__(self, images: Tensor, where: str) -> None:
        self.images, self.where = images, where

    def at(self, indices: Tensor) -> Tensor:
        return self.images.index_select(0, send(indices, self.images.device))

    def batch(self, step: int, indices: Callable[[int], Tensor]) -> Tensor:
        return self.at(indices(step))


class ReadAhead:
    """Pictures that threads fetch, those of the next steps too; as many threads as there are cores."""

    def __init__(self, images: np.ndarray, device: torch.device, where: str) -> None:
        self.images, self.device = images, device
        threads = devices.cores()
        self.where = f"{where}, read ahead by {threads} thread{'' if threads == 1 else 's'}"
        self._threads = ThreadPoolExecutor(threads, "pictures")  # they end with this object
        self._coming: dict[int, tuple[Tensor, list[Future]]] = {}

    def at(self, indices: Tensor) -> Tensor:
        return self._arrived(*self._fetch(indices))

    def batch(self, step: int, indices: Callable[[int], Tensor]) -> Tensor:
        wanted = range(step, step + 1 + STEPS_AHEAD)
        # What was asked for last stays: a step may be made again.
        self._coming = {number: self._coming.get(number) or self._fetch(indices(number)) for number in wanted}
        return self._arrived(*self._coming[step])

    def _fetch(self, indices: Tensor) -> tuple[Tensor, list[Future]]:
        """Memory for the pictures, and what to wait for until they are in it."""
        shape = (len(indices), *self.images.shape[1:])
        chosen = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        rows, picks = chosen.numpy(), indices.numpy()
        tasks = []
        for first in range(0, len(picks), PICTURES_A_TASK):
            part = slice(first, first + PICTURES_A_TASK)
            # "clip": with "raise" numpy would fill a copy first. It lets go of Python's lock meanwhile.
            tasks.append(self._threads.submit(np.take, self.images, picks[part], 0, rows[part], "clip"))
        return chosen, tasks

    def _arrived(self, chosen: Tensor, tasks: list[Future]) -> Tensor:
        for task in tasks:
            task.result()
        # Only a card waits for what it has not copied yet before the memory is used again.
        return chosen.to(self.device, non_blocking=self.device.type == "cuda")


def send(few: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the processor on `device`. From pinned memory it travels without waiting for a card to be idle."""
    return few.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else few.to(device)


def mark(images: np.ndarray, labels: bytes = b"", *, whole: bool = False) -> int:
    """A number that is another one for other pictures, or others of their `labels`: their checksum.

    Of a large set, unless it is to be `whole`, that of its shape and of 64 MiB of pictures from all over it: it would take seconds,
    and a cache has been checked when it was opened.
    """
    if whole or images.nbytes <= SMALL:
        return zlib.crc32(labels, zlib.crc32(images.data))
    found = zlib.crc32(repr(images.shape).encode())
    some = min(len(images), max(256, SMALL // 16 * len(images) // images.nbytes))
    for number in np.linspace(0, len(images) - 1, some).round().astype(int):
        found = zlib.crc32(np.ascontiguousarray(images[number]).data, found)
    return zlib.crc32(labels, found)


def _move(images: np.ndarray, device: torch.device) -> Tensor:
    """All pictures on the device, a part at a time: a file is never in memory whole."""
    there = torch.empty(images.shape, dtype=torch.uint8, device=device)
    rows = max(1, math.ceil(2**28 / max(1, images[0].nbytes)))
    for first in range(0, len(images), rows):
        there[first : first + rows] = torch.tensor(images[first : first + rows])
    return there
