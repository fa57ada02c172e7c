import functools
import math

import pytest
import torch

from ddpm_core.diffusion import editing, latents, samplers, schedule
from ddpm_core.errors import UsageError

SHAPE, SEEDS = (3, 16, 16), [3, 1, 4]
LEVELS = schedule.cosine().levels(12, sigma_max=80.0)
ancestral = functools.partial(samplers.ddim, eta=1.0)
SAMPLERS = {"dpm++2m": samplers.dpmpp_2m, "ddim": samplers.ddim, "ancestral": ancestral}
MASK = torch.zeros(16, 16, dtype=torch.bool)
MASK[4:12, 7:] = True


def denoise(x, alpha, sigma):
    """About the belief where pictures are N(0, 0.5^2) and neighbours alike: the more noise, the more it asks around a pixel."""
    near = (x.roll(1, 2) + x.roll(-1, 2) + x.roll(1, 3) + x.roll(-1, 3)) / 4
    return alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * ((1 - 0.8 * sigma) * x + 0.8 * sigma * near)


def pictures():
    return (0.5 * latents.noise(range(70, 73), SHAPE)).clamp(-1, 1)


def noises(seeds=SEEDS):
    return {"noise": latents.noise(seeds, SHAPE), "step_noise": latents.step_noise(seeds, SHAPE)}


def redrawn(strength, sampler=samplers.dpmpp_2m, picture=None, seeds=SEEDS, levels=LEVELS):
    picture = pictures() if picture is None else picture
    return list(editing.redraw(denoise, sampler, picture, levels, strength, **noises(seeds)))


def filled(sampler=samplers.dpmpp_2m, picture=None, mask=MASK, seeds=SEEDS, ask=denoise, **options):
    picture = pictures() if picture is None else picture
    return list(editing.fill(ask, sampler, picture, mask, LEVELS, **noises(seeds), **options))


class TestRedraw:
    def test_strength_0_is_the_picture_itself_and_asks_nobody(self):
        def never(x, alpha, sigma):
            raise AssertionError("asked")

        (step,) = editing.redraw(never, samplers.ddim, pictures(), LEVELS, 0, noises()["noise"])
        assert torch.equal(step.x, pictures()) and (step.index, step.steps) == (1, 1)

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_strength_1_is_what_the_seed_draws_anyway(self, name):
        sampler = SAMPLERS[name]
        fresh = list(sampler(denoise, noises()["noise"], LEVELS, noise=noises()["step_noise"]))
        assert torch.equal(redrawn(1, sampler)[-1].x, fresh[-1].x)

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_the_stronger_the_further_from_the_picture(self, name):
        distances = [
            (redrawn(strength, SAMPLERS[name])[-1].x - pictures()).norm().item() for strength in (0.1, 0.4, 0.7, 1.0)
        ]
        assert distances == sorted(distances) and distances[0] < distances[-1] / 3

    def test_only_the_rest_of_the_staircase_is_walked(self):
        walks = {strength: redrawn(strength) for strength in (0.25, 0.5, 1.0)}
        assert {strength: len(walk) for strength, walk in walks.items()} == {0.25: 3, 0.5: 6, 1.0: 12}
        assert [step.index for step in walks[0.5]] == [1, 2, 3, 4, 5, 6] and walks[0.5][0].steps == 6

    def test_a_strength_is_the_same_noise_on_every_staircase_and_more_on_larger_pictures(self):
        asked = []

        def listening(x, alpha, sigma):
            asked.append(sigma / alpha)
            return denoise(x, alpha, sigma)

        for levels in (schedule.cosine().levels(100), schedule.linear().levels(100), schedule.linear().levels(200)):
            next(editing.redraw(listening, samplers.ddim, pictures(), levels, 0.5, noises()["noise"]))
        assert asked == pytest.approx([1, 1, 1], rel=0.1)
        large = latents.noise([1], (3, 64, 64))
        next(editing.redraw(listening, samplers.ddim, large, schedule.cosine().levels(100), 0.5, large))
        assert asked[-1] == pytest.approx(4, rel=0.1)

    @pytest.mark.parametrize("size", [16, 256])
    def test_every_row_of_a_staircase_has_its_strength(self, size):
        for levels in (LEVELS, schedule.linear().levels(100), schedule.cosine().levels(1000, 80.0, "karras")):
            for row in range(len(levels)):
                strength = editing.strength_of(row, levels, size)
                assert 0 <= strength <= 1 and editing.start_row(strength, levels, size) == row

    def test_one_picture_is_drawn_again_from_several_seeds(self):
        one = redrawn(0.6, picture=pictures()[0])[-1].x
        assert one.shape == (3, *SHAPE) and (one[0] - one[1]).abs().max() > 0.1
        assert torch.equal(one[0], redrawn(0.6)[-1].x[0])

    @pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan, "half", True, None])
    def test_a_strength_that_cannot_be_is_one_line(self, strength):
        with pytest.raises(UsageError, match=r"^strength is [^\n]*from 0 [^\n]*$"):
            editing.redraw(denoise, samplers.ddim, pictures(), LEVELS, strength, noises()["noise"])


