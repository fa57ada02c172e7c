"""The Generation form's fields: how far each goes, and their raw values read, whatever a page or a program sends."""

from typing import Any

from ddpm_core import shelf
from ddpm_core.config import SAMPLERS
from ddpm_core.errors import StudioError, UsageError
from pages.texts import number, sentence, t

MOST = {"samples": 64, "frames": 64, "each": 16, "models": shelf.MOST_LOADED}
SAME = "same"  # class of a walk's end: as at its start
LARGEST_SEED = 2**53 - 1  # the largest whole number that a browser keeps exactly
MOST_STEPS = 1000
LONGEST_SLIDER = 200  # steps; more can be asked for by a recipe or a program


class Reading:
    """Catches the mistake in a form: `told` is its one line."""

    told = ""

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if isinstance(error, StudioError):
            self.told = sentence(error)
            return True
        return False


def how(steps: Any, sampler: Any) -> dict[str, Any]:
    """Steps and sampler as `request.How` takes them. Raises `UsageError`."""
    if sampler not in SAMPLERS:
        raise UsageError(t("generation.sampler.unknown", sampler=repr(sampler)[:40], known=", ".join(SAMPLERS)))
    return {"steps": whole("steps", steps, 1, MOST_STEPS, 20), "sampler": sampler}


def autoguided(card: shelf.Card, strength: Any) -> dict[str, Any]:
    """Guidance away from the young model as `request.How` takes it; nothing where it is 1, or where the run kept no snapshot (then the
    form does not show it). Raises `UsageError`.
    """
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 20:
        raise UsageError(t("generation.autoguidance.range", value=repr(strength)[:40]))
    young = shelf.young(card) if strength != 1 else None
    return {} if young is None else {"autoguidance": float(strength), "young": young}


def whole(name: str, value: Any, low: int, high: int, example: int) -> int:
    """A whole number from a form; 5.0 is 5. Raises `UsageError`."""
    if value is None or value == "":
        raise UsageError(t("error.empty", name=t("generation.name." + name), example=example))
    exact = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(exact, bool) or not isinstance(exact, int) or not low <= exact <= high:
        shown = repr(value)[:40]
        raise UsageError(
            t("generation.whole", name=t("generation.name." + name), value=shown, low=number(low), high=number(high))
        )
    return exact
