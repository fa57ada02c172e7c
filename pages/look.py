"""How the page looks before any widget fills it: the theme, and the head with our own style and scripts."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import gradio as gr

from ddpm_core.config import SAMPLERS
from pages.texts import ASSETS, words

SCRIPTS = (
    "studio.js",
    "strip.js",
    "runs.js",
    "run.js",
    "chart.js",
    "film.js",
    "forms.js",
    "canvas.js",
    "cells.js",
    "trail.js",
    "copies.js",
    "scrub.js",
    "models.js",
    "explorer.js",
    "pad.js",
    "mask.js",
    "own.js",
    "steps.js",
    "averages.js",
    "recall.js",
    "hold.js",
    "history.js",
)
TYPES = {".js": "text/javascript", ".svg": "image/svg+xml"}

ACCENT = gr.themes.Color(
    *(
        "#eef7f8",
        "#d6ecef",
        "#aed9df",
        "#7cc0ca",
        "#46a2b0",
        "#1f8595",
        "#0f6c7b",
        "#0e5664",
        "#0f4651",
        "#0f3a44",
        "#07252c",
    ),
    name="studio",
)
GREY = gr.themes.Color(
    *(
        "#f8f9f9",
        "#f1f3f3",
        "#e3e7e7",
        "#cdd3d4",
        "#98a2a4",
        "#667174",
        "#4b5659",
        "#374144",
        "#22292b",
        "#171c1e",
        "#0f1314",
    ),
    name="studio-grey",
)


def theme() -> gr.themes.Base:
    """Calm greys and one accent; the typeface comes with Gradio, so nothing is fetched."""
    font = (gr.themes.LocalFont("IBM Plex Sans", (400, 700)), "system-ui", "sans-serif")
    mono = (gr.themes.LocalFont("IBM Plex Mono", (400,)), "ui-monospace", "monospace")
    base = gr.themes.Base(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue=GREY,
        radius_size="lg",
        spacing_size="md",
        font=font,
        font_mono=mono,
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_title_text_weight="600",
        block_title_text_color="*body_text_color",
        block_info_text_color="*body_text_color_subdued",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_950",
        input_border_color="*neutral_200",
        input_border_color_dark="*neutral_800",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_800",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        checkbox_label_background_fill="*neutral_50",
        checkbox_label_background_fill_dark="*neutral_950",
        checkbox_label_background_fill_hover="*neutral_100",
        checkbox_label_background_fill_hover_dark="*neutral_800",
        checkbox_label_background_fill_selected="*primary_100",
        checkbox_label_background_fill_selected_dark="*primary_900",
        checkbox_label_text_color_selected="*body_text_color",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*primary_500",
        checkbox_border_color="*neutral_400",
    )


@cache
def assets() -> dict[str, Path]:
    """Name in the address -> file: all that the app serves of its own."""
    package = importlib.util.find_spec("plotly")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("plotly is missing: pip install -r requirements.txt")
    # Addresses have no ending: Gradio would otherwise compress plotly's 4.8 MB anew for every page that is opened.
    return {"icon": ASSETS / "icon.svg", "plotly": Path(package.origin).parent / "package_data" / "plotly.min.js"}


def head() -> str:
    """Our style, our words and our scripts, all inline.

    Gradio adds the head when its own script has started: files named here would load one by one beside the widgets that
    need them; what is inline is there at once. Only plotly, which is large, is fetched when the first chart opens.
    """
    texts = json.dumps(words(), ensure_ascii=False).replace("<", "\\u003c")
    plotly = f"/studio/assets/plotly?v={assets()['plotly'].stat().st_size}"
    known = f"plotlySource: {json.dumps(plotly)}, samplers: {json.dumps(list(SAMPLERS))}"
    start = f"window.Studio = {{ texts: {texts}, {known} }};"
    scripts = "\n".join([start, *(_source(name) for name in SCRIPTS), "Studio.ready = true;"])
    return "\n".join(
        [
            '<link rel="icon" type="image/svg+xml" href="/studio/assets/icon">',
            f"<style>{_source('studio.css')}</style>",
            f"<script>{scripts}</script>",
        ]
    )


def _source(name: str) -> str:
    text = (ASSETS / name).read_text(encoding="utf-8")
    if "</" in text:
        raise ValueError(f"assets/{name} contains '</', which would end the tag it is put into")
    return text
