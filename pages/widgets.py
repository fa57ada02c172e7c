"""Our own widgets: a frame here, their life in assets/*.js (one file each), which finds what it needs through routes.

They are plain functions, not subclasses: Gradio would write a stub file beside every subclass it meets.
"""

from typing import Any

import gradio as gr

from pages.texts import t


def strip() -> gr.HTML:
    """What trains, how far it is, and the page's only Pause, Stop and Sample now."""
    return _widget(
        "strip", f'<section class="strip" aria-label="{t("strip.name")}"></section>', "Studio.strip(element)"
    )


def runs() -> gr.HTML:
    """The list of runs; the choice lives in the page's address."""
    return _widget("runs", '<section class="runs"></section>', "Studio.runs(element)")


def headline() -> gr.HTML:
    """The chosen run: name, one true sentence, numbers."""
    return _widget("headline", '<section class="headline"></section>', "Studio.headline(element)")


def chart_settings() -> gr.HTML:
    """Smoothing and log scale of both charts; also asks for their data."""
    return _widget("chart_settings", '<div class="chart-settings"></div>', "Studio.chartSettings(element)")


def live_chart(figure: str) -> gr.HTML:
    """A chart ("loss" or "speed") that keeps its zoom while points arrive, which gr.Plot does not: it rebuilds itself."""
    return _widget(f"{figure}_chart", '<section class="chart"></section>', f"Studio.chart(element, '{figure}')")


def film() -> gr.HTML:
    """One slider over all pictures of a run."""
    return _widget("film", '<section class="film"></section>', "Studio.film(element)")


def epochs() -> gr.HTML:
    """The larger grids of a run."""
    return _widget("epochs", '<section class="epochs" hidden></section>', "Studio.epochs(element)")


def canvas() -> gr.HTML:
    """What a model makes; its value is the dict that assets/canvas.js names.

    Its event: "cancel".
    """
    tell = "{ cancel: () => trigger('cancel') }"
    return _widget("canvas", '<section class="canvas"></section>', f"Studio.canvas(element, props, watch, {tell})")


def modes() -> gr.HTML:
    """What can be made, as a row of choices; the choice lives in the page's address.

    Its event "refresh": other models are there than before.
    """
    return _widget(
        "modes",
        f'<nav class="modes" aria-label="{t("mode.name")}"></nav>',
        "Studio.modes(element, () => trigger('refresh'))",
    )


def room() -> gr.HTML:
    """The explorer that is open, if it is one that the canvas does not show."""
    return _widget("room", '<section class="room" hidden></section>', "Studio.room(element)")


def hold() -> gr.HTML:
    """The switch that pauses the studio's own run while its pictures are explored."""
    return _widget("hold", '<section class="hold"></section>', "Studio.hold(element)")


def recall() -> gr.HTML:
    """Takes a PNG that was made here, and brings its settings back; also for any other part of the tab that has a recipe.

    Its value: {mode, fields, line} of pages/recall.py. Its event "recall": there are settings to be put into the form.
    """
    return _widget(
        "recall", '<section class="recall"></section>', "Studio.recall(element, props, () => trigger('recall'))"
    )


def line(elem_id: str, value: str = "", role: str = "status") -> gr.HTML:
    """One line of text that a handler fills; its role makes screen readers tell it."""
    return _widget(elem_id, f'<p class="line" role="{role}"></p>', "Studio.line(element, props, watch)", value)


def plan() -> gr.HTML:
    """The plan of a run, fact by fact, and how it would be on cards of several sizes; its value is {facts, cards} of
    `launch.forecast`."""
    return _widget("plan", '<section class="plan"></section>', "Studio.plan(element, props, watch)")


def peek() -> gr.HTML:
    """A few pictures of a data set, their pixels enlarged; its value is the dict that assets/forms.js names."""
    return _widget("peek", '<section class="peek"></section>', "Studio.peek(element, props, watch)")


def heading(text: str) -> gr.HTML:
    """A step of a form."""
    return gr.HTML(html_template=f"<h3>{text}</h3>", js_on_load=None, elem_classes="studio", apply_default_css=False)


# For events that take what a form holds: it is handed over as the browser sends it. Gradio's own checks end in a toast or a
# traceback, ours in one clear line.
AS_GIVEN: dict[str, Any] = {"preprocess": False}


def _widget(elem_id: str, frame: str, script: str, value: object = None) -> gr.HTML:
    # The page's head, with our scripts in it, and the widgets come in no promised order.
    wait = f"(function start() {{ window.Studio && Studio.ready ? {script} : setTimeout(start, 10) }})()"
    return gr.HTML(
        value, html_template=frame, js_on_load=wait, elem_id=elem_id, elem_classes="studio", apply_default_css=False
    )
