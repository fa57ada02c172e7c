"""Requests to the loop, from other threads."""

import threading

from ddpm_core.training.control import Control


def test_a_sample_request_is_taken_once():
    control = Control()
    assert not control.take_sample_request()
    control.sample_now()
    assert control.take_sample_request() and not control.take_sample_request()


def test_a_stop_ends_a_pause():
    control = Control()
    control.pause()
    assert control.paused and not control.stopping
    control.stop()
    assert control.stopping and not control.paused


def test_waiting_in_a_pause_ends_with_whatever_comes():
    for wake in (Control.unpause, Control.stop, Control.sample_now):
        control = Control()
        control.pause()
        waiting = threading.Thread(target=control.wait_while_paused, args=(60.0,))
        waiting.start()
        wake(control)
        waiting.join(timeout=30)
        assert not waiting.is_alive(), wake


def test_waiting_ends_by_itself():
    control = Control()
    control.pause()
    control.wait_while_paused(0.01)
    assert control.paused
