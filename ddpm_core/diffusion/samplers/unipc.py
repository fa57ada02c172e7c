"""UniPC (Zhao et al. 2023, arXiv 2302.04867): predict the step, then take it again with what the network said at its end."""

from collections.abc import Iterator

from torch import Tensor

from ddpm_core.diffusion.objective import Denoise
from ddpm_core.diffusion.samplers.polynomial import mean_belief
from ddpm_core.diffusion.samplers.walk import Noise, Step, belief, half_logsnr, move, staircase

ORDER = 3


def unipc(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """UniPC-3, of predicted beliefs, with B(h) = e^h - 1 ("bh2"): one network call a step. Adds no noise.

    The predictor is a parabola through the last three beliefs. Once the network was asked at the step's end, the step is
    taken again from its start, with that belief as a fourth point: a better state for nothing, from which the next step goes
    on. (The network is not asked again at the corrected state: its belief there is taken to be the same.) The order rises from 1
    over the first steps, and falls to 1 over the last ones to (1, 0).
    """
    falls = levels[-1, 1].item() == 0
    before, behind, order = x, (0.0, 1.0), 0  # where the last step began, and its order
    past: list[tuple[Tensor, float]] = []  # beliefs and their lambdas, the newest first
    for index, steps, here, there in staircase(levels):
        x0 = belief(denoise(x, *here), clip)
        start, end = half_logsnr(here), half_logsnr(there)
        if past:
            corrector = [(x0, start), *past[:order]]
            x = move(before, behind, here, mean_belief(corrector, past[0][1], start - past[0][1]))
        before, behind = x, here
        past = [(x0, start), *past][:ORDER]
        order = min(len(past), steps - index + 1) if falls else len(past)
        guess = mean_belief(past[:order], start, end - start) if order > 1 else x0
        x = move(x, here, there, guess)
        yield Step(index, steps, x, x0)
