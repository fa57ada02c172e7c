"""The cache is exact, notices damage, leaves nothing half-written, and is never in the way."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ddpm_core import atomic
from ddpm_core.data import cache
from ddpm_core.data.source import Broken, DatasetInfo
from ddpm_core.errors import DataError


class Fake:
    """A source of numbered pictures that counts how often it is drawn."""

    slug = "fake"

    def __init__(self, count=50, broken=(), version="1", classes=("a", "b")):
        self.info = DatasetInfo("fake", "Fake", "", count, 3, tuple(classes))
        self.broken, self._version, self.drawn = broken, version, 0

    def version(self):
        return self._version

    def draw(self, size, picks=None):
        self.drawn += 1
        for i in range(self.info.pictures):
            if i in self.broken:
                yield Broken(f"{i}.png", "broken")
            else:
                yield np.full((3, size, size), i % 256, np.uint8), i % 2 if self.info.classes else -1


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_the_first_time_fills_it_and_the_second_time_reads_it(tmp_path):
    source = Fake()
    first = cache.fetch(source, 8, tmp_path)
    second = cache.fetch(source, 8, tmp_path)
    assert source.drawn == 1
    for pictures in (first, second):
        assert isinstance(pictures.images, np.memmap) and not pictures.images.flags.writeable
        assert pictures.images.shape == (50, 3, 8, 8)
        assert np.array_equal(pictures.images[:, 2, 7, 7], np.arange(50))
        assert pictures.labels.dtype == np.int64 and np.array_equal(pictures.labels, np.arange(50) % 2)
        assert pictures.classes == ("a", "b") and pictures.skipped == ()
    assert len(_files(tmp_path)) == 2
    assert np.array_equal(np.load(next(tmp_path.glob("*.npy"))), first.images), "an ordinary npy file"


def test_without_classes_there_are_no_labels(tmp_path):
    assert cache.fetch(Fake(classes=()), 8, tmp_path).labels is None


def test_broken_pictures_are_left_out_and_named(tmp_path):
    source = Fake(count=1000, broken=(0, 999, 5))
    for _ in range(2):
        pictures = cache.fetch(source, 2, tmp_path)
        assert pictures.skipped == (("0.png", "broken"), ("5.png", "broken"), ("999.png", "broken"))
        assert len(pictures.images) == len(pictures.labels) == 997
        assert pictures.images[0, 0, 0, 0] == 1 and np.array_equal(pictures.labels[:4], [1, 0, 1, 0])
    assert source.drawn == 1


def test_too_many_broken_pictures_stop_and_leave_nothing_but_their_list(tmp_path):
    with pytest.raises(DataError, match=r"more than 5% of the 50 .* 7\.png: broken; 8\.png") as caught:
        cache.fetch(Fake(broken=range(7, 12)), 8, tmp_path / "data" / "cache")
    listed = tmp_path / "data" / "skipped_fake.csv"
    assert "\n" not in str(caught.value) and str(listed) in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [listed]
    assert listed.read_text("utf-8-sig").splitlines() == ["file,reason", "7.png,broken", "8.png,broken", "9.png,broken"]


def test_broken_pictures_are_counted_while_it_goes_on(tmp_path):
    told = []
    cache.fetch(Fake(count=1000, broken=(1, 2)), 2, tmp_path, lambda *now: told.append(now))
    assert told[-1] == ("Preparing Fake (2 broken, left out)", 1000, 1000)


@pytest.mark.parametrize("cancel", [KeyboardInterrupt, ValueError])
def test_progress_is_told_and_may_cancel_without_a_trace(tmp_path, cancel):
    told = []
    cache.fetch(Fake(), 8, tmp_path / "kept", lambda *now: told.append(now))
    assert told[0] == ("Preparing Fake", 0, 50) and told[-1] == ("Preparing Fake", 50, 50)

    class Slow(Fake):
        def draw(self, size, picks=None):
            for item in super().draw(size):
                time.sleep(0.03)
                yield item

    def stop(what, done, total):
        if done:
            raise cancel

    with pytest.raises(cancel):
        cache.fetch(Slow(), 8, tmp_path / "cancelled", stop)
    assert not (tmp_path / "cancelled").exists()


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize(
    "damage", [_flip, _cut, lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"<html>" * 99), Path.unlink]
)
def test_damage_is_noticed_and_repaired(tmp_path, suffix, damage):
    source = Fake()
    cache.fetch(source, 8, tmp_path)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    damage(next(tmp_path.glob(f"*{suffix}")))
    pictures = cache.fetch(source, 8, tmp_path)
    assert source.drawn == 2
    assert np.array_equal(pictures.images[:, 0, 0, 0], np.arange(50))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole


def test_a_header_that_numpy_cannot_even_take_apart_is_damage(tmp_path):
    source = Fake()
    cache.fetch(source, 8, tmp_path)
    path = next(tmp_path.glob("*.npy"))
    content = path.read_bytes()
    path.write_bytes(content[:128].replace(b"}", b"=") + content[128:])
    assert len(cache.fetch(source, 8, tmp_path).images) == 50 and source.drawn == 2 and path.read_bytes() == content


def test_where_another_program_was_sooner_its_cache_serves(tmp_path, monkeypatch):
    """Windows renames nothing over a file that another program has open."""

    class Slower(Fake):
        def draw(self, size, picks=None):
            yield from super().draw(size, picks)
            cache.fetch(Fake(), size, tmp_path)
            monkeypatch.setattr(atomic.os, "replace", refuse)

    def refuse(source, target):
        raise PermissionError(13, "Access is denied")

    source = Slower()
    pictures = cache.fetch(source, 8, tmp_path)
    assert isinstance(pictures.images, np.memmap) and len(pictures.images) == 50 and source.drawn == 1


def test_labels_that_do_not_belong_are_damage_too(tmp_path):
    source = Fake()
    cache.fetch(source, 8, tmp_path)
    path = next(tmp_path.glob("*.json"))
    about = json.loads(path.read_text())
    about["labels"][3] = 0
    path.write_text(json.dumps(about))
    cache.fetch(source, 8, tmp_path)
    assert source.drawn == 2
    assert json.loads(path.read_text())["labels"][3] == 1


def test_new_content_replaces_the_old_cache_of_the_same_size_only(tmp_path):
    cache.fetch(Fake(), 8, tmp_path)
    cache.fetch(Fake(), 16, tmp_path)
    other = Fake()
    other.slug = "fake-flags"
    cache.fetch(other, 8, tmp_path)
    kept = {name for name in _files(tmp_path) if not name.startswith("fake_8px_")}
    stale = tmp_path / ".fake_8px_0_abc.tmp"
    fresh = tmp_path / ".fake_8px_0_def.tmp"
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (0, 0))
    before = _files(tmp_path)
    pictures = cache.fetch(Fake(count=20, version="2"), 8, tmp_path)
    assert len(pictures.images) == 20
    after = _files(tmp_path)
    assert len([name for name in after if name.startswith("fake_8px_")]) == 2
    assert kept <= after and not ({n for n in before if n.startswith("fake_8px_")} & after)
    assert fresh.name in after and stale.name not in after, "another program may be writing the fresh one right now"


def test_where_nothing_can_be_written_memory_serves(tmp_path):
    (tmp_path / "file").write_text("in the way")
    pictures = cache.fetch(Fake(broken=(4,)), 8, tmp_path / "file" / "cache")
    assert pictures.images.shape == (49, 3, 8, 8) and not pictures.images.flags.writeable
    assert pictures.skipped == (("4.png", "broken"),)


def test_a_full_disk_is_no_disaster(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert np.array_equal(cache.fetch(Fake(), 8, tmp_path).images[:, 0, 0, 0], np.arange(50))
    assert _files(tmp_path) == set()


def test_no_room_anywhere_is_told_before_an_hour_is_lost(tmp_path, monkeypatch):
    source = Fake()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=50 * 3 * 8 * 8 - 1))
    memory = psutil.virtual_memory()
    assert len(cache.fetch(source, 8, tmp_path / "data" / "cache").images) == 50, "there is room in memory"
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=100))
    with pytest.raises(DataError, match=r"needs 0\.0 GB in .*No space left.*choose a smaller size"):
        cache.fetch(source, 8, tmp_path / "data" / "cache")
    assert source.drawn == 1 and list(tmp_path.iterdir()) == []


def test_the_folder_is_asked_once_what_is_new(tmp_path):
    """To ask a million files takes a while; and what changes during the decoding is found next time."""

    class Asked(Fake):
        asked = 0

        def version(self):
            self.asked += 1
            return str(self.asked)

    source = Asked()
    assert isinstance(cache.fetch(source, 8, tmp_path).images, np.memmap)
    assert source.asked == 1


def test_two_programs_may_fill_it_at_once(tmp_path):
    program = (
        "import sys; from pathlib import Path; from ddpm_core.data import cache, openmoji\n"
        "pictures = cache.fetch(openmoji.OpenMoji('activities'), 16, Path(sys.argv[1]))\n"
        "print(pictures.images.shape, int(pictures.images.sum()))"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate(timeout=60)[0] for process in both)
    assert first == second and first.startswith("(85, 3, 16, 16)")
    assert len(_files(tmp_path)) == 2
