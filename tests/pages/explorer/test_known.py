"""What holds for every explorer: how it refuses, how it ends early, and that the device is free afterwards."""

import contextlib
import json
from types import SimpleNamespace

import pytest
from PIL import Image

from pages.explorer import KNOWN, inbox, own
from pages.explorer.stream import Explorers

# Two begin from a kept picture; "classes" draws nothing (test_classes.py).
MODELLED = sorted(KNOWN.keys() - {"again", "copies", "classes"})
ANSWERS = sorted(set(MODELLED) - {"averages"})  # averages needs snapshots: see test_averages.py


@pytest.fixture
def asked():
    """A question that each of them can answer."""
    import io

    file = io.BytesIO()
    Image.effect_noise((20, 20), 40).save(file, "PNG")
    key = json.loads(inbox._take_in(file.getvalue()).body)["key"]
    yield {
        "model": "toys/ddpm_best.pt", "steps": 50, "sampler": "ddim", "seed": 0, "samples": 9, "frames": 16,
        "seeds": [0, 1, 2, 3], "path": [[0, 0], [1, 1]], "counts": [40, 50], "samplers": ["ddim"],
        "a": key, "b": key, "strength": 0.9, "mask": "01" * 128,
    }  # fmt: skip
    inbox._files.clear()


@pytest.mark.parametrize("name", MODELLED)
def test_without_a_model_it_says_how_to_get_one(empty, asked, listen, name):
    line = listen.refused(KNOWN[name](empty, {**asked, "model": None}))
    assert line.startswith("there is no model yet. Train one")


@pytest.mark.parametrize("name", MODELLED)
@pytest.mark.parametrize(
    "model", ["gone/ddpm_best.pt", "../toys/ddpm_best.pt", "/etc/passwd", ["toys/ddpm_best.pt"], {}, 7]
)
def test_a_model_that_is_not_there_is_one_line(session, asked, listen, name, model):
    assert "not there any more" in listen.refused(KNOWN[name](session, {**asked, "model": model}))


@pytest.mark.parametrize("name", MODELLED)
def test_a_damaged_model_is_one_line(session, asked, listen, name):
    path = session.root / "checkpoints/toys/ddpm_best.pt"
    path.write_bytes(path.read_bytes()[:-100])
    assert "incomplete or damaged" in listen.refused(KNOWN[name](session, asked))
    assert listen.turn_is_free(session)


@pytest.mark.parametrize("name", MODELLED)
def test_a_question_of_nothing_but_lists_is_one_line(session, asked, listen, name):
    listen.refused(KNOWN[name](session, {key: value if key == "model" else [[]] for key, value in asked.items()}))


@pytest.mark.parametrize("name", ANSWERS)
def test_given_up_in_the_middle_the_turn_is_free(session, asked, listen, name):
    shown = KNOWN[name](session, asked)
    for _ in range(3):
        assert next(shown)()["done"] < 1
    shown.close()
    assert listen.turn_is_free(session)


@pytest.mark.parametrize("name", ANSWERS)
def test_cancel_ends_it_between_two_network_calls(session, asked, listen, name):
    explorers = Explorers(session, KNOWN)
    lines = explorers._lines("page/part", lambda: KNOWN[name](session, asked))
    with contextlib.closing(lines):
        assert json.loads(next(lines)) == {"busy": True}
        assert json.loads(next(lines))["busy"] is True
        job = explorers.desk.current("page/part")
        explorers.desk.clear("page/part")
        assert json.loads(list(lines)[-1])["cancelled"] is True
        assert job.join(30), "its thread goes on"
    assert listen.turn_is_free(session)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_it_tells_is_json_to_the_last_line(session, asked, monkeypatch, name):
    monkeypatch.setattr(own, "WALK_STEPS", 4)
    quick = {**asked, "steps": 3, "counts": [2, 3], "frames": 3, "samples": 2}
    lines = [
        json.loads(line) for line in Explorers(session, KNOWN)._lines("page/", lambda: KNOWN[name](session, quick))
    ]
    assert lines[-1]["busy"] is False and lines[-1]["cancelled"] is False and "error" not in lines[-1]
    assert all(line["busy"] for line in lines[:-1])


def test_each_explorer_has_a_room_that_asks_for_it():
    from pages.look import SCRIPTS
    from pages.texts import ASSETS

    scripts = "\n".join((ASSETS / name).read_text() for name in SCRIPTS)
    for name in SimpleNamespace(**KNOWN).__dict__:
        assert f'"{name}"' in scripts or f"`{name.split('-')[0]}-${{" in scripts, name
