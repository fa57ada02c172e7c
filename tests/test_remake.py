"""A recipe finds its models and makes the same pictures, or is refused in one line."""

import shutil

import numpy as np
import pytest

from ddpm_core import recipes, remake
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator


@pytest.fixture
def best(tmp_path, toy_run):
    return toy_run(tmp_path, "toys")


def recipe_of(path, what="sample", **fields):
    about = {"run": "toys", "model": path.name, "hash": recipes.model_hash(path), "trained_steps": 1482, "size": 16}
    return recipes.compose(what, **{**about, "sampler": "ddim", "steps": 3, "seeds": [5, 6], **fields})


def refused(call, *given):
    with pytest.raises(UsageError) as caught:
        call(*given)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 300 and line.endswith(".")
    return line


class TestModels:
    def test_by_its_name(self, tmp_path, best):
        assert [card.key for card in remake.models(tmp_path, recipe_of(best))] == ["toys/ddpm_best.pt"]

    def test_by_its_hash_where_it_was_renamed_or_moved(self, tmp_path, best, toy_run):
        recipe = recipe_of(best)
        best.rename(best.with_name("ddpm_final.pt"))
        assert [card.key for card in remake.models(tmp_path, recipe)] == ["toys/ddpm_final.pt"]
        other = toy_run(tmp_path, "other", seed=1)
        shutil.move(best.with_name("ddpm_final.pt"), other)
        assert [card.key for card in remake.models(tmp_path, recipe)] == ["other/ddpm_best.pt"]

    def test_one_that_was_trained_on_is_refused(self, tmp_path, best, toy_run):
        recipe = recipe_of(best)
        toy_run(tmp_path, "toys", seed=1)
        line = refused(remake.models, tmp_path, recipe)
        assert line.startswith("the model toys/ddpm_best.pt has changed since") and recipe["hash"] in line

    def test_one_that_is_damaged_is_refused(self, tmp_path, best):
        recipe = recipe_of(best)
        best.write_bytes(best.read_bytes()[:-9])
        assert "none, it is damaged" in refused(remake.models, tmp_path, recipe)

    def test_a_run_or_a_file_that_is_not_here_is_told(self, tmp_path, best, toy_run):
        recipe = recipe_of(best)
        assert "the run elsewhere " in refused(
            remake.models, tmp_path, {**recipe, "run": "elsewhere", "hash": "0" * 12}
        )
        best.unlink()
        assert "the run toys that made" in refused(remake.models, tmp_path, recipe)
        toy_run(tmp_path, "toys", seed=1).rename(best.with_name("ddpm_final.pt"))
        assert "has no model ddpm_best.pt any more" in refused(remake.models, tmp_path, recipe)

    def test_all_of_a_comparison_in_their_order(self, tmp_path, best, toy_run):
        second = toy_run(tmp_path, "second", size=32)
        one, two = recipe_of(best), recipe_of(second, run="second", size=32)
        models = [{key: part[key] for key in ("run", "model", "hash", "trained_steps", "size")} for part in (two, one)]
        recipe = recipes.compose("compare", models=models, sampler="ddim", steps=3, seeds=[1])
        assert [card.run for card in remake.models(tmp_path, recipe)] == ["second", "toys"]

    def test_one_whose_recipe_has_another_size_is_refused(self, tmp_path, best, toy_run):
        line = refused(remake.models, tmp_path, recipe_of(best, size=8))
        assert line.startswith("the model toys/ddpm_best.pt draws 16 x 16 pixels, and this recipe says 8")
        model = {key: recipe_of(best)[key] for key in ("run", "model", "hash", "trained_steps", "size")}
        models = [model, {**model, "size": 4096}]  # their common noise alone would be 200 MB a seed
        recipe = recipes.compose("compare", models=models, sampler="ddim", steps=3, seeds=[1])
        assert "this recipe says 4096" in refused(remake.models, tmp_path, recipe)


