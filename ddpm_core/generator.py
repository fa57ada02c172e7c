"""A trained model that makes pictures: samples from seeds, walks between two seeds, and what lies between four.

A seed gives the same picture, bit for bit, alone or among a thousand. Much goes into that (network/drawing.py); what is left to do
here is to call the network only with as many pictures at once as are known to give the same bits (`Generator.sizes`), the
last call filled up with blanks where it must be. Arithmetic is float32 for the same reason.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddpm_core import checkpoint, devices, pictures, recipes
from ddpm_core.config import DEFAULT_STEPS, MOST_PICTURES, SAMPLERS
from ddpm_core.diffusion import guidance, latents, mixing, objective, samplers, schedule
from ddpm_core.errors import UsageError
from ddpm_core.network import drawing
from ddpm_core.network.unet import UNet
from ddpm_core.request import ANY_CLASS, How, Told
from ddpm_core.runs import Run

MOST_HANDS = 8  # network calls side by side
Turn = Callable[[], AbstractContextManager]
Walk = Callable[..., Iterator["Preview"]]


@dataclass(frozen=True)
class Preview:
    """Where a request stands after a network call. Costs nothing until somebody looks at its pictures; keep as many as you like.

    The tensors inside must not be changed in place: the walk goes on from them.
    """

    step: int  # steps that all pictures have behind them, 0..steps
    steps: int  # network calls for each picture (two for each step of Heun's)
    done: float  # part of the network calls made so far, above 0; 1.0 at the last
    even: bool  # all pictures are at the same step: a stop of the whole grid's trajectory
    rows: Tensor  # int64 (N,): where in the parts below, one after the other, the pictures are
    states: tuple[Tensor, ...]
    beliefs: tuple[Tensor, ...]

    @property
    def x(self) -> Tensor:
        """Float32 (N, C, H, W): the noisy states; at the last step the finished pictures."""
        return torch.cat(self.states)[self.rows]

    @property
    def x0(self) -> Tensor:
        """Float32 (N, C, H, W) in [-1, 1]: the pictures that the network believes in so far; at the last step the same."""
        return torch.cat(self.beliefs)[self.rows]

    @cached_property
    def pictures(self) -> np.ndarray:
        """uint8 (N, H, W, C): these beliefs as pictures; at the last step the finished ones."""
        return self._in_order(self.beliefs)

    @cached_property
    def noisy(self) -> np.ndarray:
        """uint8 (N, H, W, C): the pictures with the noise that they still have; at the last step none."""
        return self._in_order(self.states)

    def _in_order(self, parts: tuple[Tensor, ...]) -> np.ndarray:
        # By numpy, which computes on one core: whoever looks may be a thread of the server, and one of those that has ever computed
        # on several with torch slows every run beside it for as long as it lives (see `drawing.hands`).
        return np.concatenate([pictures.to_uint8(part) for part in parts])[self.rows.cpu().numpy()]


class Generator:
    """One model, ready on one device.

    `turn()` is entered around the network calls that are made at once, so that a training run on the same device gets its turns
    too. On a processor these are as many as it has cores, of pictures that are drawn side by side.
    """

    def __init__(self, model: checkpoint.Model, path: Path | str, device: torch.device, turn: Turn) -> None:
        self.model, self.path, self.device, self.turn = model, Path(path), device, turn
        self.size, self.channels = model.config.size, model.channels
        self.schedule = schedule.by_name(model.config.schedule)
        self._young: Generator | None = None
        # A new network draws random weights from torch's one global generator, and so may a training step (dropout).
        with turn():
            network = UNet(model.config.network, model.channels)
            checkpoint.load_weights(network, model.weights, path)
            self.network = drawing.ready(network, device)
            most = _most_at_once(self.network, self.size, device)
            self.sizes = drawing.alike(self.network, self.shape, [2**n for n in range(most.bit_length())])
            # Those who draw side by side, a core each; a large network keeps all cores busy by itself.
            self.hands = min(torch.get_num_threads(), MOST_HANDS) if device.type == "cpu" and most > 1 else 1
            if self.hands > 1 and not drawing.alike_by_hand(self.network, self.shape, self.sizes, self.hands):
                self.hands = 1

    @classmethod
    def load(cls, path: Path | str, device: str = "auto", turn: Turn = contextlib.nullcontext) -> "Generator":
        """From a model file. Raises `CheckpointError` for a file that is no model, `UsageError` for a device that is not here."""
        chosen = devices.choose(device)
        return cls(checkpoint.load_model(path), path, chosen, turn)

    def early(self, step: int | None = None) -> "Generator":
        """This model as it was at training `step`, by its run's snapshot of that step; without one the earliest that is kept. The
        last one asked for stays loaded.

        Raises `UsageError` if there is none, `CheckpointError` for a file that is no snapshot or not of this network.
        """
        path, _ = self.snapshot(step)
        if self._young is None or self._young.path != path:
            self._young = None  # before the new one comes: a large model should not be there three times
            content = checkpoint.load_snapshot(path)
            model = dataclasses.replace(self.model, weights=content["weights"][0], step=content["step"])
            self._young = Generator(model, path, self.device, self.turn)
        return self._young

    def snapshot(self, step: int | None = None) -> tuple[Path, int]:
        """What `early` loads: the file of this model's run, and the step that it is of. Raises `UsageError` if there is none."""
        found = None
        with contextlib.suppress(UsageError):  # a folder that is no run's has no snapshots
            found = Run.of(self.path).young(self.model.step, step)
        if found is None:
            why = "no early snapshot beside" if step is None else f"no snapshot of step {step:,} any more beside"
            raise UsageError(f"there is {why} {self.path}, which autoguidance goes away from: leave it at 1.")
        return found

    def sample(
        self,
        seeds: Sequence[int],
        steps: int = DEFAULT_STEPS,
        sampler: str = SAMPLERS[0],
        beside: Sequence[int] = (),
        **how: Any,
    ) -> Iterator[Preview]:
        """One picture a seed, 1 to 1024 of them; how else is in `request.How`: spacing, eta, classes, guidance.

        `beside` are the sizes of the models whose pictures these are shown beside, this one's among them: all begin with the same
        large shapes then, see `mixing.shared`.

        All pictures advance together, step by step. Yields after every step; stop asking, and it has stopped. Raises
        `UsageError`, before any work, for a request that cannot work.
        """
        _check_count("samples", len(seeds), 1)
        walk = self.walker(steps, sampler, **how)
        return walk(
            mixing.shared(seeds, beside or [self.size], self.size, self.channels),
            lambda rows: latents.step_noise([seeds[row] for row in rows], self.shape),
        )

    def interpolate(
        self,
        seed_a: int,
        seed_b: int,
        frames: int = 9,
        steps: int = DEFAULT_STEPS,
        sampler: str = SAMPLERS[0],
        classes: int | Sequence[Told] | None = None,
        **how: Any,
    ) -> Iterator[Preview]:
        """A walk from seed_a's picture to seed_b's in 2 to 1024 frames, both ends included. Two `classes` are those of its ends,
        and mixed between them (`mixing.classes`); one is the class of all frames. Otherwise like `sample`.
        """
        _check_count("frames", frames, 2)
        weights = np.linspace(0, 1, frames).tolist()
        if isinstance(classes, Sequence) and len(classes) == 2:
            classes = self._mixed(classes, mixing.line(weights))
        walk = self.walker(steps, sampler, classes=classes, **how)
        return walk(
            latents.between(seed_a, seed_b, weights, self.shape),
            lambda rows: latents.step_noise_between(seed_a, seed_b, [weights[row] for row in rows], self.shape),
        )

    def pad(
        self,
        seeds: Sequence[int],
        places: Sequence[Sequence[float]],
        steps: int = DEFAULT_STEPS,
        sampler: str = SAMPLERS[0],
        classes: int | Sequence[Told] | None = None,
        **how: Any,
    ) -> Iterator[Preview]:
        """Pictures at 1 to 1024 places (across, down), 0 to 1 each, of a pad with four seeds at its corners: top left, top right,
        bottom left, bottom right. Of one class all of them, or of mixtures of the corners' four. Otherwise like `walker`'s.
        """
        if len(seeds) != 4:
            raise UsageError(f"there are {len(seeds)} seeds for the four corners of a pad: give one for each.")
        _check_count("places", len(places), 1)
        across, down = torch.tensor(places, dtype=torch.float64).T
        weights = mixing.corners(across, down)
        if isinstance(classes, Sequence):
            if len(classes) != 4:
                raise UsageError(f"there are {len(classes)} classes for the four corners of a pad: give one for each.")
            classes = self._mixed(classes, weights)
        walk, fresh = self.walker(steps, sampler, classes=classes, **how), latents.step_noise(seeds, self.shape)
        return walk(
            mixing.mix(latents.noise(seeds, self.shape), weights),
            lambda rows: lambda index: mixing.mix(fresh(index), weights[rows]),
        )

    def walker(self, steps: int = DEFAULT_STEPS, sampler: str = SAMPLERS[0], **how: Any) -> Walk:
        """walk(noise (N, C, H, W), fresh) -> previews. Checks the request now, and that it fits at the walk's first word; a walk
        begins when its first preview is asked for.

        fresh(rows) is the noise that these pictures' steps add, see `samplers`. Left out it is made from the pictures' own
        first noise: the same start is the same picture. (Two starts that are close have unlike noise then.)
        """
        asked = How(steps, sampler, **how)
        levels = self.schedule.levels(asked.steps, self.model.config.sigma_max, asked.staircase)

        def walk(noise: Tensor, fresh: Callable[[Sequence[int]], samplers.Noise] | None = None) -> Iterator[Preview]:
            classes, noise = asked.for_model(self, len(noise)), noise.cpu()
            return self._previews(
                asked, levels, classes, noise, fresh or (lambda rows: latents.noise_after(noise[rows]))
            )

        return walk

    @property
    def about(self) -> dict[str, Any]:
        """The model as a recipe names it: its run, file, hash, training steps and side in pixels."""
        # A file may have any name on a command line; in a recipe a plain one stands for it, and the hash says which it is.
        name = re.sub(r"[^A-Za-z0-9._-]", "-", self.path.stem).lstrip("._-")[:90] or "model"
        made_by = {"run": self.model.config.name, "model": name + ".pt", "hash": self.model.hash}
        return {**made_by, "trained_steps": self.model.step, "size": self.size}

    def recipe(self, what: str, **request: Any) -> dict[str, Any]:
        """What a PNG should say about itself: the model, and the request in the terms of recipes.py.

        Raises `UsageError` for a request that is none.
        """
        return recipes.compose(what, **{**self.about, **request})

    def denoise(self, which: int | Sequence[Mapping[int, float]] = ANY_CLASS) -> objective.Denoise:
        """The network as samplers want it, about pictures of one class: also for walks that begin elsewhere than at noise
        (diffusion/editing.py, inversion.py). A picture's bits are the same in every batch whose size is one of `sizes`.

        Or about pictures of mixtures of classes: of one mixture, or, where they can be drawn `apart`, of one each.
        """
        network, prediction = drawing.told_once(self.network), self.model.config.prediction
        if not isinstance(which, int):
            return objective.denoiser(network, prediction, classes=self.network.mixed(which))
        told = {} if which == ANY_CLASS else {"classes": torch.tensor([which], device=self.device)}
        return objective.denoiser(network, prediction, **told)

    @cached_property
    def apart(self) -> bool:
        """Whether pictures that are each told something else can be drawn in one network call, with the bits that they have alone."""
        probe = self.network, self.shape, self.sizes
        with self.turn():
            if not drawing.alike_told_apart(*probe):
                return False
            return self.hands == 1 or drawing.hands(self.hands).submit(drawing.alike_told_apart, *probe).result()

    @property
    def shape(self) -> latents.Shape:
        return self.channels, self.size, self.size

    def _previews(
        self,
        how: How,
        levels: Tensor,
        classes: Sequence[Told],
        noise: Tensor,
        fresh: Callable[[Sequence[int]], samplers.Noise],
    ) -> Iterator[Preview]:
        sample, calls = samplers.by_name(how.sampler), samplers.calls(how.sampler, how.steps)
        mixed = any(isinstance(told, Mapping) for told in classes)
        # Here and not before: who asks for the first preview has the turn, where turns are taken outside.
        young = self.early(how.young) if how.autoguidance != 1 else None
        apart = mixed and len(noise) > 1 and self.apart and (young is None or young.apart)
        walks: list[Iterator[samplers.Step]] = []
        states: list[Tensor] = []
        order = torch.empty(len(noise), dtype=torch.int64)
        for rows, size in self._parts(classes, apart):
            order[rows] = torch.arange(len(rows)) + sum(map(len, states))
            blanks = noise.new_zeros(size - len(rows), *noise.shape[1:])
            states.append(torch.cat([noise[rows], blanks]).to(self.device))
            more = {"noise": _beside(fresh(rows), blanks, self.device)} if how.adds_noise else {}
            denoise = self._guided(_together([classes[row] for row in rows], size), how, young)
            walks.append(sample(denoise, states[-1], levels, **more, **how.options))
        beliefs, rows_of = list(states), order.to(self.device)  # noise is the first picture shown
        call, parts = 0, range(len(walks))
        for step in range(calls):
            for first in parts[:: self.hands]:
                together = parts[first : first + self.hands]
                with self.turn():
                    made = self._advance([walks[i] for i in together])
                for i, after in zip(together, made, strict=True):
                    states[i], beliefs[i] = after.x, after.x0
                    call, even = call + 1, i == parts[-1]
                    done = call / (calls * len(parts))
                    yield Preview(step + even, calls, done, even, rows_of, tuple(states), tuple(beliefs))

    def _advance(self, walks: Sequence[Iterator[samplers.Step]]) -> list[samplers.Step]:
        """The next step of each, side by side."""
        if len(walks) == 1:
            return [_next(walks[0])]  # with all cores
        made = [drawing.hands(self.hands).submit(_next, walk) for walk in walks]
        futures.wait(made)  # all of them, also where one fails: the turn is over then
        return [step.result() for step in made]

    def _parts(self, classes: Sequence[Told], apart: bool = False) -> Iterator[tuple[list[int], int]]:
        """(rows, size): which pictures are drawn together, all of one class or mixture if not `apart`, and how many with the
        blanks beside them."""
        fair = math.ceil(len(classes) / self.hands)  # so that there is something to do for all hands
        kinds: dict[Any, list[int]] = {}
        for row, told in enumerate(classes):
            kind = None if apart else tuple(told.items()) if isinstance(told, Mapping) else told
            kinds.setdefault(kind, []).append(row)
        for rows in kinds.values():
            while rows:
                size = next((size for size in self.sizes if size <= min(fair, len(rows))), self.sizes[-1])
                yield rows[:size], size
                rows = rows[size:]

    def _mixed(self, ends: Sequence[Told], weights: Tensor) -> list[Told]:
        """What pictures are told that lie between these ends. Raises `UsageError` for ends that this model does not know."""
        How(classes=ends).for_model(self, len(ends))
        return mixing.classes(ends, weights)

    def _guided(
        self, which: int | Sequence[Mapping[int, float]], how: How, young: "Generator | None"
    ) -> objective.Denoise:
        belief = self.denoise(which)
        if how.guidance != 1:
            belief = guidance.guided(belief, self.denoise(), how.guidance, how.guidance_interval)
        return guidance.autoguided(belief, young.denoise(which), how.autoguidance) if young else belief


