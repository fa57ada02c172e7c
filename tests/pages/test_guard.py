"""The guard answers the studio's own page and nobody else: real requests against a small app behind it."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from pages.guard import LocalOnly

HOME = {"host": "127.0.0.1:7860"}
OWN = {**HOME, "origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}


@pytest.fixture
def client() -> TestClient:
    async def door(request):
        return PlainTextResponse("welcome")

    async def socket(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("welcome")
        await websocket.close()

    routes = [Route("/", door, methods=["GET", "POST", "HEAD", "PUT", "DELETE"]), WebSocketRoute("/socket", socket)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(LocalOnly)]))


WELCOME = {
    "plain address": ("GET", HOME),
    "localhost": ("GET", {"host": "localhost:7860"}),
    "IPv6": ("GET", {"host": "[::1]:7860"}),
    "IPv6 without port": ("GET", {"host": "[::1]"}),
    "without port": ("GET", {"host": "127.0.0.1"}),
    "another port, as ssh forwards it": ("GET", {"host": "localhost:9000"}),
    "capital letters": ("GET", {"host": "LocalHost:7860"}),
    "own page posts": ("POST", OWN),
    "own page on localhost posts": ("POST", {"host": "localhost:7860", "origin": "http://localhost:7860"}),
    "through a https forwarder": ("POST", {"host": "localhost:7860", "origin": "https://localhost:7860"}),
    "a script without a browser": ("POST", HOME),
    "typed into the address bar": ("GET", {**HOME, "sec-fetch-site": "none", "sec-fetch-mode": "navigate"}),
    "a link on another site": (
        "GET",
        {**HOME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ),
}

REFUSED = {
    "DNS rebinding": ("GET", {"host": "evil.example:7860"}),
    "our name as the start of another": ("GET", {"host": "127.0.0.1.evil.example:7860"}),
    "our name as the end of another": ("GET", {"host": "evil-localhost:7860"}),
    "localhost as a subdomain": ("GET", {"host": "evil.localhost:7860"}),
    "a trailing dot": ("GET", {"host": "localhost.:7860"}),
    "user part in the host": ("GET", {"host": "127.0.0.1@evil.example"}),
    "port that is a name": ("GET", {"host": "127.0.0.1:7860@evil.example"}),
    "no digits in the port": ("GET", {"host": "localhost:"}),
    "digits of another script in the port": ("GET", {"host": "localhost:²²"}),
    "an address of the network": ("GET", {"host": "192.168.1.5:7860"}),
    "all addresses": ("GET", {"host": "0.0.0.0:7860"}),
    "the number of the address": ("GET", {"host": "2130706433:7860"}),
    "empty host": ("GET", {"host": ""}),
    "foreign site posts": ("POST", {**HOME, "origin": "https://evil.example"}),
    "foreign site gets": ("GET", {**HOME, "origin": "https://evil.example"}),
    "another port of this computer posts": ("POST", {**HOME, "origin": "http://127.0.0.1:3000"}),
    "the other name of this computer posts": ("POST", {**HOME, "origin": "http://localhost:7860"}),
    "sandboxed frame": ("POST", {**HOME, "origin": "null"}),
    "empty origin": ("POST", {**HOME, "origin": ""}),
    "an extension": ("POST", {**HOME, "origin": "chrome-extension://127.0.0.1:7860"}),
    "origin with a path": ("POST", {**HOME, "origin": "http://127.0.0.1:7860/x"}),
    "origin with a user": ("POST", {**HOME, "origin": "http://127.0.0.1:7860@evil.example"}),
    "foreign picture tag": (
        "GET",
        {**HOME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    ),
    "foreign script tag": (
        "GET",
        {**HOME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
    ),
    "another port, without origin": (
        "GET",
        {**HOME, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    ),
    "foreign frame": (
        "GET",
        {**HOME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ),
    "foreign form": (
        "POST",
        {**HOME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ),
    "foreign preflight": (
        "OPTIONS",
        {**HOME, "origin": "https://evil.example", "access-control-request-method": "POST"},
    ),
    "foreign delete": ("DELETE", {**HOME, "origin": "https://evil.example"}),
    "foreign head": ("HEAD", {**HOME, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}),
}


@pytest.mark.parametrize("case", WELCOME)
def test_own_page_is_welcome(client, case):
    method, headers = WELCOME[case]
    answer = client.request(method, "/", headers=headers)
    assert (answer.status_code, answer.text) == (200, "welcome")


@pytest.mark.parametrize("case", REFUSED)
def test_others_are_refused_in_one_line(client, case):
    method, headers = REFUSED[case]
    encoded = {key: value.encode("latin1") for key, value in headers.items()}
    answer = client.request(method, "/", headers=encoded)
    assert answer.status_code == 403
    assert "welcome" not in answer.text and "\n" not in answer.text


def test_a_header_that_is_there_twice_is_refused(client):
    assert client.get("/", headers=[("host", "127.0.0.1:7860"), ("host", "evil.example")]).status_code == 403
    twice = [("host", "127.0.0.1:7860"), ("origin", "http://127.0.0.1:7860"), ("origin", "https://evil.example")]
    assert client.post("/", headers=twice).status_code == 403


def test_every_answer_carries_the_headers(client):
    for answer in (client.get("/", headers=HOME), client.get("/", headers={"host": "evil.example"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    policy = client.get("/", headers=HOME).headers["content-security-policy"]
    assert "http" not in policy and "*" not in policy  # nothing may come from another address


def test_web_sockets_too(client):
    with client.websocket_connect("/socket", headers=OWN) as socket:
        assert socket.receive_text() == "welcome"
    for headers in ({**HOME, "origin": "https://evil.example"}, {"host": "evil.example"}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/socket", headers=headers) as socket:
            socket.receive_text()
