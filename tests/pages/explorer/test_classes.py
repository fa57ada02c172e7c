"""What the classes of a model are called, and the choices of a page as a request has them."""

import dataclasses

import pytest
from PIL import Image

from ddpm_core.errors import StudioError
from ddpm_core.runs import Run
from pages.explorer import classes


def test_they_have_the_names_that_the_models_file_holds(session, toy_run, listen):
    """The pictures may be gone, or have other sub-folders by now."""
    toy_run(session.root, "animals", classes=3)
    assert listen.last(classes.make(session, {"model": "toys/ddpm_best.pt"})) == {"classes": [], "done": 1}
    assert listen.last(classes.make(session, {"model": "animals/ddpm_best.pt"}))["classes"] == ["ant", "bee", "cow"]
    for folder in ("bee", "cow", "emmet"):  # once it was "ant"
        (session.root / "animals" / folder).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(session.root / "animals" / folder / "0.png")
    run = Run(session.root, "animals")
    run.create(dataclasses.replace(run.config(), dataset=str(session.root / "animals")))
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
