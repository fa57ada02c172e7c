"""Every word on the screen, from assets/locales/. Python asks with `t`, the page's JavaScript gets the same words."""

import json
import re
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"
# Flags of train_high_res.py, and the key of the field that does the same.
FIELDS = {
    "amp": "amp", "batch-size": "batch_size", "class-conditional": "class_conditional", "compile": "compile", "data-on": "data_on",
    "dataset": "dataset", "epochs": "epochs", "from-model": "start_from", "max-steps": "max_steps", "micro-batch": "micro_batch",
    "name": "name", "preset": "preset", "resume": "start_from", "size": "side",
}  # fmt: skip
_FLAG = re.compile(rf"--(?P<off>no-)?(?P<flag>{'|'.join(FIELDS)})\b(?P<is>=)?")


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
    """What an error says, beginning with a capital, in the page's words; "" for None."""
    text = in_the_form(str(error or ""))
    return text[:1].upper() + text[1:]


def in_the_form(text: str) -> str:
    """What ddpm_core says, with the form's fields for the flags of the command line; a whole command stays as it is."""

    def field(found: re.Match[str]) -> str:
        label = f'"{t("training." + FIELDS[found["flag"]])}"'
        return f"{label} off" if found["off"] else label + (" " if found["is"] else "")

    return text if "python " in text else _FLAG.sub(field, text)


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
