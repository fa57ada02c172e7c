"""What the page asks for while it is open: plain JSON and PNG routes, thin, all data from the runs' folders and the session.

They are not Gradio events: those queue up, end with the browser tab, and cannot be told "nothing newer".
"""

import contextlib
import hashlib
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from ddpm_core import shelf
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.runs import ALIVE, Run, Status, all_runs
from pages import charts, look, reading
from pages.series import Series
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.session import Session

ACTIONS = {
    "preparing": ("stop",),
    "running": ("pause", "stop", "sample", "finish"),
    "paused": ("unpause", "stop", "sample", "finish"),
}
FOLDERS = {"samples": "samples", "training_progress": "progress"}  # folder in the address -> folder of a Run
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.png")
KEPT = 8  # runs whose metrics stay in memory


class Live:
    """The answers of the routes; one object for the whole app."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.root = Path(session.root).resolve()
        self._series: OrderedDict[str, Series] = OrderedDict()
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """To be given to FastAPI before Gradio's own routes, which would swallow them."""
        asked: dict[str, Callable[[Request], Response]] = {
            "/studio/status": self.status,
            "/studio/runs": self.runs,
            "/studio/models": self.models,
            "/studio/run/{name}": self.run,
            "/studio/charts/{name}": self.charts,
            "/studio/picture/{folder}/{name}/{file}": self.picture,
            "/studio/assets/{file}": self.asset,
        }
        done = {
            "pause": self.session.pause,
            "unpause": self.session.unpause,
            "stop": self.session.stop,
            "finish": self.session.finish,
            "sample": self.session.sample_now,
        }
        routes = [Route(path, _told(answer), methods=["GET"]) for path, answer in asked.items()]
        routes += [
            Route(f"/studio/{action}", _told(self._act(action, act)), methods=["POST"]) for action, act in done.items()
        ]
        return [*routes, Route("/studio/hold/{what}/{page}", _told(self.hold), methods=["POST"])]

    # ---- what is going on

    def status(self, request: Request) -> Response:
        """The strip: the run that trains, or else the one that trained last."""
        name, status, mine = self.current()
        if name is None or status is None:
            return _json({"name": None})
        live = status.state in ALIVE
        return _json(
            {
                "name": name,
                "mine": mine,
                "live": live,
                "can": ACTIONS.get(status.state, ()) if mine else (),
                "held": self.session.held,
                **_numbers(status),
            }
        )

    def current(self) -> tuple[str | None, Status | None, bool]:
        """(name, status, whether this studio trains it): our own run, else a live one of a command line, else the newest."""
        run, status = self.session.current()
        if run is not None and status is not None and status.state in ALIVE:
            return run.name, status, True
        known = [(other.name, seen) for other, seen in self._known() if seen is not None]
        live = [pair for pair in known if pair[1].state in ALIVE]
        return (*(live or known)[0], False) if known else (None, None, False)

    def runs(self, request: Request) -> Response:
        """The list on the Monitoring tab, newest activity first."""
        found = []
        for run, status in self._known():
            pictures = run.quick_pictures()
            found.append(
                {
                    "name": run.name,
                    "state": status.state if status else "unknown",
                    "step": status.step if status else 0,
                    "epoch": status.epoch if status else 0,
                    "when": status.updated if status else None,
                    "thumbnail": self._url(run, pictures[-1][0]) if pictures else None,
                }
            )
        return _json({"runs": found})

    def models(self, request: Request) -> Response:
        """What there is to make pictures with; the Generation tab looks here for new ones."""
        return _json({"models": [[card.key, card.size, card.step] for card in shelf.cards(self.root)]})

    def run(self, request: Request) -> Response:
        """Everything told about one run but its charts."""
        run = self._find(request)
        status = self.session.status_of(run)
        series = self._read(run)
        numbers: dict[str, Any] = (
            _numbers(status) if status else {"state": "unknown", "step": 0, "images": 0, "message": ""}
        )
        seconds = series.last("seconds") or 0.0
        losses = series.columns["loss"]
        # The loss of one line is noisy; what is told is the average of about the last 50 lines.
        average = charts.smoothed(losses[-300:], 0.98)
        text = reading.sentence(
            numbers["state"], numbers["step"], numbers["images"], seconds, numbers["message"], losses
        )
        return _json(
            {
                **numbers,
                "name": run.name,
                "live": numbers["state"] in ALIVE,
                "sentence": text,
                "seconds": seconds,
                "loss": average[-1] if average else None,
                "quick": [self._frame(run, series, *picture) for picture in run.quick_pictures()],
                "grids": self._grids(run),
            }
        )

    def charts(self, request: Request) -> Response:
        """Both figures; 204 when nothing is newer than what the page has `seen`."""
        run = self._find(request)
        smooth = min(0.999, max(0.0, _number(request.query_params.get("smooth"), 0.9)))
        log = request.query_params.get("log") == "1"
        columns = self._read(run).columns
        last = str((run.name, smooth, log, len(columns["step"]), columns["step"][-1:], columns["seconds"][-1:]))
        seen = hashlib.sha256(last.encode()).hexdigest()[:16]
        if request.query_params.get("seen") == seen:
            return Response(status_code=204, headers={"cache-control": "no-store"})
        figures = {
            "loss": charts.loss_figure(
                columns["step"], columns["loss"], smooth, log, columns["held_out"], columns["trained"]
            ),
            "speed": charts.speed_figure(columns["step"], columns["lr"], columns["images_per_second"]),
        }
        return _json({"seen": seen, "figures": figures})

    def hold(self, request: Request) -> Response:
        """Pauses our own run while a page explores ("on"), until it lets go ("off") or says no more that it is there ("beat")."""
        what, page = request.path_params["what"], request.path_params["page"][:80]
        if what == "on":
            self.session.hold(page)
        elif what == "off":
            self.session.let_go(page)
        return _json({"held": self.session.still_holds(page)})

    # ---- files

    def picture(self, request: Request) -> Response:
        """A PNG that a run drew, from its two picture folders and nowhere else."""
        run = self._find(request)
        folder, file = request.path_params["folder"], request.path_params["file"]
        if folder not in FOLDERS or not FILE.fullmatch(file):
            return _missing()
        inside: Path = getattr(run, FOLDERS[folder])
        path = inside / file
        # A symlink, or a run folder that is one, must not lead out: both ends are resolved before they are compared.
        if not path.is_file() or path.resolve() != (self.root / folder).resolve() / run.name / file:
            return _missing()
        try:
            content = path.read_bytes()
        except OSError:  # its run may be deleted while we look
            return _missing()
        # The address carries the file's time of change (`_url`), so the browser may keep the picture for good.
        return Response(
            content, media_type="image/png", headers={"cache-control": "private, max-age=31536000, immutable"}
        )

    def asset(self, request: Request) -> Response:
        """plotly's script and our icon, by an exact list of names."""
        path = look.assets().get(request.path_params["file"])
        if path is None:
            return _missing()
        return FileResponse(
            path, media_type=look.TYPES[path.suffix], headers={"cache-control": "private, max-age=31536000, immutable"}
        )

    # ---- helpers

    def _act(self, action: str, act: Callable[[], object]) -> Callable[[Request], Response]:
        def acts(request: Request) -> Response:
            _, status, mine = self.current()
            if status is None or status.state not in ALIVE:
                return _json({"error": t("action.disabled.idle")}, 409)
            if not mine:
                return _json({"error": t("action.disabled.elsewhere")}, 409)
            act()
            return _json({"done": action})

        return acts

    def _known(self) -> list[tuple[Run, Status | None]]:
        """All runs: those that train, the last begun first, then the last active; also our own one that has no folder yet, or
        ended before it had one. (One that has ended later had a folder, which somebody has deleted.)"""
        runs = all_runs(self.root)
        own, status = self.session.current()
        shown = status is not None and (status.state in ALIVE or status.step == 0)
        if own is not None and shown and all(run.name != own.name for run in runs):
            runs.append(own)
        known = [(run, self.session.status_of(run)) for run in runs]
        return sorted(known, key=lambda pair: _place(*pair))

    def _find(self, request: Request) -> Run:
        name = request.path_params["name"]
        own, _ = self.session.current()
        if own is not None and own.name == name:
            return own
        try:
            run = Run(self.root, name)  # refuses every name that could lead out of the folder
        except UsageError:
            raise _NoRun(t("error.run", name=repr(name[:80]))) from None
        # A link in place of the folder could lead anywhere: such a run is not shown. (As in `all_runs`.)
        if not run.exists() or run.progress.resolve() != run.progress.parent.resolve() / name:
            raise _NoRun(t("error.run", name=repr(name[:80])))
        return run

    def _read(self, run: Run) -> Series:
        with self._lock:
            series = self._series.setdefault(run.name, Series())
            self._series.move_to_end(run.name)
            while len(self._series) > KEPT:
                self._series.popitem(last=False)
            series.extend(run)
            return Series(series.cursor, {key: list(column) for key, column in series.columns.items()})

    def _frame(self, run: Run, series: Series, path: Path, kind: str, number: int) -> dict[str, Any]:
        """One picture of the film strip: where it is and when in the training it was drawn."""
        row = series.at_epoch(number) if kind == "epoch" else series.at_step(number)
        place = {key: series.columns[key][row] if row >= 0 else None for key in ("step", "epoch", "seconds")}
        return {"url": self._url(run, path), "asked": path.name.startswith("quick_now"), **place, kind: number}

    def _grids(self, run: Run) -> list[dict[str, Any]]:
        """The large grids that are saved with the checkpoints."""
        found = [
            (int(match[1]), path)
            for path in run.samples.glob("*.png")
            if (match := re.fullmatch(r"epoch_(\d+)_samples", path.stem))
        ]
        return [{"url": self._url(run, path), "epoch": epoch} for epoch, path in sorted(found)]

    def _url(self, run: Run, path: Path) -> str:
        folder = "samples" if path.parent == run.samples else "training_progress"
        with contextlib.suppress(OSError):  # a picture may go while we look
            return f"/studio/picture/{folder}/{quote(run.name)}/{quote(path.name)}?v={path.stat().st_mtime_ns:x}"
        return f"/studio/picture/{folder}/{quote(run.name)}/{quote(path.name)}"


