"""How the explorers are asked: one POST, answered with lines of JSON while the work goes on, the last one with busy false.

They are not Gradio events, because a pad that follows the pointer asks ten times a second. Each question works on a thread of
its own (`ddpm_core.jobs`); a page's newer question takes back its older one, and so does closing the page or Cancel.
"""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ddpm_core.config import SAMPLERS
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.jobs import Desk
from pages import beside
from pages.texts import sentence, t

if TYPE_CHECKING:
    from ddpm_core.session import Session

Asked = dict[str, Any]  # a question as JSON brings it: nothing in it is checked yet
Told = dict[str, Any]  # one line of an answer
Shown = Callable[[], Told]  # a line that costs nothing until somebody is there to see it
Explorer = Callable[["Session", Asked], Generator[Shown, None, None]]

LARGEST_QUESTION = 200_000  # bytes: settings, seeds, a mask; a person's pictures go their own way (inbox.py)


class Pieces:
    """The parts of an answer that nobody has seen yet. Of one part the newest is enough, but none may be lost."""

    def __init__(self) -> None:
        self._new: dict[Any, Shown] = {}
        self._lock = threading.Lock()

    def put(self, part: Any, show: Shown) -> None:
        with self._lock:
            self._new[part] = show

    def take(self) -> list[Told]:
        with self._lock:
            new, self._new = self._new, {}
        return [show() for show in new.values()]


class Explorers:
    """The routes. `known` are the explorers by name; each checks its question before its first network call."""

    def __init__(self, session: "Session", known: dict[str, Explorer]) -> None:
        self.session = session
        self.known = known
        self.desk = Desk()

    def routes(self) -> list[Route]:
        return [
            Route("/studio/make/{what}", self.make, methods=["POST"]),
            Route("/studio/cancel", self.cancel, methods=["POST"]),
        ]

    async def make(self, request: Request) -> Response:
        """Body: JSON with the page's own random name in "page", the "number" of its question, and what the explorer wants to know."""
        explorer = self.known.get(request.path_params["what"])
        asked = await _body(request)
        if explorer is None or asked is None:
            return JSONResponse({"error": t("explorer.unknown")}, 400)
        page = str(asked.get("page", ""))[:80]
        lines = self._lines(
            f"{page}/{asked.get('part', '')}"[:100], lambda: explorer(self.session, asked), _number(asked) or 0
        )
        return StreamingResponse(lines, media_type="application/x-ndjson", headers={"cache-control": "no-store"})

    async def cancel(self, request: Request) -> Response:
        asked = await _body(request) or {}
        page, part = str(asked.get("page", ""))[:80], asked.get("part", "")
        await run_in_threadpool(self.desk.clear, f"{page}/{part}"[:100], upto=_number(asked))
        return JSONResponse({})

    def _lines(self, owner: str, work: Callable[[], Generator[Shown, None, None]], number: int = 0) -> Iterator[bytes]:
        begun, waited = time.monotonic(), self.session.waited
        job = self.desk.begin(owner, work, number)
        try:
            yield _line({"busy": True})
            for show in job.follow():
                if show is not None:
                    yield _line({"busy": True, "seconds": time.monotonic() - begun, **show()})
            if job.error is not None:
                yield _line({"busy": False, "error": sentence(job.error)})
            else:
                told = {"busy": False, "cancelled": job.cancelled, "seconds": time.monotonic() - begun}
                yield _line({**told, "cost": beside.cost(self.session, waited)})
        except StudioError as error:  # what was shown could not be drawn
            yield _line({"busy": False, "error": str(error)})
        finally:
            # Also when the page was closed: then this generator is, at one of the yields above.
            job.cancel()
            self.desk.clear(owner, job)


async def _body(request: Request) -> Asked | None:
    """The question, or None if it is none."""
    content = b""
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > LARGEST_QUESTION:
                return None
        asked = json.loads(content)
    except (ValueError, RecursionError, ClientDisconnect):  # no JSON, a thousand brackets, a page that was closed
        return None
    return asked if isinstance(asked, dict) else None


def _number(asked: Asked) -> int | None:
    """How many questions the page had asked by then; None where it does not say."""
    number = asked.get("number")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _line(told: Told) -> bytes:
    return json.dumps(told).encode() + b"\n"


# ---- reading a question


def whole(asked: Asked, name: str, low: int, high: int, default: int) -> int:
    """A whole number of the question; 5.0 is 5. Raises `UsageError`."""
    value = asked.get(name, default)
    if value is None:  # a field that somebody emptied
        raise UsageError(t("error.empty", name=t("generation.name." + name), example=default))
    exact = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(exact, bool) or not isinstance(exact, int) or not low <= exact <= high:
        raise UsageError(
            t("explorer.whole", name=t("generation.name." + name), value=repr(value)[:40], low=low, high=high)
        )
    return exact


def share(asked: Asked, name: str, default: float) -> float:
    """A number from 0 to 1 of the question. Raises `UsageError`."""
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UsageError(t("explorer.share", name=t("generation.name." + name), value=repr(value)[:40]))
    return float(value)


def sampler(asked: Asked) -> str:
    """The name of a sampler. Raises `UsageError`."""
    name = asked.get("sampler")
    if name not in SAMPLERS:
        raise UsageError(t("generation.sampler.unknown", sampler=repr(name)[:40], known=", ".join(SAMPLERS)))
    return name
