"""What the lists of the Generation form offer, and what stays chosen."""

from types import SimpleNamespace

import pytest

from pages import choices


@pytest.fixture
def session(tmp_path, toy_run):
    toy_run(tmp_path, "toys")
    return SimpleNamespace(root=tmp_path, data_dir=tmp_path)


def test_choices_are_readable_and_keep_what_was_chosen(session, tmp_path, toy_run):
    toy_run(tmp_path, "more", size=32)
    one, several = choices.models(session, None, None)
    assert [label for label, _ in one["choices"]] == [
        "more · best · step 1,482, 32 px",
        "toys · best · step 1,482, 16 px",
    ]
    assert one["value"] == "more/ddpm_best.pt" and several["value"] == ["more/ddpm_best.pt", "toys/ddpm_best.pt"]
    one, several = choices.models(session, "toys/ddpm_best.pt", ["toys/ddpm_best.pt", "gone/ddpm_best.pt"])
    assert one["value"] == "toys/ddpm_best.pt" and several["value"] == ["toys/ddpm_best.pt"]
    assert choices.models(session, "gone/ddpm_best.pt", [])[0]["value"] == "more/ddpm_best.pt"


def test_without_a_model_the_lists_are_empty(tmp_path):
    updates = choices.models(SimpleNamespace(root=tmp_path), None, None)
    assert [(update["choices"], update["value"]) for update in updates] == [([], None), ([], [])]


def test_the_row_of_classes_is_for_models_that_know_some(session):
    row, which, end, auto = choices.guidance(session, "toys/ddpm_best.pt")
    assert row["visible"] is end["visible"] is False and which["value"] == "any" and end["value"] == "same"
    assert auto["visible"] is False


def test_autoguidance_is_for_runs_that_kept_the_young_model(session, toy_snapshots):
    toy_snapshots(session.root, "toys", [256])
    assert choices.guidance(session, "toys/ddpm_best.pt")[3]["visible"] is True
    assert choices.guidance(session, "more/ddpm_best.pt")[3]["visible"] is False


def test_they_have_the_names_that_the_models_file_holds(session, tmp_path, toy_run):
    toy_run(tmp_path, "animals", classes=3)
    row, which, end, _ = choices.guidance(session, "animals/ddpm_best.pt")
    named = [("any", "any"), ("ant", "0"), ("bee", "1"), ("cow", "2")]
    assert row["visible"] is end["visible"] is True
    assert which["choices"] == named and end["choices"] == [("as at the start", "same"), *named]
    for chosen, values in (
        (("2", "any"), ("2", "any")),
        (("3", "same"), ("any", "same")),
        ((None, ["1"]), ("any", "same")),
    ):
        _, which, end, _ = choices.guidance(session, "animals/ddpm_best.pt", *chosen)
        assert (which["value"], end["value"]) == values
