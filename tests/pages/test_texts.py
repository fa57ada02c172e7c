"""Every text that the code asks for exists, and every text that exists is asked for."""

import re
from pathlib import Path

import pytest

from pages import texts

HERE = Path(__file__).resolve().parents[2]
PYTHON = "\n".join(path.read_text() for path in [*HERE.glob("pages/**/*.py"), HERE / "studio.py"])
SCRIPTS = "\n".join(path.read_text() for path in HERE.glob("assets/*.js"))
# Keys that are put together: "state." + run.state
PREFIXES = set(re.findall(r"""["'`]([a-z]+(?:\.[a-z]+)*\.)(?:["']\s*\+|\{|\$\{)""", PYTHON + SCRIPTS)) - {"training."}
WHOLE = set(re.findall(r"""["'`]([a-z]+\.[a-z_.-]+)["'`]""", PYTHON + SCRIPTS))


def test_every_text_is_used():
    fields = re.findall(r"""(?:_words|_number|_choice|_switch|_part)\(["']([a-z_]+)["']""", PYTHON)
    made = {f"training.{name}{end}" for name in fields for end in ("", ".why")}
    options = {f"training.{name}." for name in re.findall(r"""_choice\(["']([a-z_]+)["']""", PYTHON)}
    used = (*PREFIXES, *options)
    unused = [key for key in texts.words() if key not in WHOLE | made and not key.startswith(used)]
    assert not unused


def test_every_key_in_a_call_exists():
    asked = set(re.findall(r"""\bt\(\s*["']([^"'{}]+?)["']\s*[,)]""", PYTHON + SCRIPTS))
    assert len(asked) > 40  # the pattern still finds the calls
    assert asked <= set(texts.words())


def test_no_key_stands_twice():
    """JSON would silently take the last."""
    keys = re.findall(r'^  "([^"]+)":', (HERE / "assets" / "locales" / "en.json").read_text(), re.MULTILINE)
    assert len(keys) > 300 and sorted(set(keys)) == sorted(keys)


def test_texts_are_one_line_and_plain():
    for key, text in texts.words().items():
        assert text == text.strip() and "\n" not in text and "<" not in text, key


def test_unknown_key_is_an_error():
    with pytest.raises(KeyError):
        texts.t("no.such.text")


def test_numbers_and_durations():
    assert [texts.number(n) for n in (1234567, 0.12345, 12.0)] == ["1,234,567", "0.123", "12"]
    spoken = [texts.duration(s) for s in (0, 59.4, 61, 7260, 90_000)]
    assert spoken == ["0 s", "59 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("to go on ask for more, --epochs 60.", 'To go on ask for more, "Epochs" 60.'),
        ("see it at 32 px (--size=32) first", 'See it at 32 px ("Side in pixels" 32) first'),
        ("or without mixed precision (--no-amp).", 'Or without mixed precision ("Mixed precision" off).'),
        ("continue it with --resume, or name it", 'Continue it with "Start from", or name it'),
        ("it would fit with --size 64 --preset small", 'It would fit with "Side in pixels" 64 "Model" small'),
        ("do this: python train_high_res.py --resume --name=x", "Do this: python train_high_res.py --resume --name=x"),
        ("no --sizes and --output-dir are here", "No --sizes and --output-dir are here"),
    ],
)
def test_flags_of_the_command_line_are_the_forms_fields_on_the_page(said, shown):
    assert texts.sentence(said) == shown


def test_an_error_becomes_a_sentence():
    assert [texts.sentence(text) for text in (ValueError("toys is gone: train one."), "a", "", None)] == [
        "Toys is gone: train one.", "A", "", "",
    ]  # fmt: skip
