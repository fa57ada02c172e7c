"""The figures are plain dicts that plotly accepts, and say what the numbers say."""

import json
import math

import numpy as np
import plotly.graph_objects as go
import pytest

from ddpm_core.evaluation.spectrum import radial_power
from pages import charts


def long_series(n=20_000):
    return list(range(1, n + 1)), [1.0 / (1 + i / 100) for i in range(n)]


@pytest.mark.parametrize("count", [0, 1, 7, 20_000])
@pytest.mark.parametrize("log", [False, True])
def test_figures_are_plotly_figures_of_bounded_size(count, log):
    steps, losses = long_series(count)
    for figure in (charts.loss_figure(steps, losses, 0.9, log), charts.speed_figure(steps, losses, losses)):
        go.Figure(figure)  # raises for anything plotly does not know
        assert figure == json.loads(json.dumps(figure, allow_nan=False))
        assert figure["layout"]["uirevision"] == "keep"
        assert {trace["meta"]["ink"] for trace in figure["data"]} <= {"accent", "faint", "faint-strong"}
        for trace in figure["data"]:
            assert len(trace["x"]) == len(trace["y"]) == min(count, charts.LIMIT)


def test_the_scale_changes_the_axis_and_only_the_y_zoom():
    linear, log = (charts.loss_figure([1, 2], [1.0, 0.5], 0.9, flag)["layout"] for flag in (False, True))
    assert (linear["yaxis"]["type"], log["yaxis"]["type"]) == ("linear", "log")
    assert linear["yaxis"]["uirevision"] != log["yaxis"]["uirevision"]
    assert linear["uirevision"] == log["uirevision"]


def test_numbers_that_are_none_become_gaps():
    figure = charts.loss_figure([1, 2, 3, 4], [1.0, math.nan, math.inf, None], 0.5)
    assert [trace["y"] for trace in figure["data"]] == [[1.0, None, None, None]] * 2


def test_without_smoothing_there_is_one_line_that_answers_the_mouse():
    (only,) = charts.loss_figure([1, 2], [1.0, 0.5], 0.0)["data"]
    assert "hovertemplate" in only


