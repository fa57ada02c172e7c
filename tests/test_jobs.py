"""A job is watched, not waited for: the newest state wins, and a cancelled one lets its watcher go while the thread still works."""

import threading

import pytest

from ddpm_core.errors import UsageError
from ddpm_core.jobs import Desk, Job

LONG = 30  # seconds; nothing here waits so long unless it is broken


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def begun(work) -> Job:
    job = Job(work)
    job.start()
    return job


def test_the_last_state_is_always_told():
    def work():
        yield from range(1000)

    told = [state for state in begun(work).follow(pause=0.0) if state is not None]
    assert told[-1] == 999 and told == sorted(set(told))


def test_states_that_nobody_had_time_for_are_dropped(gate):
    done = threading.Event()

    def work():
        yield "first"
        gate.wait(LONG)
        yield from ("second", "third", "last")
        done.set()

    job = begun(work)
    following = job.follow(pause=0.0)
    assert next(following) == "first"
    gate.set()
    assert done.wait(LONG)
    assert list(following) == ["last"]


def test_no_news_is_told_too(gate):
    """So that whoever relays can notice that nobody listens any more."""

    def work():
        gate.wait(LONG)
        yield "late"

    assert next(begun(work).follow()) is None


def test_cancelling_lets_the_watcher_go_while_the_work_is_stuck(gate):
    after = []

    def work():
        yield "first"
        gate.wait(LONG)  # a network call that takes its time
        yield "second"
        after.append("went on")

    job = begun(work)
    following = job.follow(pause=0.0)
    assert next(following) == "first"
    job.cancel()
    assert list(following) == [] and job.cancelled
    assert not job.join(0.01)  # the thread is still in its call ...
    gate.set()
    assert job.join(LONG) and after == []  # ... and ends with it


def test_what_the_work_holds_is_let_go(gate):
    let_go = threading.Event()

    def work():
        try:
            while True:
                yield 1
        finally:
            let_go.set()

    job = begun(work)
    next(job.follow())
    job.cancel()
    assert let_go.wait(LONG)


def test_cancelling_before_the_first_state_and_after_the_last(gate):
    def work():
        gate.wait(LONG)
        yield 1

    job = begun(work)
    job.cancel()
    assert list(job.follow()) == []
    gate.set()

    over = begun(lambda: iter_once())
    assert list(over.follow()) == ["only"]
    over.cancel()
    assert not over.cancelled  # it had ended by itself


def iter_once():
    yield "only"


def test_mistakes_are_told_and_faults_too(capsys):
    def mistaken():
        raise UsageError("steps is 0.")
        yield

    def faulty():
        raise ZeroDivisionError("division by zero\nsecond line")
        yield

    def hungry():
        raise MemoryError
        yield

    def hungry_on_a_mac():
        raise RuntimeError("MPS backend out of memory (MPS allocated: 5.10 GB)")
        yield

    little = "too little free memory"
    for work, words in (
        (mistaken, "steps is 0."), (faulty, "ZeroDivisionError: division by zero"), (hungry, little), (hungry_on_a_mac, little),
    ):  # fmt: skip
        job = begun(work)
        assert list(job.follow()) == []
        assert words in str(job.error) and "\n" not in str(job.error)
    assert "Traceback" in capsys.readouterr().err


class TestDesk:
    def work(self, gate):
        def works():
            gate.wait(LONG)
            yield 1

        return works

    def test_asking_anew_takes_back_the_one_before_but_not_anothers(self, gate):
        desk = Desk()
        first, other = desk.begin("me", self.work(gate)), desk.begin("you", self.work(gate))
        second = desk.begin("me", self.work(gate))
        assert (first.cancelled, second.cancelled, other.cancelled) == (True, False, False)
        assert desk.current("me") is second

    def test_clearing_spares_a_newer_job(self, gate):
        desk = Desk()
        first = desk.begin("me", self.work(gate))
        second = desk.begin("me", self.work(gate))
        desk.clear("me", first)
        assert desk.current("me") is second and not second.cancelled
        desk.clear("me")
        assert desk.current("me") is None and second.cancelled

    def test_a_question_that_arrives_after_a_newer_one_is_taken_back_itself(self, gate):
        """Questions of a busy machine overtake one another on their way to the desk."""
        desk = Desk()
        newer = desk.begin("me", self.work(gate), number=7)
        older = desk.begin("me", self.work(gate), number=6)
        assert older.cancelled and list(older.follow()) == [] and older.join(0)
        assert not newer.cancelled and desk.current("me") is newer
        desk.clear("me", older)
        desk.clear("me", upto=6)  # Cancel, on its way since then
        assert not newer.cancelled and desk.current("me") is newer
        newest = desk.begin("me", self.work(gate), number=8)
        assert newer.cancelled and not newest.cancelled
        desk.clear("me", upto=8)
        assert newest.cancelled and desk.current("me") is None
