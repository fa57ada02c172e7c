"""Ratios are taken inside a round, and the table says what was measured."""

from benchmarks import open_page
from benchmarks.records import RESULTS
from benchmarks.tables import step


def test_a_row_is_compared_with_its_own_round():
    rounds = [{"closed": (10.0, 0.0), "Training": (9.0, 0.1)}, {"closed": (5.0, 0.0), "Training": (5.0, 0.2)}]
    found = open_page.summary(rounds, "Training")
    assert found["times_closed"] == 0.95 and found["between"] == [0.9, 1.0]
    assert found["steps_a_second"] == 7.0 and found["browser"] == 0.15


def test_the_table_has_both_versions(tmp_path):
    assert step.open_page(tmp_path) == "Not measured yet.\n"
    text = step.open_page(RESULTS)
    assert "| the page | before: steps a second | before: the browser takes | now: steps a second |" in text
    assert text.count("| open on ") == 3 and text.count("open_page_before.json`") == 1
