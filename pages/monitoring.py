"""The Monitoring tab: pick a run, live or past, and see how it learns. Reads the runs' folders only."""

import gradio as gr

from pages import widgets


def build() -> None:
    with gr.Row(elem_id="monitoring", equal_height=False):
        with gr.Column(scale=1, min_width=220, elem_id="monitoring_runs"):
            widgets.runs()
        with gr.Column(scale=4, min_width=480, elem_id="monitoring_run"):
            widgets.headline()
            with gr.Row(equal_height=False):
                with gr.Column(min_width=360):
                    widgets.film()
                with gr.Column(min_width=360):
                    widgets.chart_settings()
                    widgets.live_chart("loss")
                    widgets.live_chart("speed")
            widgets.epochs()