class TestWalk:
    def test_the_same_seeds_give_the_same_pictures(self, best):
        generator = Generator.load(best, "cpu")
        made = list(remake.walk(recipe_of(best, seeds=[9, 2]))(generator))[-1].pictures
        assert np.array_equal(made, list(generator.sample([9, 2], steps=3, sampler="ddim"))[-1].pictures)

    def test_a_walk_too(self, best):
        generator = Generator.load(best, "cpu")
        mix = np.linspace(0, 1, 5)[:, None].tolist()
        made = list(remake.walk(recipe_of(best, "interpolate", mix=mix))(generator))[-1].pictures
        assert np.array_equal(made, list(generator.interpolate(5, 6, 5, steps=3, sampler="ddim"))[-1].pictures)

    @pytest.mark.parametrize("mix", [[[0.3, 0.7]], [[0, 0], [0.2, 0.6], [1, 1]]])
    def test_a_place_on_the_pad_and_a_film_too(self, best, mix):
        generator = Generator.load(best, "cpu")
        made = list(remake.walk(recipe_of(best, "pad", seeds=[5, 6, 7, 8], mix=mix))(generator))[-1].pictures
        expected = list(generator.pad([5, 6, 7, 8], mix, steps=3, sampler="ddim"))[-1].pictures
        assert made.shape[0] == len(mix) and np.array_equal(made, expected)

    def test_between_classes(self, tmp_path, toy_run):
        path = toy_run(tmp_path, "toys", classes=4)
        generator, how = Generator.load(path, "cpu"), {"steps": 3, "sampler": "ddim", "guidance": 2.0}
        for classes in ([1, 3], [None, 2], [1, 1, 1]):  # the last one as older versions wrote it
            recipe = recipe_of(path, "interpolate", mix=[[0], [0.5], [1]], classes=classes, guidance=2.0)
            made = list(remake.walk(recipe)(generator))[-1].pictures
            ends = [-1 if classes[0] is None else classes[0], classes[-1]]
            assert np.array_equal(made, list(generator.interpolate(5, 6, 3, classes=ends, **how))[-1].pictures)
            assert not np.array_equal(
                made[1], list(generator.interpolate(5, 6, 3, **{**how, "guidance": 1}))[-1].pictures[1]
            )
        fields = {"seeds": [5, 6, 7, 8], "mix": [[0, 0], [0.2, 0.6]], "classes": [1, None, 3, 0], "guidance": 2.0}
        made = list(remake.walk(recipe_of(path, "pad", **fields))(generator))[-1].pictures
        expected = list(generator.pad(fields["seeds"], fields["mix"], classes=(1, -1, 3, 0), **how))[-1].pictures
        assert np.array_equal(made, expected)

    @pytest.mark.parametrize("mix", [[[0]], [[0], [0.4], [1]], [[1], [0]], [[0], [0.9]]])
    def test_another_way_than_evenly_is_refused(self, best, mix):
        assert "another way than evenly" in refused(remake.walk, recipe_of(best, "interpolate", mix=mix))

    @pytest.mark.parametrize(
        ("what", "fields", "words"),
        [
            ("redraw", {"pictures": ["0" * 16], "level": 1.0}, r"kind \(redraw\)"),
            ("interpolate", {"seeds": None, "pictures": ["0" * 16] * 2, "mix": [[0], [1]]}, "own ones"),
            ("interpolate", {"pictures": ["0" * 16] * 2, "mix": [[0], [1]]}, "made with pictures"),
            ("sample", {"sampler": "magic"}, "the sampler magic"),
        ],
    )
    def test_what_cannot_be_set_is_never_left_out(self, best, what, fields, words):
        import re

        assert re.search(words, refused(remake.walk, recipe_of(best, what, **fields)))


