"""Classes as a person names them become the numbers that a model was told. Knows no torch."""

import difflib
from collections.abc import Sequence

from ddpm_core.errors import UsageError

ANY = "any"  # of a picture whose class the network is not told: request.ANY_CLASS
_SHOWN = 20  # names in a sentence


def numbers(named: Sequence[str], names: Sequence[str], known: int) -> list[int]:
    """The number of each named class, -1 for "any". `known` is how many classes the network can be asked for, `names` what
    they are called, in their order; there may be none.

    A name goes before a number: the digits of MNIST are called 0 to 9. Upper and lower case are one where that is no
    question. Raises `UsageError`, one line, for a class that there is not, and for a model without any.
    """
    if not known:
        raise UsageError("this model knows no classes: leave --classes away, or train one with --class-conditional.")
    return [_number(each, list(names)[:known], known) for each in named]


def _number(named: str, names: list[str], known: int) -> int:
    if named in names:
        return names.index(named)
    alike = [number for number, name in enumerate(names) if name.lower() == named.lower()]
    if len(alike) == 1:
        return alike[0]
    if named.lower() == ANY:
        return -1
    if named.isascii() and named.isdigit() and len(named) < 10 and int(named) < known:
        return int(named)
    near = difflib.get_close_matches(named, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    there = ", ".join(names[:_SHOWN]) + (f", ... ({known} of them)" if known > _SHOWN else "") if names else "no names"
    raise UsageError(
        f"{named!r} is no class of this model: {hint}It knows {there}; or give a number from 0 to {known - 1}, or any."
    )
