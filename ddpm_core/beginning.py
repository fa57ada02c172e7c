"""How a run begins under a name that is free, or goes on with the settings it had. Writes nothing yet. No torch here."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from ddpm_core import atomic
from ddpm_core.config import RunConfig
from ddpm_core.errors import CheckpointError, DataError, UsageError
from ddpm_core.runs import Run, all_runs

# What may differ when a run goes on: it changes how long and how watched, not what is learned. (Another device computes
# in another order; the run then goes on, but not bit for bit.)
CHANGEABLE = (
    "epochs",
    "max_steps",
    "cooldown",
    "device",
    "sample_every",
    "checkpoint_every",
    "snapshots",
    "data_on",
    "micro_batch",
)


def new_run(root: Path | str, config: RunConfig, *, explicit_name: bool) -> tuple[Run, RunConfig]:
    """A run for `config` under a name that is free; writes nothing yet.

    If the name is taken: UsageError if a person chose it (`explicit_name`), otherwise -2, -3, ... is added.
    """
    run = Run(root, config.name)
    for folder in (run.checkpoints, run.samples, run.progress):
        _check_writable(folder)
    _check_apart(run.root, config.dataset)
    number = 1
    while taken := run.in_the_way():
        if explicit_name:
            how = "continue it with --resume" if run.exists() and run.can_resume() else f"delete {taken}"
            raise UsageError(f"there is a run {config.name} already: {how}, or choose another name.")
        number += 1
        suffix = f"-{number}"
        run = Run(root, config.name[: 64 - len(suffix)] + suffix)
    return run, dataclasses.replace(config, name=run.name)


def resume_run(root: Path | str, name: str, changes: dict[str, Any]) -> tuple[Run, RunConfig]:
    """The run `name` and its settings with `changes` (those that a person asked for; None means "as it was", 0 for
    max_steps "no limit").

    Raises CheckpointError if there is nothing to resume, DataError if its pictures have gone, RunInUseError if it is being trained,
    UsageError if a change would make it another run or nothing is left to do. Changes nothing on the disk.
    """
    run = Run(root, name)
    if not run.exists():
        raise CheckpointError(f"there is no run {name} in {run.root.absolute()}: {_what_is_there(run.root)}.")
    config = run.config()
    if not run.can_resume():
        raise CheckpointError(
            f"{name} has nothing to resume from, it ended before its first save:"
            f" start a new run, under another name or after deleting {run.in_the_way()}."
        )
    stored = json.loads(config.to_json())
    changes = {key: value for key, value in changes.items() if value is not None}
    lifted = changes.get("max_steps") == 0
    if lifted:
        changes["max_steps"] = None
    unlike = [
        f"{key} is {stored.get(key)!r} and not {value!r}"
        for key, value in changes.items()
        if key not in CHANGEABLE
        and json.loads(json.dumps(value)) != stored.get(key)
        and not (key == "dataset" and _both_folders(config.dataset, value))
    ]
    if unlike:
        raise UsageError(
            f"{name} goes on as it began: {', '.join(unlike)}. Leave that out, or start a new run under another name."
        )
    if "dataset" not in changes and os.path.isabs(config.dataset) and not os.path.exists(config.dataset):
        raise DataError(
            f"the pictures of {name} are not at {config.dataset} any more: put them back, or tell where they are now,"
            f" python train_high_res.py --resume --name={name} --dataset=PLACE (a folder or .zip)."
        )
    status = run.status()
    made = status.resumes_from if status else 0
    # (The page's form says again what is stored. A run that failed while it wrote its last files is to be ended, not made longer.)
    other_limit = changes.get("max_steps") not in (None, config.max_steps)
    config = dataclasses.replace(config, **changes)
    finished = status is not None and status.state == "finished"
    if config.max_steps and made >= config.max_steps and (finished or other_limit):
        raise UsageError(f"{name} has made {made:,} steps: ask for more, --max-steps {2 * made}.")
    planned = config.epochs or (status.epochs if status else 0)
    lifted = lifted and status is not None and status.epoch < planned  # else the limit was not what ended it
    if status and finished and not lifted and not any(changes.get(key) for key in ("epochs", "max_steps")):
        more = 2 * max(1, planned)
        raise UsageError(f"{name} is finished, {planned:,} epochs: to go on ask for more, --epochs {more}.")
    with run.lock():  # in use? Better now than after reading all pictures
        pass
    return run, config


def _both_folders(before: str, now: Any) -> bool:
    """Whether a run's own pictures may only have moved. (If they are others, the resume point knows.)"""
    return isinstance(now, str) and os.path.isabs(before) and os.path.isabs(now)


def _check_writable(root: Path) -> None:
    """UsageError unless folders can be made under `root`. Only looks: nothing is to be written before all is right."""
    nearest = atomic.nearest(root)
    if nearest is None:
        raise UsageError(f"{root.absolute()} is on a drive that is not there: choose another output folder.")
    if not os.path.isdir(nearest):
        what = "a link to a place that is not there" if os.path.islink(nearest) else "a file"
        raise UsageError(f"{nearest} is {what}: choose a folder for the output.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"{nearest} cannot be written: choose another output folder, or change its permissions.")


def _check_apart(root: Path, dataset: str) -> None:
    """UsageError where a run's own pictures would lie among those that it learns from: later runs would learn from them too, and
    itself could not go on, as its pictures had changed."""
    from ddpm_core.data import catalogue

    folder = catalogue.absolute(dataset)
    if os.path.isabs(folder) and os.path.isdir(folder) and root.resolve().is_relative_to(Path(folder).resolve()):
        raise UsageError(
            f"the output folder {root.absolute()} lies in the folder of the pictures, among which the run's own would count: choose"
            " another one (--output-dir)."
        )


def _what_is_there(root: Path) -> str:
    names = [run.name for run in all_runs(root)]
    if not names:
        return "there are no runs yet, start one without --resume, or name the right --output-dir"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"choose one of {', '.join(names[:8])}{more}, or start a new one without --resume"
