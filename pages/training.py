"""The Training tab's form and its wiring: what to learn from, how large, how long; a forecast; Start."""

from typing import TYPE_CHECKING, Any

import gradio as gr

from ddpm_core import config
from ddpm_core.data import catalogue
from pages import filling, launch, widgets
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.session import Session

DEFAULT = config.preset()


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
                    epochs = _number("epochs", filling.epochs(session, DEFAULT.dataset))
                    batch_size = _number("batch_size", DEFAULT.batch_size)
                    seed = _number("seed", DEFAULT.seed)
                start_from = gr.Dropdown(
                    filling.start_choices(session),
                    value=filling.SCRATCH,
                    elem_id="start_from",
                    **_words("start_from"),
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
    quiet: Any = {"show_progress": "hidden", "api_visibility": "private", **widgets.AS_GIVEN}

    # Without triggers: once when the page opens. The form then shows the run that trains, also after a reload.
    gr.on(None, lambda: filling.present(session), outputs=form, **quiet)
    gr.on(None, lambda: filling.suited(session), outputs=[model, batch_size, lr], **quiet)
    looked_at = [dataset, size, crop, background, colour]
    gr.on(
        None, lambda *chosen: launch.peek(session, *chosen), looked_at, peek_view, trigger_mode="always_last", **quiet
    )
    told = [forecast_line, whole_plan]
    gr.on(None, lambda *filled: launch.forecast(session, *filled), form, told, trigger_mode="always_last", **quiet)

    dataset.input(lambda chosen: filling.epochs(session, chosen), dataset, epochs, **quiet)
    for choice in (size, model):
        choice.input(filling.recipe, [size, model], [batch_size, lr], **quiet)
    start_from.focus(lambda: gr.update(choices=filling.start_choices(session)), outputs=start_from, **quiet)
    start_from.input(lambda chosen: filling.from_choice(session, chosen), start_from, form, **quiet)
    begun = start.click(
        lambda *filled: launch.begin(session, *filled), form, [message, watch], trigger_mode="once", **quiet
    )
    begun.then(None, js="() => Studio.followNew()")
    gr.on(None, None, js="() => Studio.why('start', 'training.go.why')")
    return watch


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
