"""OpenMoji is drawn whole: every emoji one glyph, none blank, none cut off, each in its Unicode group."""

import numpy as np
import pytest

from ddpm_core.data import catalogue, openmoji
from ddpm_core.data.openmoji import OpenMoji
from ddpm_core.data.source import Look
from ddpm_core.errors import UsageError


def _number(*code_points: int) -> int:
    return [sequence for sequence, _ in openmoji._emojis()].index(code_points)


def _one(size: int, *code_points: int) -> np.ndarray:
    (picture, _), *rest = OpenMoji().draw(size, [_number(*code_points)])
    assert not rest
    return picture


def test_all_4495_are_there_and_every_one_belongs_to_a_group():
    info = catalogue.describe("openmoji", "nowhere")
    assert info.pictures == 4495 and info.channels == 3
    assert info.classes == openmoji.GROUPS
    assert "CC BY-SA 4.0" in info.about
    counts = [
        catalogue.describe(f"openmoji:{openmoji.group_slug(group)}", "nowhere").pictures for group in openmoji.GROUPS
    ]
    assert sum(counts) == 4495 and min(counts) > 50


def test_every_emoji_has_a_glyph_of_its_own():
    import io

    from fontTools.ttLib import TTFont

    glyph_of = TTFont(io.BytesIO(openmoji._font())).getBestCmap()
    glyphs = [glyph_of[openmoji._PRIVATE_PLANE + i] for i in range(4495)]
    assert len(set(glyphs)) == 4495


def test_a_group_is_drawn_and_nothing_is_blank_doubled_or_cut_off():
    pictures, labels = zip(*OpenMoji("food-drink").draw(32), strict=True)
    images = np.stack(pictures)
    assert images.shape == (142, 3, 32, 32) and images.dtype == np.uint8
    assert set(labels) == {0}
    ink = (images < 128).any(axis=1)
    assert ink.any(axis=(1, 2)).all(), "a picture is blank"
    assert not (ink[:, 0].any() or ink[:, -1].any() or ink[:, :, 0].any() or ink[:, :, -1].any()), (
        "one touches the border"
    )
    assert len({picture.tobytes() for picture in pictures}) == 142, (
        "two pictures are the same, as missing glyphs would be"
    )


def test_drawings_are_centred_and_fill_the_square():
    for size in (32, 64, 128):
        ink = (_one(size, 0x1F600) < 250).any(axis=0)  # a grinning face is round
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        assert abs((rows[0] + rows[-1]) / 2 - (size - 1) / 2) <= 1
        assert abs((columns[0] + columns[-1]) / 2 - (size - 1) / 2) <= 1
        assert 0.7 * size < len(rows) < 0.97 * size


def test_outlines_stay_black_and_colours_true_at_32_pixels():
    face = _one(32, 0x1F600).astype(int)
    assert (face.max(axis=0) < 60).sum() > 20, "no dark outline"
    yellow = (face[0] > 230) & (face[1] > 200) & (face[2] < 100)
    assert yellow.sum() > 150
    assert (face[:, 0, 0] == 255).all(), "the background is white"


def test_emojis_of_several_code_points_become_one_picture():
    scientist = _one(64, 0x1F468, 0x1F3FB, 0x200D, 0x1F52C)
    man = _one(64, 0x1F468, 0x1F3FB)
    assert (scientist != man).mean() > 0.05
    france = _one(32, 0x1F1EB, 0x1F1F7).astype(int)
    left, middle, right = france[:, 16, 6], france[:, 16, 16], france[:, 16, 26]
    assert left[2] > left[0] + 60 and middle.min() > 240 and right[0] > right[2] + 60, "blue, white, red"


def test_on_another_background_the_drawing_is_the_same():
    number = [_number(0x1F600)]
    (white, _), (black, _), (grey, _) = (
        next(OpenMoji(look=look).draw(32, number))
        for look in (Look(), Look(background="black"), Look(background="grey", colour="grey"))
    )
    assert (white[:, 0, 0] == 255).all() and (black[:, 0, 0] == 0).all() and grey.shape == (1, 32, 32)
    assert grey[0, 0, 0] == 128
    yellow = (white[0] > 230) & (white[1] > 200) & (white[2] < 100)
    assert yellow.sum() > 150
    difference = white[:, yellow].astype(int) - black[:, yellow]
    assert abs(difference).max() <= 12, "but for the soft edges, where the background shines through"
    assert OpenMoji(look=Look(background="black")).slug == "openmoji-black"


def test_labels_are_unicode_groups():
    labels = {number: label for number, (_, label) in enumerate(openmoji._emojis())}
    for group, code_points in {
        "Smileys & Emotion": (0x1F600,),
        "People & Body": (0x1F468, 0x1F3FB, 0x200D, 0x1F52C),
        "Animals & Nature": (0x1F436,),
        "Flags": (0x1F1EB, 0x1F1F7),
    }.items():
        assert openmoji.GROUPS[labels[_number(*code_points)]] == group
    assert [label for _, label in OpenMoji().draw(16, [_number(0x1F436)])] == [
        openmoji.GROUPS.index("Animals & Nature")
    ]


def test_drawing_twice_gives_the_same_and_picks_agree_with_the_whole():
    source = OpenMoji("activities")
    first = [picture.tobytes() for picture, _ in source.draw(16)]
    assert first == [picture.tobytes() for picture, _ in source.draw(16)]
    assert [picture.tobytes() for picture, _ in source.draw(16, [3, 80])] == [first[3], first[80]]


@pytest.mark.parametrize("name", ["food-drink", "Food & Drink", "FOOD AND DRINK", " food-drink "])
def test_a_group_may_be_written_in_many_ways(name):
    assert OpenMoji(name).info.key == "openmoji:food-drink"


@pytest.mark.parametrize("name", ["", "cats", "food"])
def test_an_unknown_group_lists_the_groups(name):
    with pytest.raises(UsageError, match="smileys-emotion.*flags"):
        OpenMoji(name)
