"""What the Training form asks for: its settings read, what they will cost, a look at the pictures, and Start.

Handlers are plain functions of values, tested without a browser.
"""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ddpm_core import config, pictures
from ddpm_core.config import RunConfig
from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.runs import Run
from pages.filling import FIELDS, chosen_start
from pages.texts import in_the_form, number, sentence, t

if TYPE_CHECKING:
    from ddpm_core.session import Session

PEEK = {32: 40, 64: 40, 96: 24, 128: 15, 256: 8}  # pictures shown at each size


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
        return t("training.going-on", run=run.name, step=number(status.resumes_from)), gr.update(visible=True)
    return t("training.begun", run=run.name), gr.update(visible=True)


def forecast(session: "Session", *form: Any) -> tuple[str, dict[str, Any]]:
    """What this form will cost, in a line or two, fact by fact, and how it would be on other cards; or what is wrong with it."""
    try:
        settings, resume = read(*form, root=session.root)
        info = catalogue.describe(settings.dataset, session.data_dir, colour=settings.colour)
        if settings.class_conditional and not info.classes:
            raise UsageError(t("training.no-classes", dataset=info.title))
        # here, since they import torch, and the page comes first
        from ddpm_core import devices
        from ddpm_core.training import plan, plan_sheet

        status = Run(session.root, settings.name).status() if resume else None
        step = status.resumes_from if status else 0
        # On a thread that ends: the server's live on, and one that has ever computed on several cores takes a third of its pace from
        # a run, while it does nothing (OpenMP's threads wait asleep as soon as there are more of them than cores).
        with ThreadPoolExecutor(1, "forecast") as own:
            asked = own.submit(plan.forecast, settings, info.pictures, info.channels, step=step, turn=session.quiet)
            found = asked.result()
    except StudioError as error:
        return sentence(error), {}
    advice = devices.advice() if found.device_type == "cpu" else None  # why the card is not used
    text = " ".join(filter(None, (found.text, advice, in_the_form(found.hint or ""))))
    others = [plan_sheet.card(found, fit) for fit in found.fits]
    cards = [{"card": card, "verdict": verdict, "words": in_the_form(words)} for card, verdict, words in others]
    return text, {"facts": plan_sheet.facts(found), "cards": cards}


def peek(
    session: "Session", dataset: Any, size: Any, crop: Any = "center", background: Any = "white", colour: Any = "auto"
) -> dict[str, Any]:
    """A few pictures of the data set at the chosen size, for the peek widget."""
    try:
        if size not in config.SIZES:
            size = config.preset().size
        text = dataset if isinstance(dataset, str) else ""
        info = catalogue.describe(text, session.data_dir)
        look = {"crop": str(crop), "background": str(background), "colour": str(colour)}
        shown = catalogue.peek(text, size, PEEK[size], session.data_dir, **look)
    except StudioError as error:
        return {"size": config.preset().size, "pictures": [], "error": sentence(error)}
    return {
        "size": size,
        "pictures": [pictures.to_data_uri(picture) for picture in shown],
        "line": t("training.peek.line", pictures=number(info.pictures), size=size),
        "about": info.about,
    }


def _filled(name: str, value: Any, example: float) -> Any:
    if value is None or value == "":
        raise UsageError(t("error.empty", name=t("training." + name).lower(), example=example))
    return value


def _whole(name: str, value: Any, example: int) -> Any:
    """5.0 from a number field is 5; everything else passes on to RunConfig, which says what is wrong with it."""
    value = _filled(name, value, example)
    return int(value) if isinstance(value, float) and value.is_integer() else value
