"""What the Generation tab makes: samples, walks between two seeds, comparisons. Tested without a browser.

Each is checked, worked on by relay.py, drawn while it sharpens, and at last kept in the gallery.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpm_core import gallery, pictures, recipes, sheet, shelf, trajectory
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.trajectory import Trajectory
from pages import drawing, fields
from pages.choices import label
from pages.explorer import classes
from pages.explorer import models as models_view
from pages.explorer.classes import ANY
from pages.explorer.files import made_by, pace, sharp, to_save
from pages.relay import Relay, Shots, Told
from pages.texts import number, stopwatch, t

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview
    from ddpm_core.session import Session


class Maker:
    """Answers the tab's buttons; `page` says who asks. Every answer is a dict for the canvas, the last one with busy false."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.relay = Relay(session)

    def generate(
        self,
        page: str,
        model: Any,
        samples: Any,
        seed: Any,
        steps: Any,
        sampler: Any,
        which: Any = ANY,
        guidance: Any = 1.0,
        autoguidance: Any = 1.0,
    ) -> Iterator[Told]:
        """One picture a seed, from `seed` on; of one class and guided to it, where the model knows classes; guided away from the
        young model, where the run kept it."""
        with fields.Reading() as wrong:
            card = shelf.find(self.session.root, model)
            count = fields.whole("samples", samples, 1, fields.MOST["samples"], 16)
            first = fields.whole("seed", seed, 0, fields.LARGEST_SEED - count, 0)
            how = fields.how(steps, sampler) | classes.guided([which] * count, guidance)
            how |= fields.autoguided(card, autoguidance)
        if wrong.told:
            yield self.relay.refuse(page, wrong.told)
            return
        seeds = range(first, first + count)
        trail = Trajectory()

        def walk(made: "Generator") -> "Iterator[Preview]":
            noise = trajectory.noise_of(made, seeds)
            return trail.watch(made, noise, how["steps"], made.sample(seeds, **how), how["sampler"])

        def draw(shots: Shots) -> Told:
            return {"view": "grid", "grid": _grid(shots[0], _alt(first, count))}

        def finish(shots: Shots, seconds: str) -> Told:
            made = _pictures(shots[0])
            recipe = shots[0].generator.recipe("sample", run=card.run, seeds=list(seeds), **how)
            kept = self._keep(f"{card.run}_seed{first}_{count}", recipe, [made])
            line = t("generation.done" if count > 1 else "generation.done.one", **_seeds(first, count), seconds=seconds)
            grid = _grid(shots[0], _alt(first, count), recipe) | drawing.cells(made)
            grid |= {"seeds": list(seeds), "key": kept.key, "trail": self.session.trails.put(trail)}
            return {"view": "grid", "grid": grid, "files": [kept.file], "line": line + kept.note}

        yield from self.relay.work(page, [card], walk, draw, finish)

    def interpolate(
        self, page: str, model: Any, seed_a: Any, seed_b: Any, frames: Any, steps: Any, sampler: Any,
        which: Any = ANY, guidance: Any = 1.0, which_end: Any = fields.SAME, autoguidance: Any = 1.0,
    ) -> Iterator[Told]:  # fmt: skip
        """A walk between two seeds, and two classes: all frames sharpen together, then one scrubs through them."""
        with fields.Reading() as wrong:
            card = shelf.find(self.session.root, model)
            a, b = (fields.whole("seed", seed, 0, fields.LARGEST_SEED, 0) for seed in (seed_a, seed_b))
            count = fields.whole("frames", frames, 2, fields.MOST["frames"], 16)
            ends = [which, which if which_end in (None, "", fields.SAME) else which_end]
            how = fields.how(steps, sampler) | classes.guided(ends, guidance) | fields.autoguided(card, autoguidance)
        if wrong.told:
            yield self.relay.refuse(page, wrong.told)
            return
        alt = t("generation.walk.alt", a=a, b=b)

        def draw(shots: Shots) -> Told:
            return {"view": "grid", "grid": _grid(shots[0], alt)}

        def finish(shots: Shots, seconds: str) -> Told:
            made = _pictures(shots[0])
            mix = np.linspace(0, 1, count)[:, None].tolist()
            recipe = shots[0].generator.recipe("interpolate", run=card.run, seeds=[a, b], mix=mix, **how)
            name = f"{card.run}_seed{a}_to_{b}"
            kept = self._keep(name, recipe, [made])
            gif = pictures.to_gif_bytes(made, recipe, scale=sharp(made), milliseconds=pace(count))
            files = [kept.file, to_save(name + ".gif", "gif", gif)]
            walk = {"frames": [pictures.to_data_uri(frame) for frame in made], "a": a, "b": b, "alt": alt}
            line = t("generation.walk.done", count=count, seconds=seconds, a=a, b=b)
            return {"view": "walk", "walk": walk, "files": files, "line": line + kept.note}

        yield from self.relay.work(page, [card], lambda made: made.interpolate(a, b, count, **how), draw, finish)

    def compare(self, page: str, models: Any, samples: Any, seed: Any, steps: Any, sampler: Any) -> Iterator[Told]:
        """The same noise with up to four models, which sharpen side by side."""
        with fields.Reading() as wrong:
            keys = models if isinstance(models, list) else [models] if models else []
            if len(keys) > fields.MOST["models"]:
                raise UsageError(t("generation.models.many", most=fields.MOST["models"]))
            cards = [shelf.find(self.session.root, key) for key in dict.fromkeys(map(str, keys))]
            if not cards:
                shelf.find(self.session.root, None)  # no model at all is another story than none chosen
                raise UsageError(t("generation.models.none"))
            count = fields.whole("samples", samples, 1, fields.MOST["each"], 4)
            first = fields.whole("seed", seed, 0, fields.LARGEST_SEED - count, 0)
            how = fields.how(steps, sampler)
        if wrong.told:
            yield self.relay.refuse(page, wrong.told)
            return
        seeds = range(first, first + count)

        def draw(shots: Shots) -> Told:
            return {
                "view": "compare",
                "models": [_column(card, shot, first, count) for card, shot in zip(cards, shots, strict=True)],
            }

        def finish(shots: Shots, seconds: str) -> Told:
            about = [made_by(shot.generator, card) for card, shot in zip(cards, shots, strict=True)]
            recipe = recipes.compose("compare", models=about, seeds=list(seeds), **how)
            kept = self._keep(f"compare_seed{first}_{count}", recipe, [_pictures(shot) for shot in shots])
            line = t("generation.compare.done", **_seeds(first, count), models=len(shots), seconds=seconds)
            rows = [(label(card), _pictures(shot)) for card, shot in zip(cards, shots, strict=True)]
            largest = max(cards, key=lambda card: card.size)
            figure = models_view.spectra(rows, largest.run, self.session.root, self.session.data_dir)
            return {**draw(shots), "files": [kept.file], "line": line + kept.note, "figure": figure}

        def walk(made: "Generator") -> Iterable["Preview"]:
            return made.sample(seeds, beside=sizes, **how)

        sizes = sorted({card.size for card in cards})
        yield from self.relay.work(page, cards, walk, draw, finish)

    def _keep(self, name: str, recipe: dict[str, Any], made: list[np.ndarray]) -> "_Kept":
        """The sheet of all pictures, kept in the gallery and to be saved. Where it cannot be kept, a note says why."""
        png = pictures.to_png_bytes(sheet.draw(recipe, made), recipe=recipe)
        file = to_save(name + ".png", "png", png)
        try:
            return _Kept(file, gallery.keep(self.session.root, png, recipe).key)
        except StudioError as error:
            return _Kept(file, None, " " + t("generation.not-kept", why=str(error)))


