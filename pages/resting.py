"""Gradio's page asks for a frame sixty times a second as long as it is open; ours asks four times a second for a timer nobody sees.

The screen that Gradio 6.31 shows while it loads has a timer, which goes on when the screen is gone: each frame asks for the next.
Where no graphics card draws the page, that and the browser's work for a frame take a tenth of the pace of a run beside it
(benchmarks/README.md, "The page beside a run").
"""

from collections.abc import Callable
from pathlib import Path

import gradio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# Gradio takes the browser's function by this name for its timers alone, and for scrolling to what has come.
FRAME = "?window.requestAnimationFrame:"
QUARTER_SECOND = "?(work)=>setTimeout(work,250):"


def routes() -> list[Route]:
    """One that answers before Gradio's own for its file of timers; none where Gradio has no such file (any more)."""
    assets = Path(gradio.__file__).parent / "templates/frontend/assets"
    return [Route(f"/assets/{path.name}", _rested(path)) for path in assets.glob("statustracker-*.js")]


def _rested(path: Path) -> Callable[[Request], Response]:
    script = path.read_text(encoding="utf-8").replace(FRAME, QUARTER_SECOND)

    def answer(request: Request) -> Response:
        return Response(script, media_type="text/javascript", headers={"cache-control": "max-age=0, must-revalidate"})

    return answer