class TestSpectrum:
    data = charts.Curve("data", "faint", [1, 2, 4], [0.1, 0.02, 0.005], reference=True)
    model = charts.Curve("openmoji_32x32", "accent", [1.0, 2.0], [0.1, 0.03])

    def test_is_a_plotly_figure_with_two_logarithmic_axes(self):
        figure = charts.spectrum_figure([self.data, self.model])
        go.Figure(figure)
        assert figure == json.loads(json.dumps(figure, allow_nan=False))
        axes = figure["layout"]["xaxis"], figure["layout"]["yaxis"]
        assert [axis["type"] for axis in axes] == ["log", "log"]
        assert [axis["title"]["text"] for axis in axes] == ["cycles per picture", "power"]

    def test_every_curve_has_its_name_ink_and_numbers(self):
        traces = charts.spectrum_figure([self.data, self.model])["data"]
        assert [(trace["name"], trace["meta"]["ink"]) for trace in traces] == [
            ("data", "faint"),
            ("openmoji_32x32", "accent"),
        ]
        assert (traces[1]["x"], traces[1]["y"]) == ([1.0, 2.0], [0.1, 0.03])

    def test_the_reference_lies_broad_under_the_others(self):
        """plotly draws in the order of the traces."""
        first, second = charts.spectrum_figure([self.model, self.data])["data"]
        assert first["name"] == "data" and first["line"]["width"] > 2 * second["line"]["width"]

    def test_no_power_is_a_gap(self):
        curve = charts.Curve("a", "accent", [1, 2, 3, 4], [0.0, math.nan, None, 1e-7])
        assert charts.spectrum_figure([curve])["data"][0]["y"] == [None, None, None, 1e-7]

    def test_no_curves_is_an_empty_chart(self):
        assert charts.spectrum_figure([])["data"] == []

    def test_takes_what_the_spectrum_room_gives(self):
        frequency, power = radial_power(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
        figure = charts.spectrum_figure([charts.Curve("noise", "good", frequency.tolist(), power.tolist())])
        assert json.dumps(figure, allow_nan=False)
        assert figure["data"][0]["x"] == list(range(1, 17)) and None not in figure["data"][0]["y"]


class TestSmoothing:
    def test_looks_alike_on_a_short_and_a_long_run(self):
        """The bend of a broken line is rounded over the same share of the chart."""

        def at_bend(n):
            losses = [abs(i / n - 0.5) for i in range(n)]
            return charts.loss_figure(range(1, n + 1), losses, 0.9)["data"][1]["y"][n // 2]

        assert at_bend(60) == pytest.approx(at_bend(1200), rel=0.1)

    def test_weights_by_hand(self):
        w = 0.5
        expected = (w * 3.0 + 1.0 + w * 2.0) / (2 * w + 1)
        assert charts.smoothed([3.0, 1.0, 2.0], w)[1] == pytest.approx(expected)

    def test_a_constant_stays_even_at_both_ends(self):
        assert charts.smoothed([0.25] * 50, 0.97) == pytest.approx([0.25] * 50)

    def test_a_line_is_not_dragged_behind(self):
        middle = charts.smoothed([float(i) for i in range(201)], 0.8)[100]
        assert middle == pytest.approx(100.0)

    def test_nothing_changes_at_zero(self):
        assert charts.smoothed([3.0, 1.0, 2.0], 0.0) == [3.0, 1.0, 2.0]

    def test_a_gap_stays_a_gap_and_disturbs_nobody(self):
        with_gap = charts.smoothed([1.0, math.nan, 3.0, None, 2.0], 0.7)
        assert with_gap[1] is with_gap[3] is None
        assert [with_gap[i] for i in (0, 2, 4)] == pytest.approx(charts.smoothed([1.0, 3.0, 2.0], 0.7))


class TestFewerPoints:
    def test_the_extremes_survive(self):
        steps, losses = long_series()
        losses[4321], losses[12_345] = 9.0, -9.0
        xs, ys = charts.min_max(steps, losses, 1500)
        assert max(ys) == 9.0 and min(ys) == -9.0
        assert xs == sorted(xs) and len(xs) <= 1500
        assert all(losses[x - 1] == y for x, y in zip(xs, ys, strict=True))

    def test_means_are_means(self):
        xs, ys = charts.bucket_means([1, 2, 3, 4], [1.0, 3.0, 5.0, None], 2)
        assert (xs, ys) == ([2, 4], [2.0, 5.0])

    def test_the_last_step_is_always_there(self):
        steps, losses = long_series(1501)
        assert charts.bucket_means(steps, losses, 1500)[0][-1] == 1501

    def test_a_bucket_without_numbers_is_a_gap(self):
        gap = [math.nan, None, math.inf, 2.0, 2.0, 2.0]
        assert charts.min_max([1, 2, 3, 4, 5, 6], gap, 4) == ([1, 4, 6], [None, 2.0, 2.0])
        assert charts.bucket_means([1, 2, 3, 4], [math.nan, None, 2.0, 2.0], 2) == ([2, 4], [None, 2.0])


def test_held_out_losses_are_lines_of_their_own():
    figure = charts.loss_figure(
        [1, 2, 3, 4], [0.4, 0.3, 0.2, 0.1], 0.9, False, [None, 0.35, None, 0.2], [None, 0.3, None, 0.1]
    )
    by_name = {trace["name"]: trace for trace in figure["data"]}
    assert (by_name["on pictures never seen"]["x"], by_name["on pictures never seen"]["y"]) == ([2, 4], [0.35, 0.2])
    assert by_name["on pictures seen"]["y"] == [0.3, 0.1]
    assert len(charts.loss_figure([1], [0.4], 0.9, False, [None], [None])["data"]) == 2
