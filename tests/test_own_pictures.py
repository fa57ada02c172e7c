"""A person's own pictures as the network saw them: each once, whole or not at all, and gone with the last that names them."""

import numpy as np
import pytest

from ddpm_core import atomic, gallery, own_pictures, pictures, recipes
from ddpm_core.errors import DataError, UsageError

MODEL = {"run": "toys", "model": "ddpm_best.pt", "hash": "0123456789ab", "trained_steps": 9, "size": 8}


def some(seed, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (8, 8, channels), dtype=np.uint8)


def kept(root, *own, seed=0):
    """A redrawn picture in the gallery, with those that it was made from."""
    recipe = recipes.compose(
        "redraw", **MODEL, sampler="ddim", steps=5, level=1.0, seeds=[seed], pictures=[recipes.picture_hash(own[0])]
    )
    return gallery.keep(root, pictures.to_png_bytes(some(9), recipe=recipe), recipe, own)


@pytest.mark.parametrize("picture", [some(0), some(0, 1), some(0, 1) // 128])
def test_what_is_kept_is_found_by_its_hash_pixel_by_pixel(tmp_path, picture):
    own_pictures.keep(tmp_path, "toys", [picture])
    found = own_pictures.find(tmp_path, "toys", recipes.picture_hash(picture))
    assert found.dtype == np.uint8 and np.array_equal(found, picture)


def test_each_lies_there_once(tmp_path):
    own_pictures.keep(tmp_path, "toys", [some(0), some(0), some(1)])
    path = tmp_path / "samples/toys/own" / f"{recipes.picture_hash(some(0))}.png"
    stamp = path.stat().st_mtime_ns
    own_pictures.keep(tmp_path, "toys", [some(0)])
    assert len(list(path.parent.iterdir())) == 2 and path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x"),
                                   lambda path: path.write_bytes(pictures.to_png_bytes(some(5)))])  # fmt: skip
def test_one_that_is_gone_or_another_by_now_is_one_line_and_kept_anew(tmp_path, spoil):
    picture = some(0)
    digest = recipes.picture_hash(picture)
    own_pictures.keep(tmp_path, "toys", [picture])
    spoil(tmp_path / f"samples/toys/own/{digest}.png")
    with pytest.raises(UsageError, match="the mask that this was made from is not here") as caught:
        own_pictures.find(tmp_path, "toys", digest, "mask")
    assert f"{digest}.png back" in str(caught.value) and "\n" not in str(caught.value)
    own_pictures.keep(tmp_path, "toys", [picture])
    assert np.array_equal(own_pictures.find(tmp_path, "toys", digest), picture)


def test_they_go_with_the_last_picture_that_names_them(tmp_path):
    one, other = some(0), some(1)
    first, second, third = kept(tmp_path, one), kept(tmp_path, one, seed=1), kept(tmp_path, other)
    there = lambda: {path.stem for path in (tmp_path / "samples/toys/own").iterdir()}  # noqa: E731
    names = [recipes.picture_hash(picture) for picture in (one, other)]
    gallery.remove(tmp_path, first.key)
    assert there() == set(names)
    gallery.remove(tmp_path, third.key)
    assert there() == {names[0]}
    gallery.remove(tmp_path, second.key)
    assert there() == set()


def test_a_mask_and_two_ends_go_too(tmp_path):
    mask, ends = some(2, 1) // 128, [some(0), some(1)]
    hashes = [recipes.picture_hash(picture) for picture in (*ends, mask)]
    how = {"sampler": "ddim", "steps": 5}
    fill = recipes.compose("fill", **MODEL, **how, seeds=[1], pictures=hashes[:1], mask=hashes[2])
    walk = recipes.compose("interpolate", **MODEL, **how, pictures=hashes[:2], mix=[[0], [1]])
    filled, walked = (
        gallery.keep(tmp_path, pictures.to_png_bytes(some(9), recipe=recipe), recipe, own)
        for recipe, own in ((fill, [ends[0], mask]), (walk, ends))
    )
    gallery.remove(tmp_path, filled.key)
    assert {path.stem for path in (tmp_path / "samples/toys/own").iterdir()} == set(hashes[:2])
    gallery.remove(tmp_path, walked.key)
    assert not list((tmp_path / "samples/toys/own").iterdir())


def test_other_pictures_take_nothing_with_them(tmp_path):
    own_pictures.keep(tmp_path, "toys", [some(0)])
    recipe = recipes.compose("sample", **MODEL, sampler="ddim", steps=5, seeds=[1])
    entry = gallery.keep(tmp_path, pictures.to_png_bytes(some(9), recipe=recipe), recipe)
    gallery.remove(tmp_path, entry.key)
    assert len(list((tmp_path / "samples/toys/own").iterdir())) == 1


def test_where_there_are_too_many_it_says_so_and_the_picture_itself_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(own_pictures, "MOST_KEPT", 1)
    kept(tmp_path, some(0))
    with pytest.raises(UsageError, match="there are 1 own pictures in .*: delete"):
        kept(tmp_path, some(1), seed=1)
    assert len(gallery.history(tmp_path)) == 2 and len(list((tmp_path / "samples/toys/own").iterdir())) == 1


def test_a_full_disk_is_one_line_and_nothing_is_half_written(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "RESERVE", 1 << 60)
    with pytest.raises(DataError, match="cannot keep your own picture") as caught:
        own_pictures.keep(tmp_path, "toys", [some(0)])
    assert "\n" not in str(caught.value) and not list((tmp_path / "samples/toys/own").iterdir())


def test_links_lead_nowhere(tmp_path):
    (tmp_path / "samples/toys").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "samples/toys/own").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link"):
        own_pictures.keep(tmp_path, "toys", [some(0)])
    assert not list((tmp_path / "elsewhere").iterdir())
