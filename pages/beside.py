"""What making pictures costs a run that trains beside it, in words."""

from typing import TYPE_CHECKING

from pages.texts import stopwatch, t

if TYPE_CHECKING:
    from ddpm_core.session import Session

LEAST = 0.1  # seconds: what training waits anyway is not worth a word


def turns(session: "Session", waited: float) -> str:
    """Who takes turns with the pictures, and how many seconds it has waited for them; "" if nothing trains here."""
    run, status = session.current()
    if run is None or status is None or status.state != "running":
        return ""
    line = t("generation.beside", run=run.name)
    return f"{line} {t('generation.beside.waits', seconds=stopwatch(waited))}" if waited >= LEAST else line


def cost(session: "Session", before: float) -> str:
    """How long the run has waited since `session.waited` was `before`; "" if it did not."""
    run, _ = session.current()
    waited = session.waited - before
    return t("generation.cost", run=run.name, seconds=stopwatch(waited)) if run is not None and waited >= LEAST else ""
