import math

import pytest
import torch

from ddpm_core.diffusion import latents, mixing
from ddpm_core.errors import UsageError

SHAPE = (3, 32, 32)
SIZES = (32, 64, 96, 128, 256)


def some_weights(count, k):
    return torch.randn(count, k, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class TestMix:
    def test_one_weight_alone_gives_that_noise_exactly(self):
        noises = latents.noise([1, 2, 3], SHAPE)
        assert torch.equal(mixing.mix(noises, torch.eye(3)), noises)
        assert torch.equal(mixing.mix(noises, 7 * torch.eye(3)), noises)

    def test_every_mixture_is_standard_normal_whatever_the_weights(self):
        noises = latents.noise(range(5), (3, 64, 64))
        mixed = mixing.mix(noises, some_weights(40, 5))
        assert mixed.shape == (40, 3, 64, 64) and mixed.dtype == torch.float32
        assert ((mixed.flatten(1).std(1) - 1).abs() < 0.05).all() and (mixed.flatten(1).mean(1).abs() < 0.05).all()
        mean = (some_weights(40, 5).float() @ noises.flatten(1)) / 5  # a plain mean is not
        assert ((mean.flatten(1).std(1) - 1).abs() > 0.05).any()

    def test_it_is_the_formula(self):
        noises, weights = latents.noise(range(4), SHAPE).double(), some_weights(6, 4)
        expected = torch.einsum("nk,kchw->nchw", weights / weights.norm(dim=1, keepdim=True), noises)
        assert torch.allclose(mixing.mix(noises, weights), expected, atol=1e-12)

    def test_a_mixture_is_the_same_bits_alone_and_in_a_batch(self):
        noises, weights = latents.noise(range(4), SHAPE), some_weights(9, 4)
        together = mixing.mix(noises, weights)
        assert all(torch.equal(together[i : i + 1], mixing.mix(noises, weights[i : i + 1])) for i in range(9))

    def test_one_seed_at_several_corners_is_one_noise(self):
        """Taken for independent, two halves of one noise would come out 1.41 times too loud."""
        a, b = latents.noise([1, 2], SHAPE)
        mixed = mixing.mix(torch.stack([a, a]), mixing.line([0.25, 0.5]))
        assert torch.allclose(mixed, torch.stack([a, a]), atol=1e-6)
        three = mixing.mix(torch.stack([a, b, a]), torch.tensor([[0.3, 0.8, 0.3]]))
        assert torch.allclose(three, mixing.mix(torch.stack([a, b]), torch.tensor([[0.6, 0.8]])), atol=1e-6)

    def test_weights_that_leave_nothing_are_refused(self):
        noises = latents.noise([1, 2], SHAPE)
        for weights in ([[0.0, 0.0]], [[math.nan, 1.0]]):
            with pytest.raises(UsageError, match="weight"):
                mixing.mix(noises, torch.tensor(weights))
        with pytest.raises(UsageError, match="cancel"):
            mixing.mix(noises[[0, 0]], torch.tensor([[1.0, -1.0]]))


class TestWeights:
    def test_a_line_is_the_walk_of_the_latents(self):
        t = [0.0, 0.125, 0.3, 0.5, 0.9, 1.0]
        walk = latents.between(4, 9, t, SHAPE)
        assert torch.equal(mixing.mix(latents.noise([4, 9], SHAPE), mixing.line(t)), walk)

    def test_corners_are_exact_and_edges_are_lines(self):
        assert mixing.corners([0, 1, 0, 1], [0, 0, 1, 1]).tolist() == torch.eye(4).tolist()
        t = torch.linspace(0, 1, 7)
        line, none = mixing.line(t), torch.zeros(7, dtype=torch.float64)
        assert torch.equal(mixing.corners(t, 0), torch.stack([line[:, 0], line[:, 1], none, none], 1))
        assert torch.equal(mixing.corners(1, t), torch.stack([none, line[:, 0], none, line[:, 1]], 1))

    def test_a_grid_at_once_is_its_points_one_by_one(self):
        t = torch.linspace(0, 1, 5, dtype=torch.float64)
        grid = mixing.corners(t, t[:, None])
        assert grid.shape == (5, 5, 4)
        assert torch.allclose(grid.square().sum(-1), torch.ones(5, 5, dtype=torch.float64))
        for row, v in enumerate(t.tolist()):
            for column, u in enumerate(t.tolist()):
                assert torch.equal(grid[row, column], mixing.corners(u, v))
        assert grid[0, 4].argmax() == 1 and grid[4, 0].argmax() == 2  # right is u = 1, bottom is v = 1

    def test_shares_are_parts_of_one_whole(self):
        part = mixing.shares(mixing.corners(torch.rand(20), torch.rand(20)))
        assert torch.allclose(part.sum(-1), torch.ones(20, dtype=torch.float64)) and (part >= 0).all()
        assert mixing.shares(torch.tensor([0.0, 3.0])).tolist() == [0.0, 1.0]


class TestClasses:
    """What pictures between classes are told: -1 is any."""

    def test_at_the_ends_it_is_their_class_and_between_them_both_by_their_shares(self):
        first, between, last = mixing.classes([7, 2], mixing.line([0, 0.25, 1]))
        assert (first, last) == (7, 2)
        shares = mixing.shares(mixing.line(0.25)).tolist()
        assert list(between) == [7, 2] and list(between.values()) == shares

    def test_corners_of_one_class_count_together(self):
        centre, left, edge = mixing.classes([4, 1, 4, 3], mixing.corners([0.5, 0, 0.5], [0.5, 0.3, 0]))
        assert centre == pytest.approx({4: 0.5, 1: 0.25, 3: 0.25}) and left == 4 and set(edge) == {4, 1}

    def test_where_all_are_of_one_class_nothing_is_mixed(self):
        t = torch.linspace(0, 1, 9)
        assert (
            mixing.classes([3, 3], mixing.line(t)) == [3] * 9 and mixing.classes([-1, -1], mixing.line(t)) == [-1] * 9
        )

    def test_any_is_a_share_of_nothing_and_beside_a_class_it_is_no_mistake_of_guidance(self):
        assert mixing.classes([-1, 2], torch.eye(2)) == [{-1: 1.0}, 2]
        (half,) = mixing.classes([-1, 2], torch.ones(1, 2))
        assert half == pytest.approx({-1: 0.5, 2: 0.5})

    def test_an_end_may_be_a_mixture_itself(self):
        (told,) = mixing.classes([{0: 0.5, 1: 0.5}, 1], torch.ones(1, 2))
        assert told == pytest.approx({0: 0.25, 1: 0.75})


class TestInvertedNoise:
    """Noise as real pictures have it: bright, and quieter than 1, each in its own way."""

    def noises(self):
        offset = torch.tensor([[0.8, 0.5, 0.2], [0.6, 0.7, 0.9], [0.1, 0.4, 0.3], [0.5, 0.5, 0.5]])[..., None, None]
        return latents.noise(range(4), SHAPE) * torch.tensor([0.9, 0.7, 1.1, 0.8])[:, None, None, None] + offset

    def test_normalising_can_be_undone(self):
        noises = self.noises()
        noise, mean, std = mixing.normalised(noises)
        assert mean.shape == std.shape == (4, 3, 1, 1)
        assert noise.mean((2, 3)).abs().max() < 1e-6 and (noise.std((2, 3), correction=0) - 1).abs().max() < 1e-6
        assert torch.allclose(noise * std + mean, noises, atol=1e-6)

    def test_a_channel_without_noise_does_not_divide_by_zero(self):
        noise, mean, std = mixing.normalised(torch.full((1, 1, 4, 4), 0.5))
        assert torch.equal(noise * std + mean, torch.full((1, 1, 4, 4), 0.5))

    def test_mixing_neither_piles_up_means_nor_changes_the_spread(self):
        noises = self.noises()
        weights = torch.full((1, 4), 0.5)
        mean = mixing.mix_inverted(noises, weights).mean((2, 3))
        assert torch.allclose(mean, noises.mean((2, 3)).mean(0, keepdim=True), atol=0.05)
        piled = mixing.mix(noises, weights).mean((2, 3))
        assert torch.allclose(piled, 2 * mean, atol=0.1)  # what a mixture of four without it would have
        spread = mixing.mix_inverted(noises, weights).std((2, 3))
        assert torch.allclose(spread, noises.var((2, 3)).mean(0, keepdim=True).sqrt(), atol=0.03)

    def test_one_weight_alone_gives_that_noise_exactly(self):
        noises = self.noises()
        assert torch.equal(mixing.mix_inverted(noises, mixing.corners([0, 1, 0, 1], [0, 0, 1, 1])), noises)

    def test_of_true_noise_it_is_nearly_the_plain_mixture(self):
        noises = latents.noise(range(3), (3, 64, 64))
        difference = mixing.mix_inverted(noises, some_weights(8, 3)) - mixing.mix(noises, some_weights(8, 3))
        assert difference.std() < 0.05


class TestSizes:
    @pytest.mark.parametrize(("large", "small"), [(64, 32), (96, 32), (128, 32), (128, 64), (256, 32), (256, 128)])
    def test_means_of_the_large_noise_are_the_small_noise(self, large, small):
        noise, k = mixing.noise_at_sizes(7, SIZES), large // small
        means = noise[large].reshape(3, small, k, small, k).mean((2, 4)) * k
        assert torch.allclose(means, noise[small], atol=2e-6)

    def test_sizes_of_which_none_divides_the_other_agree_in_large_shapes(self):
        noise = mixing.noise_at_sizes(7, [64, 96])
        coarse = [torch.nn.functional.avg_pool2d(noise[size], size // 32) * (size // 32) for size in (64, 96)]
        assert torch.allclose(*coarse, atol=2e-6)

    def test_the_smallest_is_the_noise_the_seed_has_anyway(self):
        assert torch.equal(mixing.noise_at_sizes(7, [128, 64])[64], latents.noise([7], (3, 64, 64))[0])
        assert torch.equal(mixing.noise_at_sizes(7, [32], channels=1)[32], latents.noise([7], (1, 32, 32))[0])

    def test_a_size_does_not_depend_on_the_others(self):
        everything = mixing.noise_at_sizes(3, SIZES)
        for size in SIZES[1:]:
            assert torch.equal(mixing.noise_at_sizes(3, [size, 32])[size], everything[size])
        assert everything[256].dtype == torch.float32

    @pytest.mark.parametrize("size", SIZES)
    def test_each_is_white_noise(self, size):
        """Variance one; no two neighbours know each other, inside a block or across its border."""
        noise = torch.stack([mixing.noise_at_sizes(seed, [32, size])[size] for seed in range(12)])
        bound = 5 / math.sqrt(noise.numel())  # five standard errors
        assert abs(noise.mean().item()) < bound and abs(noise.var().item() - 1) < bound * math.sqrt(2)
        assert abs((noise**4).mean().item() - 3) < bound * math.sqrt(96)  # the fourth moment of a normal, variance 96
        for dx, dy in [(1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (3, 0), (4, 4)]:
            there = noise.roll((dy, dx), (2, 3))
            assert abs((noise * there).mean().item()) < bound, (dx, dy)
        within = noise.unfold(2, size // 32, size // 32).unfold(3, size // 32, size // 32).flatten(4)
        if size > 32:  # two given pixels of every block
            assert abs((within[..., 0] * within[..., 1]).mean().item()) < 5 / math.sqrt(within[..., 0].numel())

    def test_the_grey_noise_of_a_colour_noise_is_standard_normal(self):
        colour = latents.noise(range(16), (3, 32, 32))
        grey = mixing.grey(colour)
        assert grey.shape == (16, 1, 32, 32) and abs(grey.std().item() - 1) < 0.02
        assert torch.allclose(grey[:, 0], colour.sum(1) / math.sqrt(3), atol=1e-6)


class TestShared:
    def test_each_seed_has_its_noise_at_the_models_size_and_grey_models_the_mean_of_the_colours(self):
        for size in (32, 64):
            noise = mixing.shared([4, 9], [32, 64], size, 3)
            assert noise.shape == (2, 3, size, size)
            assert torch.equal(noise[1], mixing.noise_at_sizes(9, [32, 64])[size])
            assert torch.equal(mixing.shared([4, 9], [32, 64], size, 1), mixing.grey(noise))
