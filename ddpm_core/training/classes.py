"""The classes that a run learns: how many there are is found in the data set, not chosen."""

import dataclasses

from ddpm_core.config import RunConfig
from ddpm_core.data.catalogue import DatasetInfo, Pictures
from ddpm_core.errors import DataError, UsageError


def with_classes(config: RunConfig, found: Pictures | DatasetInfo) -> RunConfig:
    """The settings with a network for the classes that were found, if it is to learn them. Raises `StudioError`."""
    if not config.class_conditional:
        return config
    count = len(found.classes)
    if not count:
        if config.dataset.strip().lower() in ("stl10", "imagenet"):
            raise UsageError(f"{config.dataset} has no classes to learn: choose stl10:labelled, the part that has.")
        raise UsageError(
            f"{config.dataset} has no classes to learn: put the pictures of each class into a folder of its own, or train"
            " without class_conditional."
        )
    if config.network.classes not in (0, count):
        raise DataError(
            f"{config.dataset} has {count} classes, and {config.name} was begun with {config.network.classes}: bring back"
            " its folders, or start a new run."
        )
    return dataclasses.replace(config, network=dataclasses.replace(config.network, classes=count))