class TestFill:
    @pytest.mark.parametrize("jumps", [0, 2])
    @pytest.mark.parametrize("name", SAMPLERS)
    def test_outside_the_mask_the_result_is_the_picture_exactly(self, name, jumps):
        end = filled(SAMPLERS[name], jumps=jumps)[-1].x
        assert torch.equal(end[:, :, ~MASK], pictures()[:, :, ~MASK])
        assert (end - pictures())[:, :, MASK].abs().max() > 0.1

    def test_what_the_picture_hides_under_the_mask_is_not_known(self):
        other = torch.where(MASK, torch.rand(()), pictures())
        assert torch.equal(filled(jumps=1)[-1].x, filled(jumps=1, picture=other)[-1].x)

    def test_it_is_drawn_to_fit_what_is_around_it(self):
        """Where neighbours are alike, a hole in white is filled lighter than the same hole, from the same seed, in black."""
        hole = torch.zeros(16, 16, dtype=torch.bool)
        hole[6:8, 6:8] = True
        light, dark = (filled(picture=torch.full(SHAPE, v), mask=hole)[-1].x[:, :, hole].mean() for v in (0.9, -0.9))
        assert light > dark + 0.1

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_the_known_part_is_as_noisy_as_its_level_on_the_way_down(self, name):
        picture = torch.full((3, 32, 32), 0.5)
        mask = torch.zeros(32, 32, dtype=torch.bool)
        mask[12:20, 12:20] = True
        noise, step_noise = latents.noise([1], (3, 32, 32)), latents.step_noise([1], (3, 32, 32))
        walk = editing.fill(
            denoise, SAMPLERS[name], picture, mask, LEVELS, noise, step_noise=step_noise, jumps=1, jump_length=3
        )
        rows = [*LEVELS[1:4], *LEVELS[1:4], *LEVELS[4:7], *LEVELS[4:7]]
        rows = [row for row in rows for _ in range(2 if name == "heun" else 1)]  # which shows each level twice
        for step, (alpha, sigma) in zip(walk, rows, strict=False):
            known = step.x[:, :, ~mask]
            assert known.mean().item() == pytest.approx(0.5 * alpha.item(), abs=0.05)
            assert known.std().item() == pytest.approx(sigma.item(), rel=0.05)
            assert torch.equal(
                step.x0[:, :, ~mask], picture[:, ~mask].unsqueeze(0)
            )  # a preview shows the picture whole

    @pytest.mark.parametrize(("jumps", "length"), [(0, 2), (1, 2), (3, 5), (2, 100)])
    def test_it_yields_after_every_call_and_knows_how_many_there_are(self, jumps, length):
        calls = []

        def counting(x, alpha, sigma):
            calls.append((alpha, sigma))
            return denoise(x, alpha, sigma)

        walk = editing.fill(counting, ancestral, pictures(), MASK, LEVELS, **noises(), jumps=jumps, jump_length=length)
        assert not calls
        for number, step in enumerate(walk, start=1):
            assert len(calls) == number == step.index and step.steps == 12 * (1 + jumps)
        assert len(calls) == 12 * (1 + jumps)
        assert calls[: min(length, 12)] == [tuple(row) for row in LEVELS[: min(length, 12)].tolist()]
        if jumps:  # the first steps again
            assert calls[min(length, 12)] == calls[0]

    @pytest.mark.parametrize(("jumps", "calls"), [(0, 24), (2, 72)])
    def test_a_sampler_that_asks_twice_a_step_is_counted_and_exact_too(self, jumps, calls):
        def twice(denoise, x, levels, *, noise=None, clip=True):
            for step in samplers.ddim(denoise, x, levels, noise=noise, clip=clip):
                steps = 2 * step.steps
                yield samplers.Step(2 * step.index - 1, steps, x, step.x0)
                x = step.x
                yield samplers.Step(2 * step.index, steps, x, step.x0)

        walk = filled(twice, jumps=jumps)
        assert [step.index for step in walk] == list(range(1, calls + 1)) and {step.steps for step in walk} == {calls}
        assert torch.equal(walk[-1].x[:, :, ~MASK], pictures()[:, :, ~MASK])

    @pytest.mark.parametrize(("jumps", "length"), [(0, 2), (1, 2), (2, 5), (0, 12), (1, 1)])
    def test_it_knows_how_many_calls_heun_makes(self, jumps, length):
        steps = filled(samplers.heun, jumps=jumps, jump_length=length)
        assert [(step.index, step.steps) for step in steps] == [(k + 1, 23 * (1 + jumps)) for k in range(len(steps))]
        assert len(steps) == 23 * (1 + jumps)

    def test_no_noise_is_drawn_twice(self):
        asked = []

        def listening(index):
            asked.append(index)
            return torch.zeros(3, *SHAPE)

        list(
            editing.fill(denoise, ancestral, pictures(), MASK, LEVELS, noises()["noise"], step_noise=listening, jumps=2)
        )
        # Twelve steps three times, less three that land on the picture and add none; twice up for each of six pairs.
        assert len(asked) == len(set(asked)) == 3 * 12 - 3 + 2 * 6

    def test_jumps_make_another_picture_and_need_noise(self):
        assert not torch.equal(filled(jumps=1)[-1].x, filled(jumps=0)[-1].x)
        with pytest.raises(ValueError, match="step_noise"):
            editing.fill(denoise, samplers.ddim, pictures(), MASK, LEVELS, noises()["noise"], jumps=1)

    def test_with_less_strength_what_is_under_the_mask_is_drawn_again(self):
        weak, strong = (filled(strength=strength)[-1].x - pictures() for strength in (0.1, 1.0))
        assert 0 < weak.norm() < strong.norm() / 2
        assert (weak[:, :, ~MASK] == 0).all()
        (step,) = filled(strength=0)
        assert torch.equal(step.x, pictures())

    @pytest.mark.parametrize(
        ("mask", "words"),
        [
            (torch.zeros(16, 16, dtype=torch.bool), "empty"),
            (torch.ones(16, 16, dtype=torch.bool), "whole picture"),
            (torch.ones(4, 9, dtype=torch.bool), "9 x 4, but the picture is 16 x 16"),
            (torch.ones(1, 16, 16, dtype=torch.bool), "draw the mask on this picture"),
        ],
    )
    def test_a_mask_that_cannot_be_is_one_line(self, mask, words):
        with pytest.raises(UsageError, match=rf"^the mask [^\n]*{words}[^\n]*$"):
            filled(mask=mask)


