"""The models there are, told without loading them; the loaded few; slices of a shared device."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_core import checkpoint, shelf
from ddpm_core.errors import CheckpointError, UsageError
from ddpm_core.shelf import Card, Shelf

HERE = Path(__file__).resolve().parents[1]


def test_a_card_says_what_the_file_says(tmp_path, toy_run):
    path = toy_run(tmp_path, "toys", size=24)
    assert shelf.cards(tmp_path) == [Card("toys/ddpm_best.pt", path, "toys", "best", 24, 1482, ())]


@pytest.mark.parametrize(
    "names",
    [
        ("weights", "config", "step"),  # these very objects are the file's keys, too
        tuple(name.lower() for name in ("WEIGHTS", "CONFIG", "STEP")),  # texts of their own, as from a folder
        ("weights",),
        tuple(f"class {number}" for number in range(1001)),  # written a thousand at a time
    ],
    ids=["keys", "like keys", "one", "many"],
)
def test_a_card_says_what_the_classes_are_called_whatever_that_is(tmp_path, toy_run, names):
    path = toy_run(tmp_path, "gym", classes=1)
    model = checkpoint.load_model(path)
    network = dataclasses.replace(model.config.network, classes=len(names))
    config = dataclasses.replace(model.config, network=network)
    checkpoint.save_model(path, dataclasses.replace(model, config=config, classes=names))
    assert shelf.cards(tmp_path) == [Card("gym/ddpm_best.pt", path, "gym", "best", 16, 1482, names)]


def test_the_order_is_that_of_the_runs_and_best_comes_first(tmp_path, toy_run):
    best = toy_run(tmp_path, "old")
    for name in ("ddpm_final.pt", "ddpm_epoch_9.pt", "ddpm_epoch_10.pt"):
        shutil.copy(best, best.with_name(name))
    os.utime(tmp_path / "training_progress/old/config.json", (1, 1))
    toy_run(tmp_path, "new")
    told = [(card.run, card.kind) for card in shelf.cards(tmp_path)]
    assert told == [("new", "best"), ("old", "best"), ("old", "final"), ("old", "epoch 10"), ("old", "epoch 9")]


def test_cards_need_no_torch(tmp_path, toy_run):
    toy_run(tmp_path, "toys")
    program = f"import sys; from ddpm_core import shelf; print(shelf.cards({str(tmp_path)!r})[0].step, 'torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], cwd=HERE, capture_output=True, text=True, timeout=60)
    assert answer.stdout.split() == ["1482", "False"]


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 torn", b"\x80\x04cos\nsystem\n(S'echo'\ntR."])
def test_a_file_that_is_no_model_is_listed_and_refused_when_it_is_taken(tmp_path, toy_run, content):
    path = toy_run(tmp_path, "toys")
    path.write_bytes(content)
    (card,) = shelf.cards(tmp_path)
    assert (card.step, card.size, card.classes) == (None, 16, ())
    with pytest.raises(CheckpointError):
        Shelf(contextlib.nullcontext, "cpu").take(card.path)


def test_find_knows_models_and_nothing_else(tmp_path, toy_run):
    with pytest.raises(UsageError, match="no model yet. Train one"):
        shelf.find(tmp_path, None)
    path = toy_run(tmp_path, "toys")
    assert shelf.find(tmp_path, None).path == shelf.find(tmp_path, "toys/ddpm_best.pt").path == path
    for key in ("toys", "toys/last.pt", "../x/ddpm_best.pt", str(path), "/etc/passwd", 3, ["toys/ddpm_best.pt"], {}):
        with pytest.raises(UsageError, match="not there any more"):
            shelf.find(tmp_path, key)


def test_three_stay_loaded_and_a_changed_file_is_read_again(tmp_path, toy_run):
    paths = [toy_run(tmp_path, f"toys-{i}") for i in range(4)]
    kept = Shelf(contextlib.nullcontext, "cpu")
    first = kept.take(paths[0])
    assert kept.take(paths[0]) is first
    kept.take(paths[1]), kept.take(paths[2])
    assert kept.take(paths[0]) is first  # used last, so the next one pushes another out
    second = kept.take(paths[1])
    kept.take(paths[3])
    assert kept.take(paths[0]) is first and kept.take(paths[1]) is second
    toy_run(tmp_path, "toys-0", size=32)
    assert kept.take(paths[0]).size == 32
    paths[1].unlink()
    with pytest.raises(CheckpointError):
        kept.take(paths[1])


def test_models_of_different_size_advance_together(tmp_path, toy_run):
    paths = [toy_run(tmp_path, "small"), toy_run(tmp_path, "large", size=32)]
    kept = Shelf(contextlib.nullcontext, "cpu")
    seen = list(kept.work(paths, lambda made: made.sample([1, 2], steps=5)))
    for shots in seen:
        done = [shot.preview.done if shot.preview else 0 for shot in shots]
        assert abs(done[0] - done[1]) <= 1 / 5 + 1e-9
    assert [shot.preview.pictures.shape for shot in seen[-1]] == [(2, 16, 16, 3), (2, 32, 32, 3)]
    assert all(shot.preview.done == 1 and shot.seconds > 0 for shot in seen[-1])
    alone = list(kept.take(paths[0]).sample([1, 2], steps=5))[-1]
    assert (alone.pictures == seen[-1][0].preview.pictures).all()


def test_the_turn_is_held_for_a_slice_and_handed_back(tmp_path, toy_run, monkeypatch):
    held, most = [], []

    @contextlib.contextmanager
    def turn():
        assert not held
        held.append(1)
        most.append(1)
        try:
            yield
        finally:
            held.clear()

    path = toy_run(tmp_path, "toys")
    kept = Shelf(turn, "cpu")
    kept.take(path)
    most.clear()
    monkeypatch.setattr(shelf, "SLICE", 0.0)
    assert len(list(kept.work([path], lambda made: made.sample([1], steps=7)))) == 7
    assert len(most) == 8 and not held  # a turn a call, and one to see that it is over
    work = kept.work([path], lambda made: made.sample([1], steps=7))
    next(work)
    assert held
    work.close()  # cancelled
    assert not held
