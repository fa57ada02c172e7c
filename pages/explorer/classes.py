"""What the classes of a model are called: its file says it, and is not loaded for that."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from ddpm_core import shelf
from ddpm_core.errors import UsageError
from pages.explorer.stream import Asked, Shown
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.session import Session

ANY = "any"  # of a picture whose class the model is not told


def make(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: model. Told: classes, the names in their order; none where the model knows no classes."""
    known = list(shelf.find(session.root, asked.get("model")).classes)
    yield lambda: {"classes": known, "done": 1}


def guided(which: Sequence[Any], guidance: Any) -> dict[str, Any]:
    """Choices of a page, "any" or a number as text each, and the guidance towards them, as `request.How` takes them; nothing where
    any class will do for all. Raises `UsageError`.
    """
    told = [_number(one) for one in which]
    if max(told) < 0:
        return {}
    if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not 0 <= guidance <= 20:
        raise UsageError(t("generation.guidance.range", value=repr(guidance)[:40]))
    return {"classes": told, **({"guidance": float(guidance)} if guidance != 1 else {})}


def _number(which: Any) -> int:
    if which in (None, "", ANY):
        return -1
    if not str(which).isdecimal() or len(str(which)) > 6:
        raise UsageError(t("generation.class.unknown", which=repr(which)[:40]))
    return int(which)
