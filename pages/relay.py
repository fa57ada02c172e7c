"""How a request of the Generation tab is relayed to its canvas: how far it is, its pictures so far, and how it ended."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from ddpm_core import shelf
from ddpm_core.jobs import Desk
from pages import beside
from pages.texts import sentence, stopwatch, t

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview
    from ddpm_core.session import Session

Told = dict[str, Any]  # what the canvas shows; assets/canvas.js names the fields
Shots = tuple[shelf.Shot, ...]  # one a model


class Relay:
    """`page` says who asks: one request a page, and asking anew takes back the one before."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.desk = Desk()

    def work(
        self,
        page: str,
        chosen: list[shelf.Card],
        walk: Callable[["Generator"], Iterable["Preview"]],
        draw: Callable[[Shots], Told],
        finish: Callable[[Shots, str], Told],
    ) -> Iterator[Told]:
        """Lets each of the `chosen` models `walk`, all together, on a thread of its own; `draw`s what there is so far, and what
        was made at last is `finish`ed, with the seconds it took in words."""
        begun, waited, shots = time.monotonic(), self.session.waited, None
        job = self.desk.begin(page, lambda: self.session.shelf.work([card.path for card in chosen], walk))
        try:
            # Gradio closes a stream when its page goes only after the first word: so one comes before anything can wait.
            yield {"busy": True, "done": 0, "line": self._progress(None, 0.0, 0.0)}
            for state in job.follow():
                shots = state or shots
                news = draw(state) if state else {}
                if self.desk.current(page) is not job:  # taken back meanwhile, and that was told
                    break
                line = self._progress(shots, time.monotonic() - begun, self.session.waited - waited)
                yield {**news, "busy": True, "done": _done(shots) if shots else 0, "line": line}
            if self.desk.current(page) is not job:
                yield gr.skip()  # a newer request of this page has the canvas
            elif job.cancelled:
                line = t("generation.cancelled.at", **_steps(shots)) if shots else t("generation.cancelled")
                yield {"busy": False, "line": line}
            elif job.error is not None or shots is None:
                yield {"busy": False, "line": sentence(job.error)}
            else:
                seconds, cost = stopwatch(time.monotonic() - begun), beside.cost(self.session, waited)
                told = finish(shots, seconds)
                # Finishing takes a moment too: a comparison looks at real pictures.
                if self.desk.current(page) is not job:
                    yield gr.skip()
                else:
                    yield {**told, "line": " ".join(filter(None, [told["line"], cost])), "busy": False, "done": 1}
        finally:
            # Also when the page was closed: then this generator is, at one of the yields above.
            job.cancel()
            self.desk.clear(page, job)

    def refuse(self, page: str, line: str) -> Told:
        """What cannot work is one line; the canvas stays as it is."""
        self.desk.clear(page)
        return {"busy": False, "line": line}

    def cancel(self, page: str) -> None:
        job = self.desk.current(page)
        if job is not None:
            job.cancel()

    def _progress(self, shots: Shots | None, seconds: float, waited: float) -> str:
        words = t("generation.step", **_steps(shots), seconds=stopwatch(seconds)) if shots else t("generation.loading")
        return " ".join(filter(None, [words, beside.turns(self.session, waited)]))


def _done(shots: Shots) -> float:
    return sum(shot.preview.done if shot.preview else 0.0 for shot in shots) / len(shots)


def _steps(shots: Shots) -> dict[str, int]:
    """The step that all pictures have behind them."""
    begun = [shot.preview for shot in shots if shot.preview is not None]
    behind = min(preview.step for preview in begun) if len(begun) == len(shots) else 0
    return {"step": behind, "steps": begun[0].steps}
