"""The head carries all that the page needs, and nothing from outside."""

import re

import pytest

from pages import look
from pages.texts import ASSETS


def test_every_script_is_in_the_head():
    head = look.head()
    for path in ASSETS.glob("*.js"):
        assert path.name in look.SCRIPTS
        assert path.read_text() in head
    assert "http://" not in head.replace("http://127.0.0.1", "") and "https://" not in head


def test_a_text_cannot_end_the_script(monkeypatch):
    monkeypatch.setattr(look, "words", lambda: {"x": "</script><b>"})
    assert look.head().count("</script>") == 1


def test_what_moves_is_said_how_and_no_bar_glides():
    css = (ASSETS / "studio.css").read_text()
    used = set(re.findall(r"animation: ([\w-]+)", css)) - {"none"}
    assert used == set(re.findall(r"@keyframes ([\w-]+)", css))
    assert not re.search(r"progress[^}]*transition", css)  # drawn sixty times a second while it glides


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two colours like #0f6c7b."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("selector", [":root", ".dark"])
def test_words_can_be_read_on_their_ground(selector):
    css = (ASSETS / "studio.css").read_text()
    block = re.search(re.escape(selector) + r" \{(.*?)\}", css, re.S)[1]
    colours = dict(re.findall(r"--studio-([a-z-]+): (#[0-9a-f]{6})", block))
    for ink in ("text", "soft", "accent", "good", "wait", "bad"):
        for ground in ("card", "page", "accent-soft"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
