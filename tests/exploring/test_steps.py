"""One seed under several samplers and numbers of steps."""

from ddpm_core.diffusion import samplers
from ddpm_core.exploring import steps


def test_calls_are_the_samplers_own():
    for sampler in ("ddim", "heun", "ddpm"):
        assert steps.calls([sampler], [1, 7]) == samplers.calls(sampler, 1) + samplers.calls(sampler, 7)
    assert steps.calls(["ddim", "heun"], [2, 3]) == 2 + 3 + 3 + 5
