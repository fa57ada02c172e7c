"""Gradio's page asks for a frame sixty times a second as long as it is open; here the timer behind that asks for none.

The screen that Gradio 6.31 shows while it loads has a timer that goes on when the screen is gone: each frame asks for the next. Where
no graphics card draws the page, an open page took a quarter of the pace of a run beside it and more, most of that by this timer and by
bars that glided (benchmarks/README.md, "The page beside a run"). Here the timer, which nobody sees, ticks four times a second, and rests
in a tab that nobody looks at.
"""

from collections.abc import Callable
from pathlib import Path

import gradio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# In that file two things ask for frames by this name: the timer, and scrolling to an output, which no event of ours does.
FRAME = "?window.requestAnimationFrame:"
QUARTER_SECOND = "?(work)=>setTimeout(()=>document.hidden?requestAnimationFrame(work):work(),250):"


def routes() -> list[Route]:
    """Answers before Gradio's own for its file of timers. Where that has other words it goes out as it is (and
    tests/pages/test_resting.py says so)."""
    assets = Path(gradio.__file__).parent / "templates/frontend/assets"
    return [Route(f"/assets/{path.name}", _rested(path)) for path in assets.glob("statustracker-*.js")]


def _rested(path: Path) -> Callable[[Request], Response]:
    script = path.read_text(encoding="utf-8").replace(FRAME, QUARTER_SECOND)

    def answer(request: Request) -> Response:
        return Response(script, media_type="text/javascript", headers={"cache-control": "max-age=0, must-revalidate"})

    return answer
