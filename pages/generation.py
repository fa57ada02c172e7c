"""The Generation tab: an empty state until it can make pictures."""

from typing import TYPE_CHECKING

import gradio as gr

from pages import widgets
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.session import Session


def build(session: "Session") -> None:
    with gr.Column(elem_id="generation", elem_classes="card"):
        widgets.line("generation_empty", t("generation.soon"))
