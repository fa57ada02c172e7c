"""Files that are whole or not there: what stands after a failure, and what is refused while there is still room."""

import shutil
from collections import namedtuple

import pytest

from ddpm_core import atomic
from ddpm_core.errors import DataError


def with_free(monkeypatch, free):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 0, free))


def test_a_failure_while_writing_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic.writing(path) as file:
        file.write(b"half of the n")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_is_kept_gets_its_folder_and_takes_the_place_of_the_file_before(tmp_path):
    path = tmp_path / "samples" / "a" / "made" / "x.png"
    for content in (b"one", b"another"):
        atomic.keep(path, content, "the picture")
        assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def test_what_is_kept_leaves_the_reserve_to_the_last_byte(tmp_path, monkeypatch):
    with_free(monkeypatch, atomic.RESERVE + 3)
    atomic.keep(tmp_path / "fits", b"123", "the picture")
    with pytest.raises(DataError) as caught:
        atomic.keep(tmp_path / "large", b"1234", "your own picture")
    assert str(caught.value) == (
        f"cannot keep your own picture in {tmp_path} (less than 512 mb are left): free some space, or check permissions."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["fits"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "samples").write_text("a file in the folder's place")
    with pytest.raises(DataError, match="cannot keep the picture in .*samples.*check permissions") as caught:
        atomic.keep(tmp_path / "samples" / "x.png", b"1", "the picture")
    assert "\n" not in str(caught.value)
