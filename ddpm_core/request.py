"""How pictures are to be drawn: all of a request but its seeds, checked before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddpm_core.config import DEFAULT_STEPS, SAMPLERS, SPACING_OF
from ddpm_core.diffusion import samplers
from ddpm_core.diffusion.guidance import EVERYWHERE, Interval, check, check_scale
from ddpm_core.errors import UsageError

if TYPE_CHECKING:
    from ddpm_core.generator import Generator

ANY_CLASS = -1  # of a picture whose class the network is not told
Told = int | Mapping[int, float]  # what a picture shall show: a class, or a mixture {class: share}, 1 together


@dataclass(frozen=True)
class How:
    """Raises `UsageError` for what cannot work."""

    steps: int = DEFAULT_STEPS  # 1 to 1000, see `samplers.calls` for the network calls
    sampler: str = SAMPLERS[0]
    spacing: str | None = None  # one of config.SPACINGS; None for the one that suits the sampler best
    eta: float = 0.0  # 0 to 1, for ddim alone: how much of the noise is drawn anew at each step
    # For a model that knows classes: of all pictures, or one for each; -1 = any. May be mixtures (diffusion/mixing.py).
    classes: int | Sequence[Told] | None = None
    # 0 to 20: how much more of the class than the model learned; a step is two network calls then.
    guidance: float = 1.0
    guidance_interval: Interval = EVERYWHERE  # only at these noise levels sigma / alpha, (low, high]
    # 0 to 20: how far away from what the model drew when it was young (`Generator.early`). Needs no classes; in the middle of the
    # walk a step is one network call more.
    autoguidance: float = 1.0
    # The training step of the snapshot that this is; None for the earliest one that the run kept.
    young: int | None = None

    def __post_init__(self) -> None:
        samplers.by_name(self.sampler)
        check(self.guidance, self.guidance_interval)
        check_scale("autoguidance", self.autoguidance)
        eta = self.eta
        if isinstance(eta, bool) or not isinstance(eta, int | float) or not 0 <= eta <= 1:
            raise UsageError(f"eta is {eta!r}: choose a number from 0 to 1.")
        if eta and self.sampler != "ddim":
            raise UsageError(f"eta is for the sampler ddim: leave it away for {self.sampler}.")

    @property
    def staircase(self) -> str:
        return self.spacing or SPACING_OF[self.sampler]

    @property
    def options(self) -> dict[str, Any]:
        """What the sampler is told beside network, noise and levels."""
        return {"eta": self.eta} if self.eta else {}

    @property
    def adds_noise(self) -> bool:
        return self.eta > 0 or self.sampler in samplers.STOCHASTIC

    def for_model(self, generator: "Generator", count: int) -> list[Told]:
        """The class of each of `count` pictures, or what they are mixed of. Raises `UsageError` for what this model cannot do."""
        each = self._classes(count, generator.model.config.network.classes)
        if self.guidance != 1 and ANY_CLASS in each:
            raise UsageError(
                "guidance needs a class to guide to: leave it at 1, or choose autoguidance, which needs none."
            )
        if self.autoguidance != 1:
            generator.snapshot(self.young)
        return each

    def _classes(self, count: int, known: int) -> list[Told]:
        if self.classes is None:
            return [ANY_CLASS] * count
        each: list[Told] = [self.classes] * count if isinstance(self.classes, int) else list(self.classes)
        if len(each) != count:
            raise UsageError(f"there are {len(each)} classes for {count} pictures: give one, or one for each.")
        for told in each:
            shares = told if isinstance(told, Mapping) else None
            if not known and told != ANY_CLASS:
                raise UsageError("this model knows no classes: leave them away, or train one with classes.")
            for which in [told] if shares is None else shares:
                if isinstance(which, bool) or not isinstance(which, int) or not ANY_CLASS <= which < known:
                    raise UsageError(
                        f"class {which!r} is not one of this model's: choose 0 to {known - 1}, or -1 for any."
                    )
            if shares is not None and not _is_whole(list(shares.values())):
                raise UsageError(f"a mixture of classes has shares {list(shares.values())}: make them 1 together.")
        return each


def _is_whole(shares: list[float]) -> bool:
    return min(shares, default=0) >= 0 and abs(sum(shares) - 1) < 1e-6