def _most_at_once(network: UNet, size: int, device: torch.device) -> int:
    """Pictures in one network call: as many as keep it well under 0.3 s, by arithmetic, never by the clock.

    A processor gains nothing beyond sixteen; two cores do about 60e9 operations a second. On a graphics card sixteen small
    pictures take hardly longer than one, and the bound is for a small card.
    """
    budget = 15e9 if device.type == "cpu" else 4e12
    weights = sum(weight.numel() for weight in network.parameters())
    # A multiplication and an addition a weight and place would be 2; most weights work on the smaller maps further down.
    operations = 2 / 3 * weights * (size // network.patch) ** 2
    return max(1, min(16, int(budget // operations)))


def _together(each: Sequence[Told], size: int) -> int | list[Mapping[int, float]]:
    """What the pictures of one network call are told: one thing if it is the same for all, else one each, and blanks nothing."""
    if isinstance(each[0], int) and all(told == each[0] for told in each):
        return each[0]
    mixtures = [{told: 1.0} if isinstance(told, int) else told for told in each]
    if all(told == mixtures[0] for told in mixtures):
        return mixtures[:1]
    return [*mixtures, *[{}] * (size - len(each))]


def _next(walk: Iterator[samplers.Step]) -> samplers.Step:
    with torch.inference_mode():
        return next(walk)


def _beside(noise: samplers.Noise, blanks: Tensor, device: torch.device) -> samplers.Noise:
    """The pictures' noise, and none for the blanks beside them."""
    return lambda index: torch.cat([noise(index), blanks]).to(device)


def _check_count(what: str, count: Any, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not least <= count <= MOST_PICTURES:
        raise UsageError(f"{what} is {count!r}: choose a whole number from {least} to {MOST_PICTURES}.")
