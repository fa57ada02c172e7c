"""CIFAR-10 and CIFAR-100, their training parts: 50,000 colour photographs of 32 px each (Krizhevsky 2009)."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ddpm_core.data import arrays
from ddpm_core.data.source import DatasetInfo, Look, Progress
from ddpm_core.data.torchvision_sets import WAY_ON, bring, datasets
from ddpm_core.errors import DataError

_CREDIT = "collected by A. Krizhevsky, V. Nair and G. Hinton."
# In the order of the archive's `fine_label_names`.
_HUNDRED = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""


class Cifar:
    """One of the two. It is used where torchvision keeps it; otherwise it is downloaded there."""

    info: DatasetInfo
    slug: str
    name: str  # of torchvision's class
    folder: str  # of the unpacked files
    archive: str

    def __init__(self, data_dir: Path, look: Look | None = None, progress: Progress | None = None):
        look = look or Look()
        self._data_dir = data_dir
        self._progress = progress
        self.slug += Look(colour=look.colour).suffix(self.info.channels)  # squares: there is nothing to crop
        self.info = dataclasses.replace(self.info, channels=look.channels(self.info.channels))

    def version(self) -> str:
        return arrays.version()

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int]]:
        unpacked = self._data_dir / self.folder
        if not os.path.isdir(unpacked):
            if picks is not None:
                here = os.path.isfile(self._data_dir / self.archive)
                raise self._missing(
                    "training unpacks it" if here else "it is not here yet; training downloads it (170 MB)"
                )
            bring(getattr(datasets(), self.name), self._data_dir, self._missing, self._progress)
        try:
            # torchvision unpickles these files; it verifies their checksums first, so they are the ones it knows.
            cifar = getattr(datasets(), self.name)(self._data_dir, train=True)
        except (OSError, RuntimeError):
            raise self._missing(f"{unpacked} is damaged, delete it") from None
        yield from arrays.draw(cifar.data, np.array(cifar.targets), size, self.info.channels, picks)

    def _missing(self, why: str) -> DataError:
        return DataError(f"{self.info.title}: {why}; put {self.archive} into {self._data_dir}, {WAY_ON}.")


class Cifar10(Cifar):
    """10 classes of animals and vehicles."""

    slug = "cifar10"
    name = "CIFAR10"
    folder = "cifar-10-batches-py"
    archive = "cifar-10-python.tar.gz"
    info = DatasetInfo(
        key="cifar10",
        title="CIFAR-10",
        about=f"50,000 small colour photographs of animals and vehicles, {_CREDIT}",
        pictures=50_000,
        channels=3,
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )


class Cifar100(Cifar):
    """100 classes, 500 pictures each."""

    slug = "cifar100"
    name = "CIFAR100"
    folder = "cifar-100-python"
    archive = "cifar-100-python.tar.gz"
    info = DatasetInfo(
        key="cifar100",
        title="CIFAR-100",
        about=f"50,000 small colour photographs of a hundred kinds of things, {_CREDIT}",
        pictures=50_000,
        channels=3,
        classes=tuple(_HUNDRED.split()),
    )
