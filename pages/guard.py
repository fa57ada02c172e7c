"""The app answers only its own page: a website that the person visits must not reach the studio behind their back.

Three doors are watched (notes on each in `refusal`): the Host header (DNS rebinding), the Origin header (a page on another
site or port that sends requests) and Sec-Fetch-Site (the same for requests that carry no Origin, such as images).
"""

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.texts import t

HOSTS = ("127.0.0.1", "localhost", "[::1]")

# The page needs inline script and eval (Gradio builds its widgets that way), but never anything from another address.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class LocalOnly:
    """ASGI middleware: 403 with one plain sentence for everything that is not the studio's own page."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] = HOSTS) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        sentence = refusal(scope, self.hosts)
        if sentence is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send(
                {"type": "websocket.close", "code": 1008, "reason": sentence}
            )  # before accept: the client sees 403
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": sentence.encode()})


def refusal(scope: Scope, hosts: tuple[str, ...] = HOSTS) -> str | None:
    """Why this request is refused, in one sentence; None if it is welcome."""
    host, origin, site, mode, destination = (
        _only(scope, name) for name in (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")
    )
    # Another name that points at 127.0.0.1 (DNS rebinding) would make a foreign page same-origin with the studio.
    if not host or not _is_local(host, hosts):
        return t("refused.host")
    # Browsers name the page that sends. "null" (a sandboxed frame, a file) is nobody we know.
    if origin is not None and (urlsplit(origin).scheme not in ("http", "https") or origin.split("://", 1)[1] != host):
        return t("refused.origin")
    # Requests without Origin, such as <img> and <script> on another site. Following a link to the studio is fine.
    follows_link = scope.get("method") == "GET" and mode == "navigate" and destination == "document"
    if site in ("cross-site", "same-site") and not follows_link:
        return t("refused.origin")
    return None


def _only(scope: Scope, name: bytes) -> str | None:
    """The header's value in lower case; "" when it is there twice, which no browser does and which fits nothing."""
    values = [value for key, value in scope["headers"] if key == name]
    return None if not values else values[0].decode("latin1").lower() if len(values) == 1 else ""


def _is_local(host: str, hosts: tuple[str, ...]) -> bool:
    name, colon, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    return name in hosts and (not colon or (port.isascii() and port.isdigit() and len(port) <= 5))


def _with_headers(send: Send) -> Send:
    async def sends(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {key.lower() for key, _ in message.get("headers", ())}
            message["headers"] = [*message.get("headers", ()), *((k, v) for k, v in HEADERS if k not in given)]
        await send(message)

    return sends
