"""The list of what could not be read."""

import csv

import pytest

from ddpm_core.data import catalogue, skipped


def test_it_is_a_table_that_any_program_opens(tmp_path):
    pairs = [("cats/1.png", "not an image"), ('a "b",c.jpg', "it ends\ttoo early"), ("狗/é.png", "坏")]
    catalogue.save_skipped(tmp_path / "run" / "skipped.csv", pairs)
    content = (tmp_path / "run" / "skipped.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf"), "so that Excel reads it as UTF-8"
    rows = list(csv.reader(content.decode("utf-8-sig").splitlines()))
    assert rows == [["file", "reason"], *map(list, pairs)]


def test_it_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "skipped.csv"
    catalogue.save_skipped(path, [("a.png", "old")])

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(skipped.atomic, "replace", fail)
    with pytest.raises(OSError):
        catalogue.save_skipped(path, [("b.png", "new")])
    assert path.read_text("utf-8-sig").splitlines() == ["file,reason", "a.png,old"]
    assert list(tmp_path.iterdir()) == [path]


def test_too_many_are_told_even_where_the_list_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    error = skipped.too_many("Mine", 10, [("a.png", "broken")], tmp_path / "file" / "skipped.csv")
    assert str(error).endswith("cannot be read; remove or replace them, beginning with a.png: broken.")
