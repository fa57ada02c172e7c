"""Everything of a run that comes before its first step. Whatever can fail does so here, and leaves nothing on the disk."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ddpm_core import checkpoint, devices
from ddpm_core.config import RunConfig
from ddpm_core.data import catalogue
from ddpm_core.data.batches import Batches
from ddpm_core.data.catalogue import Pictures
from ddpm_core.errors import UsageError
from ddpm_core.network import growing
from ddpm_core.runs import Run
from ddpm_core.training import held_out, memory, plan, trial
from ddpm_core.training.classes import with_classes
from ddpm_core.training.control import Control, Stopped
from ddpm_core.training.gradients import Gradients
from ddpm_core.training.held_out import HeldOut
from ddpm_core.training.length import Length, epochs_begun
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.state import TrainingState


@dataclass
class Prepared:
    """What the training loop works with. `config` has its classes and its epochs now."""

    config: RunConfig
    skipped: tuple[tuple[str, str], ...]  # the broken pictures that were left out: (file, reason)
    batches: Batches
    state: TrainingState
    gradients: Gradients
    unseen: HeldOut
    epochs: int
    planned_steps: int  # of the whole run, by its epochs
    total_steps: int  # the same, or fewer where it was asked to finish
    notes: list[str]  # lines for a person; `gradients` adds to them until it is told to speak elsewhere

    def epochs_by(self, step: int) -> int:
        """How many epochs have begun when `step` is made: fewer than planned for a run with a limit of steps."""
        return min(self.epochs, epochs_begun(step, self.config, self.batches.pictures))


def prepare(
    run: Run, config: RunConfig, data_dir: Path, resume: bool, control: Control, say: Callable[[str], None]
) -> Prepared:
    """Reads the pictures and sets `run` up, or with `resume` takes it up where it was saved. `say` hears how far reading is.

    Raises `StudioError` (one line for a person), and `Stopped` where a stop was asked for while the pictures were
    being read.
    """
    device = devices.choose(config.device)
    devices.keep_freed_memory()
    model = None
    if config.from_model and not resume:
        model = checkpoint.load_model(config.from_model)
        config = growing.fit(config, model.config)
    found = _read(config, data_dir, control, say)
    config = with_classes(config, found)
    labels, classes = (found.labels, found.classes) if config.class_conditional else (None, ())
    trained, kept_apart = held_out.split(len(found.images), config.held_out, config.seed)
    batches = Batches(
        found.images, config.batch_size, config.seed, device, labels=labels, trained=trained, data_on=config.data_on
    )  # fmt: skip
    epochs, planned_steps = Length.of(config, batches.pictures)
    config = dataclasses.replace(config, epochs=epochs)
    # In a turn: the first weights come from torch's one generator, and a forecast beside draws from there as well.
    with control.turn():
        state = TrainingState(
            config, found.images, device, pictures=len(trained), labels=labels, classes=classes,
            micro_batch=memory.micro_batch(config, found.images.shape[1], device),
        )  # fmt: skip

    notes = [f"{batches.where.capitalize()}."]
    if resume:
        state.restore(run, notes.append, trial.usual_layout(config, device))
    elif model is not None:
        state.start_from(model, str(config.from_model))
    del model  # the trial wants the room
    total_steps = _last_step(run, state, planned_steps, epochs)
    if state.finish:
        notes.append(f"It was asked to finish, and ends at step {total_steps:,}.")
    if found.skipped:
        notes.append(f"{plan.in_words(len(found.skipped), 'broken picture')} left out, listed in skipped.csv.")
    if len(kept_apart):
        notes.append(f"Never trained on, to judge by: {len(kept_apart):,} of {len(found.images):,} pictures.")

    batch_loss = DiffusionLoss(config, batches, device)
    gradients = Gradients(state, batch_loss, notes.append)
    if not resume:
        with control.turn():
            notes.append(trial.choose(state, gradients))
    if state.micro_batch < config.batch_size:
        notes.append(f"A step's {config.batch_size} pictures are in memory {state.micro_batch} at a time.")
    unseen = HeldOut(state, batch_loss, trained, kept_apart, control)
    return Prepared(config, found.skipped, batches, state, gradients, unseen, epochs, planned_steps, total_steps, notes)


def _read(config: RunConfig, data_dir: Path, control: Control, say: Callable[[str], None]) -> Pictures:
    def progress(what: str, done: int, total: int) -> None:
        if control.stopping:
            raise Stopped
        say(f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}")

    return catalogue.load(
        config.dataset, config.size, data_dir, progress,
        crop=config.crop, background=config.background, colour=config.colour,
    )  # fmt: skip


def _last_step(run: Run, state: TrainingState, planned_steps: int, epochs: int) -> int:
    """The step that ends the run; a cool-down that counts no more is forgotten. Raises `UsageError` if nothing is left to do.

    (A run that was killed while it wrote its last files has all its steps, but is not finished: the loop ends it properly.)
    """
    before = run.status()
    had_finished = before is not None and before.state == "finished"
    cooled_down_at = state.finish[1] if state.finish else planned_steps
    # A cool-down that is over counts no more where the run is finished, or has been made longer since: it had more steps to go then.
    if state.step >= cooled_down_at and (before is None or had_finished or before.total_steps != cooled_down_at):
        state.finish = None
    # A limit that is lower now ends a cool-down before its end.
    total_steps = min(state.finish[1], planned_steps) if state.finish else planned_steps
    if state.step >= total_steps and before is not None and had_finished:
        raise UsageError(
            f"{run.name} is finished: it has made all of its {state.step:,} steps."
            f" To go on, ask for more: --resume --epochs {2 * max(epochs, before.epoch)}."
        )
    return total_steps