@pytest.mark.parametrize("kind", ["redraw", "fill"])
class TestBoth:
    def make(self, kind, picture, seeds=SEEDS):
        if kind == "redraw":
            return redrawn(0.6, ancestral, picture, seeds)
        return filled(ancestral, picture, MASK, seeds, jumps=1)

    def test_the_same_bits_alone_and_in_a_batch(self, kind):
        together = self.make(kind, pictures())[-1].x
        for i, seed in enumerate(SEEDS):
            assert torch.equal(self.make(kind, pictures()[i], [seed])[-1].x[0], together[i])

    def test_the_picture_is_left_alone(self, kind):
        picture = pictures()
        self.make(kind, picture)
        assert torch.equal(picture, pictures())

    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            ((3, 32, 16), "16 x 32 in colour, but the model draws 16 x 16 in colour"),
            ((1, 16, 16), "16 x 16 in grey, but the model draws 16 x 16 in colour"),
            ((3, 4, 16, 16), "16 x 16 in 4 channels"),
            ((16, 16), "16 x 16 in grey"),
            ((2, 3, 16, 16), "2 pictures for 3 seeds"),
        ],
    )
    def test_a_picture_that_does_not_fit_is_one_line(self, kind, shape, words):
        with pytest.raises(UsageError, match=rf"^the[^\n]*{words}[^\n]*$|^there are {words}[^\n]*$"):
            self.make(kind, torch.zeros(shape))
