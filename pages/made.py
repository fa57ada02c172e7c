"""The history's routes: what was made, its pictures, their recipes; a dropped PNG's recipe; how a walk went.

Like those of live.py they are plain JSON and PNG, and no Gradio events.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ddpm_core import gallery, pictures, recipes
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.gallery import Entry
from ddpm_core.runs import all_runs
from pages import drawing, recall
from pages.texts import sentence, t

if TYPE_CHECKING:
    from ddpm_core.session import Session

Told = dict[str, Any]
PAGE = 60  # entries at once
THUMBNAIL = 320  # pixels on the longer side
# A picture's name holds the moment and a hash: what is under it never changes.
FOR_GOOD = {"cache-control": "private, max-age=31536000, immutable"}


class Made:
    """The answers of the routes; one object for the whole app."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.root = Path(session.root)

    def routes(self) -> list[Route]:
        key = "/{run}/{file}"
        return [
            Route("/studio/history", _told(self.history), methods=["GET"]),
            Route("/studio/made" + key, _told(self.picture), methods=["GET"]),
            Route("/studio/thumbnail" + key, _told(self.thumbnail), methods=["GET"]),
            Route("/studio/recipe" + key, _told(self.recipe), methods=["GET"]),
            Route("/studio/recall" + key, _told(self.recall), methods=["GET"]),
            Route("/studio/forget" + key, _told(self.forget), methods=["POST"]),
            Route("/studio/dropped", self.dropped, methods=["POST"]),
            Route("/studio/keep", self.keep, methods=["POST"]),
            Route("/studio/trail/{name}", _told(self.trail), methods=["GET"]),
        ]

    def history(self, request: Request) -> Response:
        """A page of entries, newest first; `before` is the last key of the page before."""
        before = request.query_params.get("before")
        found = gallery.history(self.root, PAGE + 1, before)
        return _json({"entries": [_entry(entry) for entry in found[:PAGE]], "more": len(found) > PAGE})

    def picture(self, request: Request) -> Response:
        """A kept PNG, byte for byte: saved from the page, it is the one that lies in the gallery."""
        return Response(_read(self._find(request)), media_type="image/png", headers=FOR_GOOD)

    def thumbnail(self, request: Request) -> Response:
        """A kept PNG, made smaller where it is large."""
        png = _read(self._find(request))
        array = gallery.pixels(png)
        if max(array.shape[:2]) > THUMBNAIL:
            small = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
            small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
            png = pictures.to_png_bytes(small)
        return Response(png, media_type="image/png", headers=FOR_GOOD)

    def recipe(self, request: Request) -> Response:
        """One entry with its recipe in words, and what keeps its settings from being used again, if anything does."""
        entry = self._find(request)
        recipe = _recipe(_read(entry))
        try:
            recall.settings(self.root, recipe)
            problem = ""
        except StudioError as error:
            problem = sentence(error)
        told = {"title": recall.title(recipe), "words": recall.words(recipe), "problem": problem}
        return _json({**_entry(entry), **told})

    def recall(self, request: Request) -> Response:
        """The settings of a kept picture, for the form."""
        entry = self._find(request)
        return _json(self._recalled(gallery.at_home(entry, _recipe(_read(entry)))))

    def forget(self, request: Request) -> Response:
        """Deletes a kept picture; the page has asked before."""
        gallery.remove(self.root, _key(request))
        return _json({})

    async def dropped(self, request: Request) -> Response:
        """Body: a PNG. The settings of its recipe, and its key if it is in the gallery."""
        return await _sent(request, self._dropped)

    async def keep(self, request: Request) -> Response:
        """Body: a PNG with a recipe of a run that is here. Puts it into the gallery as it is, if it is not there; its key."""
        return await _sent(request, self._keep)

    def _dropped(self, png: bytes) -> Response:
        recipe = _recipe(png)
        kept = gallery.same(self.root, png, recipe)
        where = {"key": kept.key if kept else None}
        try:
            return _json({**self._recalled(recipe), **where})
        except StudioError as error:  # it can be kept, and often be made again, all the same
            return _json({"error": sentence(error), "ours": True, **where}, 409)

    def _keep(self, png: bytes) -> Response:
        recipe = _recipe(png)
        gallery.pixels(png)  # whole
        run = recipe.get("models", [recipe])[0]["run"]
        if run not in [known.name for known in all_runs(self.root)]:
            raise UsageError(t("recall.no-run", run=run))
        kept = gallery.same(self.root, png, recipe) or gallery.keep(self.root, png, recipe)
        return _json({"key": kept.key})

    def _recalled(self, recipe: dict[str, Any]) -> Told:
        return recall.with_own(self.root, recipe, recall.settings(self.root, recipe))

    def trail(self, request: Request) -> Response:
        """Step by step how the last pictures came to be."""
        trajectory = self.session.trails.get(request.path_params["name"])
        if trajectory is None:
            return _json({"error": t("trail.gone")}, 404)
        frames = [
            {"step": f.step, "level": f.level, "noisy": _drawn(f.noisy), "belief": _drawn(f.belief)}
            for f in trajectory.frames
        ]
        return _json({"steps": trajectory.steps, "frames": frames})

    def _find(self, request: Request) -> Entry:
        return gallery.find(self.root, _key(request))


def _key(request: Request) -> str:
    return f"{request.path_params['run']}/{request.path_params['file']}"


def _read(entry: Entry) -> bytes:
    try:
        return entry.path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {entry.path} ({error.strerror or error}): check its permissions.") from None


def _recipe(png: bytes) -> dict[str, Any]:
    recipe = recipes.read_recipe(png)
    if recipe is None:
        raise UsageError(t("recall.foreign"))
    return recipe


def _entry(entry: Entry) -> Told:
    address = f"{quote(entry.run)}/{quote(entry.path.name)}"
    what = t("recall.what." + entry.what)
    about = {"key": entry.key, "address": address, "run": entry.run, "when": entry.made, "what": what}
    return {**about, "seed": entry.seed, "count": entry.count}


def _drawn(made: Any) -> str:
    return pictures.to_data_uri(drawing.grid(made))


def _told(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """A mistake that explains itself becomes its one line as JSON."""

    def tells(request: Request) -> Response:
        try:
            return answer(request)
        except StudioError as error:
            return _json({"error": sentence(error)}, 409)

    return tells


async def _sent(request: Request, answer: Callable[[bytes], Response]) -> Response:
    """The answer to a PNG that was sent as the body, which is never larger than a picture of ours."""
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > recipes.MOST_BYTES:
                return _json({"error": t("recall.large", most=recipes.MOST_BYTES >> 20)}, 409)
    except ClientDisconnect:  # the page was closed
        return Response(status_code=400)
    return await run_in_threadpool(_told(lambda _: answer(bytes(content))), request)


def _json(content: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})