@dataclass(frozen=True)
class _Kept:
    """What became of a finished picture."""

    file: dict[str, str]  # to be saved
    key: str | None  # in the gallery
    note: str = ""  # why it is not there


# ---- what is drawn and said


def _seeds(first: int, count: int) -> dict[str, int]:
    return {"count": count, "first": first, "last": first + count - 1}


def _alt(first: int, count: int) -> str:
    return t("generation.grid.alt", **_seeds(first, count))


def _pictures(shot: shelf.Shot) -> np.ndarray:
    assert shot.preview is not None
    return shot.preview.pictures


def _grid(shot: shelf.Shot, alt: str, recipe: dict[str, Any] | None = None) -> dict[str, Any]:
    """The grid as an <img> takes it; while it is unfinished no larger than the page can swallow ten times a second."""
    made = _pictures(shot)
    if shot.preview is not None and shot.preview.done < 1:
        made = drawing.thinned(made)
    return {"src": pictures.to_data_uri(drawing.grid(made), recipe=recipe), "alt": alt, "size": shot.generator.size}


def _column(card: shelf.Card, shot: shelf.Shot, first: int, count: int) -> dict[str, Any]:
    """One model of a comparison."""
    size, step = shot.generator.size, number(shot.generator.model.step)
    about = t("generation.column", kind=card.kind, step=step, size=size)
    head = {"key": card.key, "name": card.run, "about": about}
    if shot.preview is None:
        return head
    return {**head, "seconds": stopwatch(shot.seconds), "grid": _grid(shot, _alt(first, count))}
