"""The Training tab."""

from typing import Any

import gradio as gr

from pages.texts import t


def build(session: Any) -> None:
    gr.Markdown(t("training.soon"))
