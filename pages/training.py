"""The Training tab: what to learn from, how large, how long; a forecast; Start. Handlers only read the form and ask."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ddpm_core import config, pictures
from ddpm_core.config import RunConfig
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.runs import ALIVE, Run, all_runs
from pages import widgets
from pages.texts import number, sentence, t

if TYPE_CHECKING:
    from ddpm_core.session import Session

SCRATCH = "scratch"
# The form, in the order in which its values come.
FIELDS = (
    "dataset", "crop", "background", "colour", "size", "preset", "class_conditional", "epochs", "batch_size", "seed", "start_from",
    "lr", "max_steps", "name", "flip", "augment", "held_out", "micro_batch", "data_on", "amp", "compile",
)  # fmt: skip
DEFAULT = config.preset()
PEEK = {32: 40, 64: 40, 96: 24, 128: 15, 256: 8}  # pictures shown at each size


def build(session: "Session") -> gr.Button:
    """Lays the tab out and wires it; returns the button that leads to the Monitoring tab."""
    with gr.Row(elem_id="training", equal_height=False):
        with gr.Column(scale=2, min_width=360):
            with gr.Column(elem_classes="card"):
                widgets.heading(t("training.pictures"))
                dataset = gr.Dropdown(
                    [(title, key) for key, title in catalogue.names()],
                    value=DEFAULT.dataset,
                    allow_custom_value=True,
                    elem_id="dataset",
                    **_words("dataset"),
                )
                crop = _choice("crop", config.CROPS, DEFAULT.crop)
            with gr.Column(elem_classes="card"):
                widgets.heading(t("training.size"))
                size = gr.Radio(
                    [(str(side), side) for side in config.SIZES], value=DEFAULT.size, elem_id="size", **_words("side")
                )
                model = gr.Radio(
                    [(t("training.preset." + name), name) for name in config.PRESETS],
                    value=DEFAULT.preset,
                    elem_id="preset",
                    **_words("preset"),
                )
                class_conditional = _switch("class_conditional", DEFAULT.class_conditional)
            with gr.Column(elem_classes="card"):
                widgets.heading(t("training.plan"))
                with gr.Row(elem_id="plan_numbers"):
                    epochs = _number("epochs", _epochs(session, DEFAULT.dataset))
                    batch_size = _number("batch_size", DEFAULT.batch_size)
                    seed = _number("seed", DEFAULT.seed)
                start_from = gr.Dropdown(
                    start_choices(session.root), value=SCRATCH, elem_id="start_from", **_words("start_from")
                )
                with gr.Accordion(t("training.rare"), open=False, elem_id="rare"):
                    with gr.Row():
                        lr = _number("lr", DEFAULT.lr, step=1e-4)
                        max_steps = _number("max_steps", None)
                    name = gr.Textbox("", max_lines=1, elem_id="run_name", **_words("name"))
                    with gr.Row():
                        background = _choice("background", config.BACKGROUNDS, DEFAULT.background)
                        colour = _choice("colour", config.COLOURS, DEFAULT.colour)
                    flip = _switch("flip", DEFAULT.flip)
                    augment = _part("augment", DEFAULT.augment, 0.5)
                    held_out = _part("held_out", DEFAULT.held_out, 0.5)
                    micro_batch = _number("micro_batch", None)
                    data_on = _choice("data_on", config.DATA_PLACES, DEFAULT.data_on)
                    amp = _switch("amp", DEFAULT.amp)
                    compiled = _switch("compile", DEFAULT.compile)
        with gr.Column(scale=3, min_width=400):
            with gr.Column(elem_classes="card"):
                widgets.heading(t("training.start"))
                with gr.Row(elem_id="launch", equal_height=False):
                    forecast_line = widgets.line("forecast", t("training.forecast.wait"))
                    with gr.Column(scale=0, min_width=180):
                        start = gr.Button(t("training.go"), variant="primary", elem_id="start")
                        watch = gr.Button(t("training.watch"), visible=False, elem_id="watch")
                message = widgets.line("start_message")
                whole_plan = widgets.plan()
            peek_view = widgets.peek()

    form: list[Any] = [
        dataset, crop, background, colour, size, model, class_conditional, epochs, batch_size, seed, start_from,
        lr, max_steps, name, flip, augment, held_out, micro_batch, data_on, amp, compiled,
    ]  # fmt: skip
    for field in form:
        widgets.as_given(field)
    quiet: Any = {"show_progress": "hidden", "api_visibility": "private"}

    # Without triggers: once when the page opens. The form then shows the run that trains, also after a reload.
    gr.on(None, lambda: present(session), outputs=form, **quiet)
    looked_at = [dataset, size, crop, background, colour]
    gr.on(None, lambda *chosen: peek(session, *chosen), looked_at, peek_view, trigger_mode="always_last", **quiet)
    told = [forecast_line, whole_plan]
    gr.on(None, lambda *filled: forecast(session, *filled), form, told, trigger_mode="always_last", **quiet)

    dataset.input(lambda chosen: _epochs(session, chosen), dataset, epochs, **quiet)
    for choice in (size, model):
        choice.input(recipe, [size, model], [batch_size, lr], **quiet)
    start_from.focus(lambda: gr.update(choices=start_choices(session.root)), outputs=start_from, **quiet)
    start_from.input(lambda chosen: from_choice(session, chosen), start_from, form, **quiet)
    begun = start.click(lambda *filled: begin(session, *filled), form, [message, watch], trigger_mode="once", **quiet)
    begun.then(None, js="() => Studio.followNew()")
    gr.on(None, None, js="() => Studio.why('start', 'training.go.why')")
    return watch


# ---- what the events do; plain functions of values, tested without a browser


def read(*filled: Any, root: Path) -> tuple[RunConfig, bool]:
    """(settings, whether to resume) from the form's raw values, whatever they are. Raises `StudioError` with the fix."""
    form = dict(zip(FIELDS, filled, strict=True))
    limit = None if form["max_steps"] in (None, "") else _whole("max_steps", form["max_steps"], 10_000)
    at_once = None if form["micro_batch"] in (None, "") else _whole("micro_batch", form["micro_batch"], 8)
    kind, run, file = chosen_start(root, form["start_from"])
    if kind == "resume" and run is not None:
        return dataclasses.replace(run.config(), epochs=_whole("epochs", form["epochs"], 100), max_steps=limit), True
    settings = config.preset(
        catalogue.absolute(form["dataset"]) if isinstance(form["dataset"], str) else "",
        form["size"],
        form["preset"],
        epochs=_whole("epochs", form["epochs"], 100),
        batch_size=_whole("batch_size", form["batch_size"], 64),
        seed=_whole("seed", form["seed"], 0),
        lr=_filled("lr", form["lr"], 0.001),
        max_steps=limit,
        micro_batch=at_once,
        name=str(form["name"] or "").strip(),
        from_model=str(file.absolute()) if file else None,
        **{key: form[key] for key in ("crop", "background", "colour", "augment", "held_out", "data_on")},
        **{key: bool(form[key]) for key in ("class_conditional", "flip", "amp", "compile")},
    )
    if run is not None:  # the network is that of the model it starts from
        from ddpm_core.network import growing

        settings = growing.fit(settings, run.config())
    return settings, False


