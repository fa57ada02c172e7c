"""What the lists of the Generation form offer: the models that there are, and the classes that the chosen one knows."""

import contextlib
from typing import TYPE_CHECKING, Any

import gradio as gr

from ddpm_core import shelf
from ddpm_core.errors import StudioError
from pages.explorer.classes import ANY
from pages.fields import MOST, SAME
from pages.texts import number, t

if TYPE_CHECKING:
    from ddpm_core.session import Session


def models(session: "Session", one: Any, several: Any) -> list[Any]:
    """Updates for both lists of models. What was chosen stays while it is there."""
    known = shelf.cards(session.root)
    named = [(label(card), card.key) for card in known]
    keys = [card.key for card in known]
    kept = [key for key in several or [] if key in keys]
    if not kept:  # a comparison is most telling between runs; with one run, between its models
        newest = {card.run: card.key for card in reversed(known)}.values()
        kept = list(dict.fromkeys([*reversed(newest), *keys]))[: max(2, min(len(newest), MOST["models"]))]
    chosen = one if one in keys else keys[0] if keys else None
    return [gr.update(choices=named, value=chosen), gr.update(choices=named, value=kept)]


def guidance(session: "Session", one: Any, which: Any = ANY, end: Any = SAME) -> list[Any]:
    """Updates for the row of class and guidance and for the class at a walk's end: shown where the model knows classes, with
    their names, and these two chosen if they are among them. Then one for autoguidance: shown where the run kept the young model."""
    known: tuple[str, ...] = ()
    young = False
    with contextlib.suppress(StudioError):
        card = shelf.find(session.root, one)
        known, young = card.classes, shelf.young(card) is not None
    choices = [(t("generation.class.any"), ANY), *((name, str(number)) for number, name in enumerate(known))]
    ends = [(t("generation.class.same"), SAME), *choices]
    shown = bool(known)
    return [
        gr.update(visible=shown),
        gr.update(choices=choices, value=which if which in [value for _, value in choices] else ANY),
        gr.update(choices=ends, value=end if end in [value for _, value in ends] else SAME, visible=shown),
        gr.update(visible=young),
    ]


def label(card: shelf.Card) -> str:
    """A model in the lists and beside its pictures."""
    if card.step is None:
        return t("generation.card.unknown", run=card.run, kind=card.kind, size=card.size)
    return t("generation.card", run=card.run, kind=card.kind, size=card.size, step=number(card.step))
