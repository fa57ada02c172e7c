"""Where a person's own pictures arrive: each comes as the bytes of its file, once, and is then named by their hash.

They stay in memory only, the last few, and are gone when the studio is closed. What a model saw of those that something was
made from is kept beside the gallery (ddpm_core/own_pictures.py).
"""

import hashlib
import io
import threading
from collections import OrderedDict

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ddpm_core import pictures
from ddpm_core.data.decoding import decode
from ddpm_core.data.source import Look
from ddpm_core.errors import UsageError
from pages.texts import t

LARGEST_FILE = 30 << 20
MOST_KEPT = 8
THUMB = 256

_files: OrderedDict[str, bytes] = OrderedDict()
_lock = threading.Lock()


def routes() -> list[Route]:
    return [Route("/studio/own", receive, methods=["POST"])]


async def receive(request: Request) -> Response:
    """Body: the file's bytes. Answers {key, src}; one line for what is no picture."""
    content, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= LARGEST_FILE:  # the rest is heard and dropped: a browser that is cut off tells no reason
                content += chunk
    except ClientDisconnect:  # the page was closed
        return Response(status_code=400)
    if size > LARGEST_FILE:
        return JSONResponse({"error": t("own.large", most=LARGEST_FILE >> 20)}, 413)
    return await run_in_threadpool(_take_in, bytes(content))


def picture(key: object, size: int, channels: int) -> np.ndarray:
    """The picture with this key as a model sees it: uint8 (size, size, channels). Raises `UsageError` if it is not here."""
    with _lock:
        content = _files.get(str(key))
        if content is not None:
            _files.move_to_end(str(key))  # what is in use is forgotten last
    if content is None:
        raise UsageError(t("own.gone") if key else t("own.none"))
    return _decoded(content, size, channels)


def bring(content: bytes) -> dict[str, str]:
    """Takes a file in; {key, src}, how a page names it and shows it. Raises `UsageError` for what is no picture."""
    shown = _decoded(content, THUMB, 3)
    key = hashlib.sha256(content).hexdigest()[:32]
    with _lock:
        _files[key] = content
        _files.move_to_end(key)
        while len(_files) > MOST_KEPT:
            _files.popitem(last=False)
    return {"key": key, "src": pictures.to_data_uri(shown)}


def _take_in(content: bytes) -> Response:
    try:
        return JSONResponse(bring(content))
    except UsageError as error:
        return JSONResponse({"error": str(error)}, 415)


def _decoded(content: bytes, size: int, channels: int) -> np.ndarray:
    try:
        look = Look(colour="grey" if channels == 1 else "colour")
        return decode(io.BytesIO(content), size, look).transpose(1, 2, 0)
    except Exception:  # Pillow's readers raise nearly anything on damaged files
        raise UsageError(t("own.no-picture")) from None
