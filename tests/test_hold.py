"""A run is held as long as somebody says so; whoever falls silent, or a person who pauses by hand, ends it."""

import time

from ddpm_core.hold import Hold
from ddpm_core.training.control import Control


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_taking_pauses_and_letting_go_unpauses():
    hold, control = Hold(), Control()
    hold.take(control, "me")
    assert control.paused and hold.holds(control) and hold.beat("me")
    hold.let_go("me")
    assert not control.paused and not hold.holds(control) and not hold.beat("me")


def test_the_last_one_who_lets_go_unpauses():
    hold, control = Hold(), Control()
    hold.take(control, "me"), hold.take(control, "you")
    hold.let_go("me"), hold.let_go("nobody")
    assert control.paused and not hold.beat("me") and hold.beat("you")
    hold.let_go("you")
    assert not control.paused


def test_who_falls_silent_lets_go():
    hold, control = Hold(patience=0.2), Control()
    hold.take(control, "me")
    assert control.paused
    until(lambda: not control.paused)
    assert not hold.beat("me")


def test_a_sign_of_life_keeps_it_and_a_silent_one_beside_does_not_end_it():
    hold, control = Hold(patience=2.0), Control()
    hold.take(control, "me"), hold.take(control, "silent")
    until(lambda: hold.beat("me") and "silent" not in hold._deadlines)
    assert control.paused and hold.holds(control)
    hold.let_go("me")
    assert not control.paused


def test_a_persons_own_pause_or_unpause_wins():
    hold, control = Hold(), Control()
    hold.take(control, "me")
    hold.forget()
    hold.let_go("me")
    assert control.paused and not hold.beat("me")  # paused by hand: letting go does not undo that
    control.unpause()
    hold.take(control, "me")
    hold.forget(), control.unpause()
    assert not control.paused and not hold.holds(control)


def test_another_run_is_another_hold():
    hold, one, other = Hold(), Control(), Control()
    hold.take(one, "me")
    hold.take(other, "you")
    assert not one.paused and other.paused
    assert not hold.holds(one) and hold.holds(other) and not hold.beat("me")
    hold.let_go("me")
    assert other.paused
    hold.let_go("you")
    assert not other.paused
