"""THE training loop: from pictures to checkpoints, for the command line, for the studio's background thread, for a notebook.

Read `_train` from top to bottom; what comes before a run's first step is in preparation.py. Everything random comes from
(seed, step), so a run that was stopped and resumed reaches exactly the weights that an uninterrupted one reaches (same
machine, same versions).
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ddpm_core import devices
from ddpm_core.config import RunConfig
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.runs import Run, Status
from ddpm_core.training import cadence, plan, previews, snapshots
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training.control import Control, Stopped
from ddpm_core.training.eager_first import EagerFirst
from ddpm_core.training.journal import Journal
from ddpm_core.training.loss_curve import save_loss_curve
from ddpm_core.training.out_of_memory import too_small
from ddpm_core.training.preparation import prepare
from ddpm_core.training.steps import Steps

FIRST_SAVE_SECONDS = 20.0  # a run that died younger than this has little to lose
SAVE_SHARE = 0.02  # afterwards saving may take this share of the time: every minute or so for a model of 200 MB
YOUNG = 100  # steps, over which each epoch's end is told; those of a few pictures would fill the log
BEST_OVER_STEPS = 50  # the mean of fewer losses is mostly chance, and says nothing about which model is best


def train(
    run: Run,
    config: RunConfig,
    *,
    data_dir: Path,
    resume: bool = False,
    control: Control | None = None,
    report: Callable[[Status], None] = lambda status: None,
) -> Status:
    """Trains `config` into `run`'s folders until its epochs are over or `control` says stop; returns the last status.

    With `resume` it goes on from the run's saved state. `report` gets a fresh status about twice a second. Raises
    `StudioError` (one line for a person); what goes wrong before the first step leaves nothing on the disk.
    """
    control = control or Control()
    threads = torch.get_num_threads()
    try:
        return _train(run, config, data_dir, resume, control, report)
    except Exception as error:
        if devices.is_out_of_memory(error):  # before there was a run that could have told it
            raise StudioError(too_small(config)) from None
        raise
    finally:
        torch.set_num_threads(threads)  # a resumed run may have used another number, see TrainingState.restore


def _train(
    run: Run, config: RunConfig, data_dir: Path, resume: bool, control: Control, report: Callable[[Status], None]
) -> Status:
    status = run.begun(resume)
    try:
        ready = prepare(
            run, config, data_dir, resume, control, lambda far: report(dataclasses.replace(status, message=far))
        )
    except Stopped:
        return dataclasses.replace(
            status, state="stopped", message="Stopped before the first step.", updated=time.time()
        )
    config, state, total_steps = ready.config, ready.state, ready.total_steps

    def draw_samples(path: Path, count: int, steps: int) -> None:
        previews.draw(state, control, journal.say, count=count, steps=steps, path=path)

    def draw_if_asked() -> None:
        if control.take_sample_request():
            draw_samples(run.progress / f"quick_now_{state.step}.png", few, 20)

    def write_metrics() -> None:
        """Also before every save: it raises where the loss is no number any more, and such weights must not be saved."""
        rate = optimizers.learning_rate(config, max(0, state.step - 1), ready.planned_steps, state.finish)
        journal.write_line(state.step, state.images / state.pictures, rate)

    def save() -> None:
        """A point to resume from."""
        write_metrics()
        state.save(run, journal.seconds)
        journal.set(saved=state.step)

    before = run.status() if resume else None
    with run.lock():
        if run.exists() and not resume:
            raise UsageError(f"a run {run.name} was made just now by another program: choose another name.")
        try:
            run.create(config)
            if ready.skipped:
                catalogue.save_skipped(run.progress / "skipped.csv", ready.skipped)
            run.truncate_metrics(state.step)
            snapshots.thin(run, state.step)
        except OSError as error:
            raise not_written(error) from error
        status = dataclasses.replace(
            status, state="running", step=state.step, total_steps=total_steps, epochs=ready.epochs_by(total_steps),
            epoch=state.epoch, images=state.images, loss=before.loss if before else None, saved=state.step if resume else None,
            device=devices.describe(state.device), message=" ".join(ready.notes),
        )  # fmt: skip
        usage = functools.partial(devices.usage, state.device)
        journal = Journal(run, status, config.batch_size, state.seconds, report, usage)
        ready.gradients.say = journal.say
        make_step = Steps(state, ready.gradients, EagerFirst(state, ready.gradients, journal.say, control), journal.say)
        few, many = previews.grid_sizes(config.size)
        grid_rhythm = cadence.grids(config.sample_every)
        checkpoint_rhythm = cadence.checkpoints(config.checkpoint_every)
        best_rhythm = cadence.best()
        for rhythm in (grid_rhythm, checkpoint_rhythm, best_rhythm):
            rhythm.replay(state.step, state.pictures, config.batch_size)
        next_save = time.monotonic() + FIRST_SAVE_SECONDS

        def draw_due(only_missing: bool = False) -> None:
            """The pictures that belong to this step."""
            due = []
            if previews.early(state.step, ready.batches.steps_per_epoch, config.sample_every):
                due.append((run.progress / f"quick_step_{state.step}.png", few, 12))
            if grid_rhythm.last == state.step:
                due.append((run.progress / f"quick_epoch_{grid_rhythm.number}.png", few, 20))
            if checkpoint_rhythm.last == state.step:
                due.append((run.samples / f"epoch_{checkpoint_rhythm.number}_samples.png", many, 20))
            for path, count, steps in due:
                if not (only_missing and path.exists()):
                    draw_samples(path, count, steps)

        try:
            journal.set()
            if state.step > 0:
                draw_due(only_missing=True)  # what a stop broke off
            while True:
                # Asked for a sample? Paused? Save first: a pause may well end with the power switch.
                draw_if_asked()
                if control.paused:
                    save()
                    journal.set(state="paused")
                    while control.paused:
                        control.wait_while_paused(1.0)
                        draw_if_asked()
                    journal.skip_time()
                    journal.set(state="running")

                # To be finished now? Then it cools down first.
                if control.take_finish_request() and state.finish is None and not control.stopping:
                    state.finish = optimizers.cool_down(state.step, ready.planned_steps)
                    total_steps = state.finish[1]
                    journal.set(total_steps=total_steps, epochs=ready.epochs_by(total_steps))
                    # True also once it is over: what was said stays in the status.
                    last = plan.in_words(total_steps - state.step, "step")
                    journal.say(f"Asked to finish: over the last {last} the learning rate falls to zero.")

                # Done?
                if state.step >= total_steps or control.stopping:
                    break

                # One optimizer step.
                epoch_before = state.epoch
                with control.turn():
                    rate = optimizers.learning_rate(config, state.step, ready.planned_steps, state.finish)
                    optimizers.set_learning_rate(state.optimizer, rate)
                    try:
                        loss, grad_norm = make_step(state.step)
                    except Stopped:
                        break
                    state.step += 1
                    state.update_averages()
                    if grad_norm is not None:  # else it overflowed in float16, and the step moved nothing
                        state.loss_sum += loss
                        state.loss_steps += 1
                        journal.note(loss, grad_norm)

                # Report; beside a regular grid, and at the end, also what pictures say that were never trained on.
                epoch = state.epoch
                grid_number = grid_rhythm.due(epoch_before, epoch, state.step)
                if grid_number is not None or state.step >= total_steps:
                    journal.add(ready.unseen.measure())
                    write_metrics()
                elif journal.due or (epoch > epoch_before and state.step <= YOUNG):
                    write_metrics()

                # An epoch is over: is this the best model so far?
                judged = best_rhythm.due(epoch_before, epoch, state.step) is not None or state.step >= total_steps
                if judged and state.loss_steps >= BEST_OVER_STEPS:
                    mean_loss = state.take_mean_loss()
                    if mean_loss < 0.995 * state.best_loss:
                        write_metrics()
                        state.best_loss = mean_loss
                        state.save_model(run.best_path, mean_loss)
                if (number := checkpoint_rhythm.due(epoch_before, epoch, state.step)) is not None:
                    write_metrics()
                    state.save_model(run.epoch_path(number), journal.status.loss)
                    save_loss_curve(run.metrics()[0], run.samples / f"loss_curve_epoch_{number}.png")
                    next_save = -math.inf
                draw_due()

                # Small copies of the averages.
                if config.snapshots and snapshots.due(state.step):
                    write_metrics()
                    snapshots.take(run, state.step, state.averages)

                # A point to resume from.
                if (now := time.monotonic()) >= next_save:
                    save()
                    cost = time.monotonic() - now
                    next_save = now + max(FIRST_SAVE_SECONDS, cost / SAVE_SHARE)

            # The end: a stop keeps everything that an orderly finish keeps.
            save()
            finished = state.step >= total_steps
            if state.step > 0:
                state.save_model(run.final_path, journal.status.loss)
                # Where nothing was judged yet, what an earlier stop left there is no better; nor is anything from before the end of a
                # cool-down, whose last losses say little.
                cooled = finished and (state.finish is not None or config.cooldown > 0)
                if math.isinf(state.best_loss) or cooled:
                    state.save_model(run.best_path, journal.status.loss)
            journal.set(state="finished" if finished else "stopped", seconds_left=0.0 if finished else None)
        except BaseException as error:
            known = explain(error, config)
            journal.fail(str(known or repr(error)))
            if known is None:
                raise
            raise known from error
    return journal.status


def explain(error: BaseException, config: RunConfig) -> StudioError | None:
    """The one line for a person, where an error has one."""
    if isinstance(error, StudioError):
        return error
    if devices.is_out_of_memory(error):
        return StudioError(too_small(config))
    return not_written(error) if isinstance(error, OSError) else None


def not_written(error: OSError) -> StudioError:
    return StudioError(
        f"could not write the run's files ({error}): is the disk full or read-only? Continue with --resume."
    )
