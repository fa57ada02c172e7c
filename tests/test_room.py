"""How much memory there is: the system's figures, and a container's limit where it is lower."""

import types

import psutil
import pytest

from ddpm_core import room

GB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A computer of 500 GB, 400 of them free, without a container."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(total=500 * GB, available=400 * GB))
    monkeypatch.setattr(room, "CGROUP", tmp_path)


def container(limit, used, cached=0):
    for name, text in (("max", limit), ("current", used), ("stat", f"anon {used}\ninactive_file {cached}")):
        (room.CGROUP / f"memory.{name}").write_text(f"{text}\n")


def test_without_a_container_it_is_the_computers():
    assert (room.left(), room.total()) == (400 * GB, 500 * GB)
    container("max", 5 * GB)
    assert (room.left(), room.total()) == (400 * GB, 500 * GB)


def test_in_a_container_it_is_what_that_may_have():
    container(31 * GB, 20 * GB, cached=4 * GB)  # what is only kept of files is there for the asking
    assert (room.left(), room.total()) == (15 * GB, 31 * GB)
    container(31 * GB, 32 * GB)
    assert room.left() == 0
    container(900 * GB, 20 * GB)
    assert (room.left(), room.total()) == (400 * GB, 500 * GB)


def test_files_that_say_something_else_are_no_limit():
    container("a lot", "some")
    assert (room.left(), room.total()) == (400 * GB, 500 * GB)
