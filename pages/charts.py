"""Plotly figures as plain functions of data: no plotly, no Gradio, only dicts that become JSON.

A trace names its ink in `meta`; the page paints it with its own CSS variable, so that charts follow light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pages.texts import t

Series = Sequence[float | None]
LIMIT = 1500  # points a trace: what a chart can show, and few enough that a poll stays small
SMOOTHED_POINTS = 300


def loss_figure(
    steps: Sequence[int],
    losses: Series,
    smooth: float = 0.9,
    log: bool = False,
    held_out: Series = (),
    trained: Series = (),
) -> dict[str, Any]:
    """The training loss: every step faintly (peaks kept), and the smoothed line. `smooth` is 0 (off) to below 1:
    the fading from one point to the next on a chart of 300 points."""
    mean_steps, means = bucket_means(steps, losses, LIMIT)
    traces = [
        _trace(*min_max(steps, losses, LIMIT), name=t("charts.trace.raw"), ink="faint", width=1, hover=smooth == 0)
    ]
    if smooth > 0 and means:
        # The width of the average is a share of the chart, so a young run is not flattened and a long one not left noisy.
        smooth = smooth ** (SMOOTHED_POINTS / len(means))
    if smooth > 0:
        traces.append(
            _trace(mean_steps, smoothed(means, smooth), name=t("charts.trace.smooth"), ink="accent", width=2.5)
        )
    # Measured now and then, of the averaged network: on pictures it was never trained on, and on as many that it was.
    for name, ink, values in (("held_out", "bad", held_out), ("trained", "good", trained)):
        known = [(step, value) for step, value in zip(steps, values, strict=False) if value is not None]
        if known:
            at, losses_there = zip(*known, strict=True)
            traces.append(_trace(list(at), losses_there, name=t("charts.trace." + name), ink=ink, width=2))
    # The y range of a linear axis means nothing on a log axis: switching forgets a vertical zoom, and only that.
    scale = {"type": "log" if log else "linear", "uirevision": "log" if log else "linear"}
    return {"data": traces, "layout": _layout(yaxis=scale)}


def speed_figure(steps: Sequence[int], rates: Series, speeds: Series) -> dict[str, Any]:
    """Learning rate (left axis) and images a second (right axis)."""
    traces = [
        _trace(
            *bucket_means(steps, speeds, LIMIT), name=t("charts.trace.speed"), ink="faint-strong", width=1.5, yaxis="y2"
        ),
        _trace(*bucket_means(steps, rates, LIMIT), name=t("charts.trace.lr"), ink="accent", width=2.5),
    ]
    left = {"title": {"text": t("charts.trace.lr")}, "rangemode": "tozero", "exponentformat": "power"}
    right = {
        "title": {"text": t("charts.trace.speed")},
        "rangemode": "tozero",
        "overlaying": "y",
        "side": "right",
        "tickmode": "auto",
        "showgrid": False,
    }
    return {"data": traces, "layout": _layout(yaxis=left, yaxis2=right)}


@dataclass(frozen=True)
class Curve:
    """One line of `spectrum_figure`."""

    name: str  # as the legend and the mouse say it
    ink: str  # "accent", "good", ...: a colour of assets/studio.css
    frequency: Sequence[float]  # cycles per picture, above 0
    power: Series  # as ddpm_core/evaluation/spectrum.py has it
    reference: bool = False  # the data: a broad line on which a good model's lies


def spectrum_figure(curves: Sequence[Curve]) -> dict[str, Any]:
    """Radial power spectra, both axes logarithmic: a power law is a straight line. References lie under the others."""
    traces = []
    for curve in sorted(curves, key=lambda curve: not curve.reference):
        # Nothing has no logarithm: no power at all is a gap.
        power = [value if value is not None and value > 0 else None for value in map(_finite, curve.power)]
        width = 7 if curve.reference else 2
        traces.append(_trace(curve.frequency, power, name=curve.name, ink=curve.ink, width=width))
    across = {"title": {"text": t("charts.axis.frequency")}, "type": "log", "hoverformat": ".3~g", "tickformat": "~g"}
    up = {"title": {"text": t("charts.axis.power")}, "type": "log", "exponentformat": "power"}
    return {"data": traces, "layout": _layout(xaxis=across, yaxis=up)}


def smoothed(values: Series, weight: float) -> list[float | None]:
    """Exponential moving average over both sides: value j counts `weight ** |i - j|` in the average at i.

    A one-sided average trails behind: on a falling loss it lies above the points. The weights are divided by their sum
    ("debiased"), so both ends are true averages too. A missing value stays missing and does not disturb its neighbours.
    """
    known = [(i, value) for i, value in enumerate(values) if value is not None and math.isfinite(value)]
    past, future = _decaying(known, weight), _decaying(known[::-1], weight)[::-1]
    out: list[float | None] = [None] * len(values)
    for (i, value), (sum_before, share_before), (sum_after, share_after) in zip(known, past, future, strict=True):
        out[i] = (sum_before + sum_after - value) / (share_before + share_after - 1)
    return out


def _decaying(points: Sequence[tuple[int, float]], weight: float) -> list[tuple[float, float]]:
    """At each point: the sum of the values so far, fading with their distance, and the sum of the weights."""
    out = []
    total, share = 0.0, 0.0
    for _, value in points:
        total, share = weight * total + value, weight * share + 1
        out.append((total, share))
    return out


def bucket_means(x: Sequence[int], y: Series, limit: int) -> tuple[list[int], list[float | None]]:
    """At most `limit` points: neighbours are averaged, each bucket stands at its last x. Short series pass unchanged."""
    if len(x) <= limit:
        return list(x), [_finite(value) for value in y]
    xs: list[int] = []
    means: list[float | None] = []
    for first, last in _buckets(len(x), limit):
        known = [value for value in y[first:last] if value is not None and math.isfinite(value)]
        xs.append(x[last - 1])
        means.append(sum(known) / len(known) if known else None)
    return xs, means


def min_max(x: Sequence[int], y: Series, limit: int) -> tuple[list[int], list[float | None]]:
    """At most `limit` points that keep every peak: each bucket gives its smallest and its largest value, in their order."""
    if len(x) <= limit:
        return list(x), [_finite(value) for value in y]
    xs: list[int] = []
    ys: list[float | None] = []
    for first, last in _buckets(len(x), limit // 2):
        known = [(value, i) for i in range(first, last) if (value := _finite(y[i])) is not None]
        if known:
            for value, i in sorted({min(known), max(known)}, key=lambda point: point[1]):
                xs.append(x[i])
                ys.append(value)
        else:
            xs.append(x[first])
            ys.append(None)
    return xs, ys


def _buckets(count: int, buckets: int) -> list[tuple[int, int]]:
    edges = [count * i // buckets for i in range(buckets + 1)]
    return list(zip(edges, edges[1:], strict=False))


def _finite(value: float | None) -> float | None:
    """NaN and infinity are no JSON: the chart shows a gap."""
    return value if value is not None and math.isfinite(value) else None


def _trace(
    x: Sequence[float], y: Series, *, name: str, ink: str, width: float, yaxis: str = "y", hover: bool = True
) -> dict[str, Any]:
    short = [None if value is None else float(f"{value:.6g}") for value in y]  # six digits: half the bytes of a poll
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": short,
        "yaxis": yaxis,
        "line": {"width": width},
        "meta": {"ink": ink},
        "connectgaps": False,
        **({"hovertemplate": "%{y:.4~g}"} if hover else {"hoverinfo": "skip"}),
    }


def _layout(**axes: dict[str, Any]) -> dict[str, Any]:
    return {
        "uirevision": "keep",  # zoom and hidden traces survive every update
        "hovermode": "x unified",
        "dragmode": "zoom",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 52, "r": 60 if "yaxis2" in axes else 12, "t": 30, "b": 40},
        "xaxis": {"title": {"text": t("charts.axis.step")}, "hoverformat": ",d", "tickformat": ",d"},
        **{name: {"automargin": True, **axis} for name, axis in axes.items()},
    }