def begin(session: "Session", *form: Any) -> tuple[str, Any]:
    """Starts the run; what to say, and whether the way to the Monitoring tab shows."""
    try:
        settings, resume = read(*form, root=session.root)
        run = session.start(settings, resume=resume, explicit_name=bool(str(form[FIELDS.index("name")] or "").strip()))
    except StudioError as error:
        return sentence(error), gr.update(visible=False)
    status = run.status()
    if resume and status is not None:
        return t("training.going-on", run=run.name, step=number(status.step)), gr.update(visible=True)
    return t("training.begun", run=run.name), gr.update(visible=True)


def forecast(session: "Session", *form: Any) -> tuple[str, dict[str, Any]]:
    """What this form will cost, in a line or two, fact by fact, and how it would be on other cards; or what is wrong with it."""
    try:
        settings, resume = read(*form, root=session.root)
        info = catalogue.describe(settings.dataset, session.data_dir, colour=settings.colour)
        if settings.class_conditional and not info.classes:
            raise UsageError(t("training.no-classes", dataset=info.title))
        from ddpm_core.training import plan, plan_sheet  # here, since they import torch, and the page comes first

        status = Run(session.root, settings.name).status() if resume else None
        step = status.step if status else 0
        found = plan.forecast(settings, info.pictures, info.channels, step=step, turn=session.turns)
    except StudioError as error:
        return sentence(error), {}
    text = " ".join(filter(None, (found.text, found.hint)))
    others = [plan_sheet.card(found, fit) for fit in found.fits]
    cards = [{"card": card, "verdict": verdict, "words": words} for card, verdict, words in others]
    return text, {"facts": plan_sheet.facts(found), "cards": cards}


