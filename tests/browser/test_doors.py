"""The studio as it really runs: who gets in, and that its routes stand before Gradio's."""

import http.client
import json
from urllib.parse import urlsplit

import pytest


def ask(studio, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection(urlsplit(studio.url).netloc, timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()


def test_our_routes_answer_and_not_the_page(studio):
    status, headers, body = ask(studio, "GET", "/studio/status")
    assert (status, json.loads(body)) == (200, {"name": None})
    assert ask(studio, "GET", "/studio/status/nothing")[0] == 404
    assert b"gradio" in ask(studio, "GET", "/")[2]


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/info", "/studio/status", "/theme.css", "/studio/assets/icon"]
)
def test_another_name_for_this_computer_is_refused(studio, path):
    status, _, body = ask(studio, "GET", path, {"Host": "evil.example"})
    assert status == 403 and b"\n" not in body


@pytest.mark.parametrize(
    "path", ["/gradio_api/component_server", "/gradio_api/queue/join", "/gradio_api/upload", "/studio/stop"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_another_site_reaches_no_door(studio, path, headers):
    assert ask(studio, "POST", path, {**headers, "Content-Type": "text/plain"}, b"{}")[0] == 403


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/docs", "/monitoring", "/gradio_api/runs", "/gradio_api/monitoring"]
)
def test_what_is_not_needed_is_off(studio, path):
    status, _, body = ask(studio, "GET", path)
    assert status in (401, 403, 404, 405) or b'"paths"' not in body and b"swagger" not in body.lower()


@pytest.mark.parametrize("number", ["NaN", "Infinity", '"nan"', "null", "[1]", '{"a": 1}', "1e999"])
def test_odd_numbers_over_the_wire_get_a_line_and_no_traceback(studio, number):
    """What a number field of a browser cannot send, a program can; the program's log is checked at the end."""
    config = json.loads(ask(studio, "GET", "/config")[2])
    ids = {component["props"].get("elem_id"): component["id"] for component in config["components"]}
    start = next(d for d in config["dependencies"] if [ids["start"], "click"] in d["targets"])
    filled = (
        f'["openmoji", "center", "white", "auto", 32, "cpu", false, {number}, 64, 0, "scratch", 0.001, null, "", false, 0, 0.05,'
        ' null, "auto", true, true]'
    )
    body = f'{{"data": {filled}, "fn_index": {start["id"]}, "session_hash": "odd"}}'
    status, _, _ = ask(studio, "POST", "/gradio_api/queue/join", {"Content-Type": "application/json"}, body.encode())
    assert status in (200, 400, 422, 500)
    assert ask(studio, "GET", "/studio/status")[2] == b'{"name":null}'


def test_no_file_of_the_computer(studio):
    for path in ("/etc/passwd", str(studio.root), "studio.py", "../../etc/passwd", "/proc/self/environ"):
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/stream/", "/static/", "/assets/"):
            status, _, body = ask(studio, "GET", route + path)
            assert status >= 400 and b"root:" not in body, route + path
