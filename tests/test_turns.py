"""The fair lock: one at a time, and a loop that lets go and grabs again lets others in."""

import threading
import time

import pytest

from ddpm_core.turns import Timed, Turns


def test_one_at_a_time():
    turns, inside, most = Turns(), [], []

    def work():
        for _ in range(20):
            with turns():
                inside.append(1)
                time.sleep(0.001)  # long enough for another to come in, were it let
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(most) == 80 and max(most) == 1


def test_whoever_waits_comes_next():
    turns = Turns()
    order = []
    waiting = threading.Event()

    def guest():
        waiting.set()
        with turns():
            order.append("guest")

    with turns():
        thread = threading.Thread(target=guest)
        thread.start()
        waiting.wait(30)
        while turns._last_ticket < 2:  # until the guest stands in line
            pass
    with turns():
        order.append("host")
    thread.join(timeout=30)
    assert order == ["guest", "host"]


def test_an_error_inside_gives_the_turn_on():
    turns = Turns()
    with pytest.raises(ValueError), turns():
        raise ValueError
    with turns():
        pass


def test_waiting_is_counted_also_while_it_goes_on():
    turns = Turns()
    timed = Timed(turns)
    began = time.monotonic()
    with timed():
        before = time.monotonic() - began
        time.sleep(0.05)
    assert timed.seconds <= before  # the time of the turn itself is no waiting
    waited = []
    with turns():  # someone else's
        waiting = threading.Thread(target=lambda: take(timed))
        waiting.start()
        end = time.monotonic() + 60
        while timed.seconds < 0.2:
            assert time.monotonic() < end
            time.sleep(0.01)
        waited.append(timed.seconds)
    waiting.join(30)
    assert timed.seconds >= waited[0] >= 0.2
    still = timed.seconds
    time.sleep(0.05)
    assert timed.seconds == still  # nobody waits any more


def take(turn):
    with turn():
        pass
