"""Every word on the screen, from assets/locales/. Python asks with `t`, the page's JavaScript gets the same words."""

import json
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"


@cache
def words(language: str = "en") -> dict[str, str]:
    """All texts of a language by key."""
    return json.loads((ASSETS / "locales" / f"{language}.json").read_text(encoding="utf-8"))


def t(key: str, **values: object) -> str:
    """The text for `key` with its {places} filled. Raises KeyError for a key that nobody wrote."""
    text = words()[key]
    return text.format(**values) if values else text


def number(value: float) -> str:
    """A number for a sentence: three digits, or all of them when it is whole."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def sentence(error: object) -> str:
    """What an error says, beginning with a capital; "" for None."""
    text = str(error or "")
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Seconds as a person says them: "42 s", "3 min 5 s", "2 h 10 min"."""
    s = max(0, round(seconds))
    if s < 60:
        return t("time.seconds", s=s)
    if s < 3600:
        return t("time.minutes", m=s // 60, s=s % 60)
    if s < 86400:
        return t("time.hours", h=s // 3600, m=s % 3600 // 60)
    return t("time.days", d=s // 86400, h=s % 86400 // 3600)


def stopwatch(seconds: float) -> str:
    """Seconds with a digit behind the point where that says something."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
