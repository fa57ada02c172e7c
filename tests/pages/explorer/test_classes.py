"""What the classes of a model are called, and the choices of a page as a request has them."""

import dataclasses

import pytest

from ddpm_core.data import catalogue
from ddpm_core.errors import StudioError
from pages.explorer import classes


def test_they_have_the_names_of_the_pictures_they_were_learned_from(session, toy_run, listen, monkeypatch):
    toy_run(session.root, "animals", classes=3)
    assert listen.last(classes.make(session, {"model": "toys/ddpm_best.pt"})) == {"classes": [], "done": 1}
    assert listen.last(classes.make(session, {"model": "animals/ddpm_best.pt"}))["classes"] == ["0", "1", "2"]
    about = catalogue.describe("fashion_mnist", session.data_dir)
    monkeypatch.setattr(catalogue, "describe", lambda *_: dataclasses.replace(about, classes=("ant", "bee", "cow")))
    assert listen.last(classes.make(session, {"model": "animals/ddpm_best.pt"}))["classes"] == ["ant", "bee", "cow"]


def test_without_a_model_it_says_how_to_get_one(empty, listen):
    assert listen.refused(classes.make(empty, {"model": None})).startswith("there is no model yet")


@pytest.mark.parametrize("model", ["gone/ddpm_best.pt", 3, ["toys/ddpm_best.pt"]])
def test_a_model_that_is_not_there_is_one_line(session, listen, model):
    assert "not there any more" in listen.refused(classes.make(session, {"model": model}))


def test_choices_become_part_of_the_request():
    assert classes.guided(["any", None], 3.0) == {}
    assert classes.guided(["4"] * 2, 1) == {"classes": [4, 4]}
    assert classes.guided(["4", "any", ""], 2) == {"classes": [4, -1, -1], "guidance": 2.0}
    for which, guidance in (("cat", 1), ("-1", 1), (["4"], 1), ("4", float("nan")), ("4", "2"), ("4", 21), ("4", True)):
        with pytest.raises(StudioError):
            classes.guided([which, "any"], guidance)
