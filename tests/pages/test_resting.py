"""Gradio's file of timers is there, has the one word that is changed, and is answered with it changed."""

from pathlib import Path

import gradio
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pages import resting


def test_gradio_s_timers_ask_for_no_frames():
    (route,) = resting.routes()
    given = (Path(gradio.__file__).parent / "templates/frontend" / route.path.lstrip("/")).read_text(encoding="utf-8")
    assert given.count(resting.FRAME) == 1
    answer = TestClient(Starlette(routes=[route])).get(route.path)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.text == given.replace(resting.FRAME, resting.QUARTER_SECOND)
