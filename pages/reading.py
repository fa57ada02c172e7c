"""Where a run stands, in one sentence that is true: counted from its losses, never from fixed loss bands.

(Bands such as "below 0.15 is recognisable" hold for one data set, one schedule and one weighting only.)
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from pages.texts import duration, number, t

YOUNG = 30  # losses before a trend can be told


def sentence(state: str, step: int, images: int, seconds: float, message: str, losses: Sequence[float | None]) -> str:
    """One sentence about a run from its state ("running", ...), counters and the losses of all its steps."""
    if state == "failed":
        return t("sentence.failed", step=number(step), message=message or "?")
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if state == "stopped" and not step:
        return t("sentence.not-begun")
    if state in ("paused", "stopped", "interrupted"):
        return t("sentence." + state, step=number(step))
    if state == "finished" and known:
        end = known[-max(1, len(known) // 10) :]
        return t(
            "sentence.finished",
            images=number(images),
            time=duration(seconds),
            first=number(known[0]),
            late=number(fmean(end)),
        )
    if not losses:
        return t("sentence.preparing" if state in ("preparing", "running") else "sentence.not-started")
    if len(known) < len(losses) and losses[-1] not in known[-1:]:
        return t("sentence.broken")
    if len(known) < YOUNG:
        return t("sentence.young", images=number(images))
    key, early, late = trend(known)
    return t("sentence." + key, early=number(early), late=number(late))


def trend(losses: Sequence[float]) -> tuple[str, float, float]:
    """("falling" | "level" | "rising", mean before, mean lately): the last third of the losses against the third before.

    Called falling or rising only when the difference is larger than 3 standard errors, since less can be chance, and
    larger than 1 %, since less is not worth waiting for.
    """
    third = len(losses) // 3
    before, lately = losses[-2 * third : -third], losses[-third:]
    early, late = fmean(before), fmean(lately)
    error = math.hypot(stdev(before), stdev(lately)) / math.sqrt(third)
    if abs(late - early) <= max(3 * error, 0.01 * abs(early)):
        return "level", early, late
    return ("falling" if late < early else "rising"), early, late