class TestParts:
    def test_a_grid_is_one_part(self, best):
        generator = Generator.load(best, "cpu")
        (part,) = remake.parts(recipe_of(best))(generator)
        assert (part.share, part.count) == (1, 2)
        assert np.array_equal(list(part.walk)[-1].pictures, list(generator.sample([5, 6], 3, "ddim"))[-1].pictures)

    def test_of_a_comparison_each_model_has_its_own_pictures(self, best):
        model = {key: recipe_of(best)[key] for key in ("run", "model", "hash", "trained_steps", "size")}
        recipe = recipes.compose("compare", models=[model, model], sampler="ddim", steps=3, seeds=[1, 2, 3])
        (part,) = remake.parts(recipe)(Generator.load(best, "cpu"))
        assert part.count == 3 == len(list(part.walk)[-1].pictures)

    def test_steps_side_by_side_are_a_part_each(self, best):
        generator = Generator.load(best, "cpu")
        recipe = recipe_of(best, "steps", seeds=[5], sampler=["ddim", "heun"], steps=[2, 3])
        parts = list(remake.parts(recipe)(generator))
        assert [part.share for part in parts] == [part / 13 for part in (2, 3, 3, 5)]
        asked = [("ddim", 2), ("ddim", 3), ("heun", 2), ("heun", 3)]
        for part, (sampler, steps) in zip(parts, asked, strict=True):
            assert np.array_equal(
                list(part.walk)[-1].pictures, list(generator.sample([5], steps, sampler))[-1].pictures
            )

    @pytest.mark.parametrize(
        ("what", "fields", "words"),
        [
            ("redraw", {"pictures": ["0" * 16], "level": 1.0, "eta": 0.5}, "made with eta"),
            ("redraw", {"pictures": ["0" * 16], "level": 1.0, "sampler": "magic"}, "the sampler magic"),
            ("redraw", {"pictures": ["0" * 16] * 2, "level": 1.0}, "from 2 own ones"),
            ("redraw", {"pictures": ["0" * 16], "level": 1.0}, "the picture that this was made from is not here"),
            ("fill", {"pictures": ["0" * 16], "mask": "0" * 16}, "the picture that this was made from is not here"),
            ("interpolate", {"seeds": None, "pictures": ["0" * 16] * 2, "mix": [[0], [1]]}, "first picture .* is not here"),
            ("interpolate", {"pictures": ["0" * 16] * 2, "mix": [[0], [1]]}, "made with seeds"),
            ("steps", {"seeds": [1, 2], "sampler": ["ddim"], "steps": [3]}, "has 2 seeds"),
            ("steps", {"seeds": [1], "sampler": ["ddim", "magic"], "steps": [3]}, "the sampler magic"),
            ("ema", {"ema": [0.1], "guidance": 2.0}, "made with guidance"),
            ("trajectory", {"stops": [1, 2]}, "has 2 seeds"),
            ("trajectory", {"seeds": [1], "stops": [1, 4]}, "a walk of 3 network calls does not make"),
            ("trajectory", {"seeds": [1], "stops": [1, 6], "sampler": "heun"}, "a walk of 5 network calls"),
            ("trajectory", {"seeds": [1], "stops": [1, 1, 3]}, "in this order"),
            ("trajectory", {"seeds": [1], "stops": [3, 1]}, "in this order"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_set_is_never_left_out(self, tmp_path, best, what, fields, words):
        import re

        assert re.search(words, refused(remake.parts, recipe_of(best, what, **fields), tmp_path))

    def test_a_noise_level_between_two_steps_is_refused(self, tmp_path, best):
        from ddpm_core import own_pictures

        picture = np.zeros((16, 16, 3), np.uint8)
        own_pictures.keep(tmp_path, "toys", [picture])
        recipe = recipe_of(best, "redraw", pictures=[recipes.picture_hash(picture)], level=1.2345)
        parts = remake.parts(recipe, tmp_path)(Generator.load(best, "cpu"))
        assert "noise level 1.2345, where none of 3 steps" in refused(next, parts)


def test_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, ddpm_core.remake, ddpm_core.sheet, ddpm_core.trajectory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_everything_that_a_recipe_can_say_about_sampling_is_set_again(best):
    recipe = recipe_of(best, spacing="karras", guidance=2.0, classes=[1, None], interval=[0.1, 5.0])
    assert remake.how(recipe) == {
        "sampler": recipe["sampler"],
        "steps": recipe["steps"],
        "spacing": "karras",
        "guidance": 2.0,
        "classes": [1, -1],
        "guidance_interval": (0.1, 5.0),
    }
