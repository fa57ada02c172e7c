import torch

from ddpm_core.diffusion import latents

SHAPE = (3, 32, 32)


def test_a_seed_is_the_same_noise_in_any_batch():
    together = latents.noise([5, 0, 7, 5], SHAPE)
    assert together.shape == (4, *SHAPE) and together.dtype == torch.float32
    assert torch.equal(together[2:3], latents.noise([7], SHAPE))
    assert torch.equal(together[0], together[3])
    assert not torch.equal(together[0], together[1])


def test_noise_is_standard_normal_and_seeds_are_independent():
    noise = latents.noise(range(64), SHAPE)
    assert abs(noise.mean().item()) < 0.01 and abs(noise.std().item() - 1) < 0.01
    correlation = torch.corrcoef(noise.flatten(1)) - torch.eye(64)
    assert correlation.abs().max() < 0.1


def test_the_global_generator_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = latents.noise([3], SHAPE)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(latents.noise([3], SHAPE), first)


def test_step_noise_belongs_to_seed_and_step():
    noise = latents.step_noise([4, 9], SHAPE)
    assert torch.equal(noise(3), noise(3))
    assert not torch.equal(noise(3), noise(4))
    assert torch.equal(latents.step_noise([9], SHAPE)(3)[0], noise(3)[1])
    assert not torch.equal(noise(0), latents.noise([4, 9], SHAPE))


def test_between_starts_and_ends_at_the_seeds_and_stays_standard_normal():
    weights = [0.0, 0.25, 0.5, 0.75, 1.0]
    walk = latents.between(1, 2, weights, SHAPE)
    a, b = latents.noise([1, 2], SHAPE)
    assert torch.equal(walk[0], a) and torch.equal(walk[-1], b)
    assert ((walk.flatten(1).std(1) - 1).abs() < 0.05).all()  # a straight mix would have 0.71 in the middle
    distances = [(walk[i + 1] - walk[i]).norm().item() for i in range(4)]
    assert max(distances) / min(distances) < 1.05  # even steps


def test_a_walk_from_a_seed_to_itself_stays_where_it_is():
    walk = latents.between(5, 5, [0, 0.3, 1], SHAPE)
    steps = latents.step_noise_between(5, 5, [0, 0.3, 1], SHAPE)(2)
    assert all(torch.equal(stop, latents.noise([5], SHAPE)[0]) for stop in walk)
    assert all(torch.equal(stop, latents.step_noise([5], SHAPE)(2)[0]) for stop in steps)


def test_the_noise_of_steps_between_two_seeds_is_mixed_as_the_start_is():
    weights = [0.0, 0.25, 0.5, 1.0]
    walk = latents.step_noise_between(1, 2, weights, SHAPE)
    a, b = latents.step_noise([1, 2], SHAPE)(7)
    assert torch.equal(walk(7)[0], a) and torch.equal(walk(7)[-1], b)
    assert not torch.equal(walk(7), walk(8))
    assert ((walk(7).flatten(1).std(1) - 1).abs() < 0.05).all()


def test_a_start_without_a_seed_is_its_own_seed():
    noise = latents.noise([1, 2, 1], SHAPE)
    after = latents.noise_after(noise)
    assert torch.equal(after(3)[0], after(3)[2]) and not torch.equal(after(3)[0], after(3)[1])
    assert torch.equal(latents.noise_after(noise[1:2])(3)[0], after(3)[1])
    assert not torch.equal(after(3), after(4)) and abs(after(3).std().item() - 1) < 0.05
