"""The explorers' questions: lines of JSON, newest first, nothing accepted that is no question."""

import asyncio
import contextlib
import json
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pages.explorer import stream


def counting(session, asked):
    for number in range(stream.whole(asked, "steps", 1, 5, 3)):
        yield lambda number=number: {"number": number}


def endless(session, asked):
    with contextlib.closing(session):
        while True:
            time.sleep(0.01)
            yield dict


class Closed:
    root = Path("nowhere")  # what was made lies there
    waited = 0.0  # seconds that training has waited for its turn

    def __init__(self):
        self.event = threading.Event()

    def current(self):
        return None, None

    def close(self):
        self.event.set()


@pytest.fixture
def session():
    return Closed()


@pytest.fixture
def client(session):
    explorers = stream.Explorers(session, {"counting": counting, "endless": endless})
    return TestClient(Starlette(routes=explorers.routes()))


def lines(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_last_state_is_always_told_and_then_that_it_is_over(client):
    told = lines(client.post("/studio/make/counting", json={"page": "a", "steps": 3}))
    assert told[0] == {"busy": True}
    assert told[-2]["number"] == 2
    assert told[-1]["busy"] is False and "error" not in told[-1]


def test_a_mistake_is_one_line(client):
    told = lines(client.post("/studio/make/counting", json={"page": "a", "steps": 9}))
    assert told[-1] == {"busy": False, "error": "The number of steps is 9: choose a whole number from 1 to 5."}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 5000, b'{"x": "' + b"x" * stream.LARGEST_QUESTION + b'"}'])
def test_what_is_no_question_is_refused(client, body):
    assert client.post("/studio/make/counting", content=body).status_code == 400


@pytest.mark.parametrize(
    "address", ["/studio/make/counting", "/studio/cancel", "/studio/own", "/studio/dropped", "/studio/keep"]
)
def test_a_page_that_closes_while_it_asks_is_no_fault(session, address):
    """A fault would be a traceback in the terminal."""
    from pages.explorer import inbox
    from pages.made import Made

    explorers = stream.Explorers(session, {"counting": counting})
    app = Starlette(routes=[*explorers.routes(), *inbox.routes(), *Made(session).routes()])
    half = [{"type": "http.request", "body": b'{"page"', "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return half.pop(0) if len(half) > 1 else half[0]

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": address, "headers": [], "query_string": b"", "root_path": ""}
    # In a thread of its own: after the browser tests this one has an event loop running.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, app(scope, receive, send)).result()
    assert not inbox._files and explorers.desk.current("") is None


def test_an_unknown_explorer_is_refused(client):
    assert client.post("/studio/make/nothing", json={"page": "a"}).status_code == 400


def test_a_newer_question_takes_back_the_older_one_of_the_same_page(session):
    explorers = stream.Explorers(session, {"endless": endless, "counting": counting})
    old = explorers._lines("a/pad", lambda: endless(session, {}))
    next(old), next(old)
    new = list(explorers._lines("a/pad", lambda: counting(session, {})))
    assert json.loads(new[-1])["busy"] is False
    assert json.loads(list(old)[-1])["cancelled"] is True
    assert session.event.wait(30)


def test_an_older_question_that_comes_late_takes_nothing_back(client, session):
    explorers = client.app.routes[0].endpoint.__self__
    newer = explorers._lines("a/pad", lambda: endless(session, {}), 2)
    next(newer), next(newer)
    told = lines(client.post("/studio/make/counting", json={"page": "a", "part": "pad", "number": 1}))
    assert told == [{"busy": True}, {**told[-1], "busy": False, "cancelled": True}]
    assert client.post("/studio/cancel", json={"page": "a", "part": "pad", "number": 1}).status_code == 200
    assert json.loads(next(newer))["busy"] is True
    assert client.post("/studio/cancel", json={"page": "a", "part": "pad", "number": 2}).status_code == 200
    assert json.loads(list(newer)[-1])["cancelled"] is True


@pytest.mark.parametrize("number", [None, "7", 1.5, True, [], -1, 10**400])
def test_what_is_no_number_of_a_question_counts_as_none(client, number):
    told = lines(client.post("/studio/make/counting", json={"page": "a", "steps": 3, "number": number}))
    assert told[-1]["busy"] is False and told[-1]["cancelled"] is False
    assert client.post("/studio/cancel", json={"page": "a", "number": number}).status_code == 200


def test_cancel_ends_it(client, session):
    explorers = client.app.routes[0].endpoint.__self__
    running = explorers._lines("a/", lambda: endless(session, {}))
    next(running), next(running)
    assert client.post("/studio/cancel", json={"page": "a"}).status_code == 200
    assert json.loads(list(running)[-1])["cancelled"] is True
    assert session.event.wait(30)


def test_a_page_that_closes_ends_its_work(session):
    explorers = stream.Explorers(session, {"endless": endless})
    running = explorers._lines("a/", lambda: endless(session, {}))
    next(running), next(running)
    running.close()
    assert session.event.wait(30)


def test_what_it_cost_a_run_that_trains_is_told_in_the_end(session):
    explorers = stream.Explorers(session, {"counting": counting})
    session.current = lambda: (types.SimpleNamespace(name="busy"), None)
    running = explorers._lines("a/", lambda: counting(session, {}))
    next(running)
    session.waited += 1.5
    assert json.loads(list(running)[-1])["cost"] == "Meanwhile busy waited 1.5 s for its turns."
