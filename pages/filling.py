"""What fills the Training form: the run that trains, a run or model to start from, and what goes with a size or a data set.

Handlers are plain functions of values, tested without a browser.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ddpm_core import config
from ddpm_core.config import RunConfig
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.runs import ALIVE, Run, all_runs
from pages.texts import number, t

if TYPE_CHECKING:
    from ddpm_core.session import Session

SCRATCH = "scratch"
# The form, in the order in which its values come.
FIELDS = (
    "dataset", "crop", "background", "colour", "size", "preset", "class_conditional", "epochs", "batch_size", "seed", "start_from",
    "lr", "max_steps", "name", "flip", "augment", "held_out", "micro_batch", "data_on", "amp", "compile",
)  # fmt: skip


def present(session: "Session") -> list[Any]:
    """The form of the run that trains; what it shows by itself when none does."""
    run, status = session.current()
    if run is not None and status is not None and status.state in ALIVE and run.exists():
        try:
            return _filled_form(session, run.config(), SCRATCH)
        except StudioError:
            pass
    updates: list[Any] = [gr.skip()] * len(FIELDS)
    updates[FIELDS.index("start_from")] = gr.update(choices=start_choices(session))
    return updates


def from_choice(session: "Session", chosen: Any) -> list[Any]:
    """The form after a choice in "Start from": a run that goes on brings its settings, which then stay as they are."""
    try:
        kind, run, _ = chosen_start(session.root, chosen)
        if run is None:
            return _freed_form()
        settings = run.config()
        status = run.status()
        if kind == "resume" and status is not None and status.state == "finished":  # it needs more to do
            settings = dataclasses.replace(settings, epochs=2 * (settings.epochs or 1))
    except StudioError:
        return _freed_form()
    if kind == "resume":
        return _filled_form(session, settings, chosen, frozen=True)
    return _filled_form(session, settings, chosen, new_name=True)


def _freed_form() -> list[Any]:
    """All fields can be changed; what a run that goes on had brought for itself alone is gone."""
    own = {"name": "", "max_steps": None}
    return [
        gr.update(interactive=True, value=own[key]) if key in own else gr.update(interactive=True) for key in FIELDS
    ]


def recipe(size: Any, model: Any) -> list[Any]:
    """Batch size and learning rate that go with a size and a model."""
    try:
        settings = config.preset(size=size, preset=model)
    except StudioError:
        return [gr.skip(), gr.skip()]
    return [settings.batch_size, settings.lr]


def suited(session: "Session") -> list[Any]:
    """Model, batch size and learning rate that suit this machine, for the form as it comes: a graphics card has use for more than a
    processor. No change where a run trains, whose form it is then."""
    from ddpm_core import devices
    from ddpm_core.training import memory  # here, since it imports torch, and the page comes first

    usual = config.preset()
    _, status = session.current()
    try:
        best = memory.best_preset({"size": usual.size}, devices.choose("auto"))
    except StudioError:
        best = usual.preset
    if best == usual.preset or (status is not None and status.state in ALIVE):
        return [gr.skip()] * 3
    return [best, *recipe(usual.size, best)]


def epochs(session: "Session", dataset: Any) -> Any:
    """The epochs that suit a data set; no change when it is not there."""
    try:
        return config.default_epochs(catalogue.describe(str(dataset), session.data_dir).pictures)
    except StudioError:
        return gr.skip()


def start_choices(session: "Session") -> list[tuple[str, str]]:
    """What a run can start from: (words, value)."""
    choices = [(t("training.from.nothing"), SCRATCH)]
    for run in all_runs(session.root):
        status = session.status_of(run)
        if run.can_resume() and (status is None or status.state not in ALIVE):
            step = number(status.resumes_from if status else 0)
            choices.append((t("training.from.resume", run=run.name, step=step), f"resume/{run.name}"))
    for run in all_runs(session.root):
        choices += [
            (t("training.from.model", run=run.name, file=path.name), f"model/{run.name}/{path.name}")
            for path in run.models()[:1]
        ]
    return choices


def chosen_start(root: Path, chosen: Any) -> tuple[str, Run | None, Path | None]:
    """("scratch" | "resume" | "model", run, model file). Only runs and files that are there: the page cannot name a path."""
    if chosen in (None, "", SCRATCH):
        return SCRATCH, None, None
    kind, _, rest = str(chosen).partition("/")
    name, _, file = rest.partition("/")
    for run in all_runs(root):
        if run.name == name and kind == "resume":
            return "resume", run, None
        if run.name == name and kind == "model":
            for path in run.models():
                if path.name == file:
                    return "model", run, path
    raise UsageError(t("error.start_from"))


def _filled_form(
    session: "Session", settings: RunConfig, chosen: Any, *, frozen: bool = False, new_name: bool = False
) -> list[Any]:
    """Updates for all fields; `frozen` ones cannot be changed in a run that goes on."""
    changeable = ("epochs", "max_steps", "start_from")
    shown = {key: getattr(settings, key) for key in FIELDS if key != "start_from"}
    shown["epochs"] = settings.epochs or epochs(session, settings.dataset)
    shown["name"] = "" if new_name or not frozen else settings.name
    updates = {key: gr.update(value=value, interactive=key in changeable or not frozen) for key, value in shown.items()}
    updates["start_from"] = gr.update(value=chosen, choices=start_choices(session))
    return [updates[key] for key in FIELDS]