class _NoRun(StudioError):
    """Answered with 404."""


def _told(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """A mistake that explains itself becomes its one line as JSON; anything else stays a plain 500 without details."""

    def tells(request: Request) -> Response:
        try:
            return answer(request)
        except _NoRun as error:
            return _json({"error": str(error)}, 404)
        except StudioError as error:
            return _json({"error": str(error)}, 409)

    return tells


def _numbers(status: Status) -> dict[str, Any]:
    keys = (
        "state",
        "step",
        "total_steps",
        "epoch",
        "epochs",
        "images",
        "images_per_second",
        "seconds_left",
        "loss",
        "device",
        "memory",
        "memory_total",
        "busy",
        "held_out",
        "trained",
        "message",
        "updated",
    )
    return {key: _finite(getattr(status, key)) for key in keys}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(text: str | None, default: float) -> float:
    try:
        value = float(text or "")
    except ValueError:
        return default
    return value if math.isfinite(value) else default


def _json(content: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})


def _missing() -> Response:
    return _json({"error": "There is no such file."}, 404)


def _place(run: Run, status: Status | None) -> tuple[int, float, str]:
    """By what a run is sorted. Of those that train it stands still: each writes twice a second, and a list must not jump."""
    if status is not None and status.state in ALIVE:
        return 0, -status.started, run.name
    return 1, -(status.updated if status else run.last_active()), run.name