def peek(
    session: "Session", dataset: Any, size: Any, crop: Any = "center", background: Any = "white", colour: Any = "auto"
) -> dict[str, Any]:
    """A few pictures of the data set at the chosen size, for the peek widget."""
    try:
        if size not in config.SIZES:
            size = DEFAULT.size
        text = dataset if isinstance(dataset, str) else ""
        info = catalogue.describe(text, session.data_dir)
        look = {"crop": str(crop), "background": str(background), "colour": str(colour)}
        shown = catalogue.peek(text, size, PEEK[size], session.data_dir, **look)
    except StudioError as error:
        return {"size": DEFAULT.size, "pictures": [], "error": sentence(error)}
    return {
        "size": size,
        "pictures": [pictures.to_data_uri(picture) for picture in shown],
        "line": t("training.peek.line", pictures=number(info.pictures), size=size),
        "about": info.about,
    }


def present(session: "Session") -> list[Any]:
    """The form of the run that trains; what it shows by itself when none does."""
    run, status = session.current()
    if run is not None and status is not None and status.state in ALIVE and run.exists():
        try:
            return _filled_form(session, run.config(), SCRATCH)
        except StudioError:
            pass
    updates: list[Any] = [gr.skip()] * len(FIELDS)
    updates[FIELDS.index("start_from")] = gr.update(choices=start_choices(session.root))
    return updates


def from_choice(session: "Session", chosen: Any) -> list[Any]:
    """The form after a choice in "Start from": a run that goes on brings its settings, which then stay as they are."""
    try:
        kind, run, _ = chosen_start(session.root, chosen)
        if run is None:
            return [gr.update(interactive=True)] * len(FIELDS)
        settings = run.config()
    except StudioError:
        return [gr.update(interactive=True)] * len(FIELDS)
    if kind == "resume":
        status = run.status()
        if status is not None and status.state == "finished":  # it needs more to do
            settings = dataclasses.replace(settings, epochs=2 * (settings.epochs or 1))
        return _filled_form(session, settings, chosen, frozen=True)
    return _filled_form(session, settings, chosen, new_name=True)


def recipe(size: Any, model: Any) -> list[Any]:
    """Batch size and learning rate that go with a size and a model."""
    try:
        settings = config.preset(size=size, preset=model)
    except StudioError:
        return [gr.skip(), gr.skip()]
    return [settings.batch_size, settings.lr]


def start_choices(root: Path) -> list[tuple[str, str]]:
    """What a run can start from: (words, value)."""
    choices = [(t("training.from.nothing"), SCRATCH)]
    for run in all_runs(root):
        status = run.status()
        if run.can_resume() and (status is None or status.state not in ALIVE):
            step = number(status.step if status else 0)
            choices.append((t("training.from.resume", run=run.name, step=step), f"resume/{run.name}"))
    for run in all_runs(root):
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


# ---- small helpers


def _filled_form(
    session: "Session", settings: RunConfig, chosen: Any, *, frozen: bool = False, new_name: bool = False
) -> list[Any]:
    """Updates for all fields; `frozen` ones cannot be changed in a run that goes on."""
    changeable = ("epochs", "max_steps", "start_from")
    shown = {key: getattr(settings, key) for key in FIELDS if key != "start_from"}
    shown["epochs"] = settings.epochs or _epochs(session, settings.dataset)
    shown["name"] = "" if new_name or not frozen else settings.name
    updates = {key: gr.update(value=value, interactive=key in changeable or not frozen) for key, value in shown.items()}
    updates["start_from"] = gr.update(value=chosen, choices=start_choices(session.root))
    return [updates[key] for key in FIELDS]


def _epochs(session: "Session", dataset: Any) -> Any:
    """The epochs that suit a data set; no change when it is not there."""
    try:
        return config.default_epochs(catalogue.describe(str(dataset), session.data_dir).pictures)
    except StudioError:
        return gr.skip()


def _filled(name: str, value: Any, example: float) -> Any:
    if value is None or value == "":
        raise UsageError(t("error.empty", name=t("training." + name).lower(), example=example))
    return value


def _whole(name: str, value: Any, example: int) -> Any:
    """5.0 from a number field is 5; everything else passes on to RunConfig, which says what is wrong with it."""
    value = _filled(name, value, example)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _words(key: str) -> dict[str, Any]:
    return {"label": t("training." + key), "info": t(f"training.{key}.why")}


def _number(key: str, value: float | None, step: float = 1) -> gr.Number:
    return gr.Number(value, step=step, elem_id=key, min_width=100, **_words(key))


def _choice(key: str, values: tuple[str, ...], value: str) -> gr.Radio:
    return gr.Radio([(t(f"training.{key}.{each}"), each) for each in values], value=value, elem_id=key, **_words(key))


def _switch(key: str, value: bool) -> gr.Checkbox:
    return gr.Checkbox(value, elem_id=key, **_words(key))


def _part(key: str, value: float, most: float) -> gr.Slider:
    return gr.Slider(0, most, value, step=0.01, elem_id=key, buttons=[], **_words(key))
