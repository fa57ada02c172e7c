"""The Generation tab: choose a model; its pictures sharpen step by step. Samples, walks between two seeds, comparisons.

A request works on a thread of its own (`ddpm_core.jobs`); the event here only relays what it shows, and is free the moment
somebody cancels, closes the page or asks anew.
"""

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from ddpm_core import gallery, pictures, recipes, sheet, shelf, trajectory
from ddpm_core.config import SAMPLERS, SETTINGS
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.jobs import Desk
from ddpm_core.trajectory import Trajectory
from pages import beside, drawing, widgets
from pages.explorer import classes
from pages.explorer import models as models_view
from pages.explorer.classes import ANY
from pages.texts import number, stopwatch, t

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview
    from ddpm_core.session import Session

MOST = {"samples": 64, "frames": 64, "each": 16, "models": shelf.MOST_LOADED}
SAME = "same"  # class of a walk's end: as at its start
LARGEST_SEED = 2**53 - 1  # the largest whole number that a browser keeps exactly
MOST_STEPS = 1000
LONGEST_SLIDER = 200  # steps; more can be asked for by a recipe or a program
PREVIEW_PIXELS = 300_000  # a larger preview is thinned out: ten a second must reach the page

Told = dict[str, Any]  # what the canvas shows; assets/canvas.js names the fields


def build(session: "Session") -> None:
    """Lays the tab out and wires it."""
    maker = Maker(session)
    with gr.Row(elem_id="generation_view", equal_height=False):
        with gr.Column(scale=4, min_width=380), gr.Column(elem_classes="card", elem_id="generation_form"):
            model = gr.Dropdown(
                [], interactive=True, elem_id="model", label=t("generation.model"), info=t("generation.model.why")
            )
            setting = gr.Radio(
                [(t("generation.setting." + name), name) for name in SETTINGS], value=next(iter(SETTINGS)),
                elem_id="setting", label=t("generation.setting"), info=t("generation.setting.why"),
            )  # fmt: skip
            steps = _slider("steps", t("generation.steps"), 20, 1, LONGEST_SLIDER, t("generation.steps.why"))
            sampler = gr.Dropdown(
                [(t("generation.sampler." + name), name) for name in SAMPLERS],
                value=SAMPLERS[0],
                interactive=True,
                elem_id="sampler",
                label=t("generation.sampler"),
                info=t("generation.sampler.why"),
            )
            with gr.Row(visible=False, elem_id="class_row") as class_row:
                which = gr.Dropdown(
                    [(t("generation.class.any"), ANY)], value=ANY, elem_id="which_class", interactive=True,
                    label=t("generation.class"), info=t("generation.class.why"),
                )  # fmt: skip
                guidance = gr.Slider(
                    1, 5, 1, step=0.1, elem_id="guidance", buttons=[],
                    label=t("generation.guidance"), info=t("generation.guidance.why"),
                )  # fmt: skip
            # What the chosen mode asks for besides; the others are hidden (assets/explorer.js, studio.css).
            with gr.Column(elem_classes="making", elem_id="making_grid"):
                widgets.heading(t("generation.mode.sample"))
                with gr.Row():
                    samples = _slider("samples", t("generation.samples"), 16, 1, MOST["samples"])
                    gen_seed = _seed("gen_seed", t("generation.seed"), t("generation.seed.why"), 0)
                generate_button = gr.Button(t("generation.generate"), variant="primary", elem_id="generate")
            with gr.Column(elem_classes="making", elem_id="making_walk"):
                widgets.heading(t("generation.mode.walk"))
                with gr.Row():
                    seed_a = _seed("seed_a", t("generation.seed_a"), t("generation.seed_a.why"), 0)
                    seed_b = _seed("seed_b", t("generation.seed_b"), t("generation.seed_b.why"), 1)
                which_end = gr.Dropdown(
                    [(t("generation.class.same"), SAME)], value=SAME, elem_id="which_end", interactive=True, visible=False,
                    label=t("generation.class.end"), info=t("generation.class.end.why"),
                )  # fmt: skip
                frames = _slider("frames", t("generation.frames"), 16, 2, MOST["frames"])
                walk_button = gr.Button(t("generation.interpolate"), variant="primary", elem_id="interpolate")
            with gr.Column(elem_classes="making", elem_id="making_models"):
                widgets.heading(t("generation.mode.compare"))
                several = gr.Dropdown(
                    [],
                    multiselect=True,
                    max_choices=MOST["models"],
                    interactive=True,
                    elem_id="compare_models",
                    label=t("generation.models"),
                    info=t("generation.models.why"),
                )
                with gr.Row():
                    each = _slider("compare_samples", t("generation.each"), 4, 1, MOST["each"])
                    compare_seed = _seed("compare_seed", t("generation.seed"), t("generation.compare_seed.why"), 0)
                compare_button = gr.Button(t("generation.compare"), variant="primary", elem_id="compare")
            widgets.hold()
            recall = widgets.recall()
        with gr.Column(scale=9, min_width=420), gr.Column(elem_classes="card", elem_id="generation_stage"):
            modes = widgets.modes()
            canvas = widgets.canvas()
            widgets.room()

    fields = (
        model,
        several,
        steps,
        sampler,
        samples,
        gen_seed,
        seed_a,
        seed_b,
        frames,
        each,
        compare_seed,
        which,
        which_end,
        guidance,
    )
    for field in fields:
        widgets.as_given(field)

    # The explorers in assets/ ask with the same model and settings as the buttons here.
    how: dict[str, Any] = {"model": model, "steps": steps, "sampler": sampler, "guidance": guidance}
    gr.on(
        [field.change for field in how.values()],
        None,
        list(how.values()),
        js=f"({', '.join(how)}) => {{ Studio.how.set({{ {', '.join(how)} }}); }}",
        api_visibility="private",
    )

    # A setting is a sampler and its steps; who chooses these has a setting of their own.
    settings = {name: [how["steps"], how["sampler"]] for name, how in SETTINGS.items()}
    setting.input(
        None,
        setting,
        [steps, sampler],
        js=f"(name) => ({json.dumps(settings)})[name]",
        show_progress="hidden",
        api_visibility="private",
    )
    for field in (steps, sampler):
        field.change(
            None,
            [steps, sampler],
            setting,
            js=f"(steps, sampler) => Object.entries({json.dumps(settings)}).find(([, how]) => how[0] === steps && how[1] === sampler)?.[0] ?? null",
            show_progress="hidden",
            api_visibility="private",
        )

    def on_generate(
        model: str | None, samples: int, seed: int, steps: int, sampler: str, which: str, guidance: float,
        request: gr.Request,
    ) -> Iterator[Told]:  # fmt: skip
        yield from maker.generate(_page(request), model, samples, seed, steps, sampler, which, guidance)

    def on_interpolate(model, seed_a, seed_b, frames, steps, sampler, which, guidance, which_end, request: gr.Request):
        asked = (model, seed_a, seed_b, frames, steps, sampler, which, guidance, which_end)
        yield from maker.interpolate(_page(request), *asked)

    def on_compare(models, samples, seed, steps, sampler, request: gr.Request):
        yield from maker.compare(_page(request), models, samples, seed, steps, sampler)

    def on_cancel(request: gr.Request) -> None:
        maker.cancel(_page(request))

    quiet: Any = {"show_progress": "hidden", "api_visibility": "private"}
    # The device is shared by turns, so nobody waits in Gradio's queue; asking anew takes back what was asked before.
    work: Any = {"outputs": canvas, "concurrency_limit": None, "trigger_mode": "multiple"}
    # The one event that programs may call by name: "/generate".
    generate_button.click(
        on_generate,
        [model, samples, gen_seed, steps, sampler, which, guidance],
        **work,
        show_progress="hidden",
        api_name="generate",
        api_description=t("generation.api"),
    )
    walk_asked = [model, seed_a, seed_b, frames, steps, sampler, which, guidance, which_end]
    walk_button.click(on_interpolate, walk_asked, **work, **quiet)
    compare_button.click(on_compare, [several, each, compare_seed, steps, sampler], **work, **quiet)
    canvas.cancel(on_cancel, queue=False, **quiet)

    # The row of choices looks, while it can be seen, which models there are, and says when that changed. It remembers the choice.
    remembered = "(one, several) => [one || Studio.place.get('model'), several]"
    modes.refresh(
        lambda one, several: maker.choices(one, several), [model, several], [model, several], js=remembered, **quiet
    )
    # What of its classes is to be chosen comes beside the model, since the lists do not have these choices yet.
    model.change(
        lambda one, chosen: maker.classes(one, *(chosen if isinstance(chosen, list) else [])[:2]),
        [model, recall],
        [class_row, which, which_end],
        js="(one) => [one, Studio.classesOf(one)]",
        **quiet,
    )
    model.input(None, model, js="(one) => { Studio.place.set('model', one || ''); }", **quiet)
    # The settings of an older picture come back (pages/recall.py says which); it takes no handler to put them in.
    names = [field.elem_id for field in fields]
    recall.recall(None, recall, list(fields), js=f"(wish) => Studio.recalled(wish, {names})", queue=False, **quiet)


# ---- what the events do; plain functions of values, tested without a browser


Shots = tuple[shelf.Shot, ...]


class Maker:
    """Answers the tab's buttons. `page` says who asks: one request a page, and asking anew takes back the one before."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.desk = Desk()
        self.shelf = session.shelf

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
    ) -> Iterator[Told]:
        """One picture a seed, from `seed` on; of one class and guided to it, where the model knows classes."""
        with _Reading() as wrong:
            card = shelf.find(self.session.root, model)
            count = _whole("samples", samples, 1, MOST["samples"], 16)
            first = _whole("seed", seed, 0, LARGEST_SEED - count, 0)
            how = _how(steps, sampler) | classes.guided([which] * count, guidance)
        if wrong.told:
            yield self._refuse(page, wrong.told)
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

        yield from self._relay(page, [card], walk, draw, finish)

    def interpolate(
        self, page: str, model: Any, seed_a: Any, seed_b: Any, frames: Any, steps: Any, sampler: Any,
        which: Any = ANY, guidance: Any = 1.0, which_end: Any = SAME,
    ) -> Iterator[Told]:  # fmt: skip
        """A walk between two seeds, and two classes: all frames sharpen together, then one scrubs through them."""
        with _Reading() as wrong:
            card = shelf.find(self.session.root, model)
            a, b = (_whole("seed", seed, 0, LARGEST_SEED, 0) for seed in (seed_a, seed_b))
            count = _whole("frames", frames, 2, MOST["frames"], 16)
            ends = [which, which if which_end in (None, "", SAME) else which_end]
            how = _how(steps, sampler) | classes.guided(ends, guidance)
        if wrong.told:
            yield self._refuse(page, wrong.told)
            return
        alt = t("generation.walk.alt", a=a, b=b)

        def draw(shots: Shots) -> Told:
            return {"view": "grid", "grid": _grid(shots[0], alt)}

        def finish(shots: Shots, seconds: str) -> Told:
            made = _pictures(shots[0])
            mix = np.linspace(0, 1, count)[:, None].tolist()
            recipe = shots[0].generator.recipe("interpolate", run=card.run, seeds=[a, b], mix=mix, **how)
            name, scale = f"{card.run}_seed{a}_to_{b}", _scale(made)
            kept = self._keep(name, recipe, [made])
            pace = min(400, max(30, 2400 // count))  # about as many seconds whatever the number of frames
            gif = pictures.to_gif_bytes(made, recipe, scale=scale, milliseconds=pace)
            files = [kept.file, _file(name + ".gif", "gif", gif)]
            walk = {"frames": [pictures.to_data_uri(frame) for frame in made], "a": a, "b": b, "alt": alt}
            line = t("generation.walk.done", count=count, seconds=seconds, a=a, b=b)
            return {"view": "walk", "walk": walk, "files": files, "line": line + kept.note}

        yield from self._relay(page, [card], lambda made: made.interpolate(a, b, count, **how), draw, finish)

    def compare(self, page: str, models: Any, samples: Any, seed: Any, steps: Any, sampler: Any) -> Iterator[Told]:
        """The same noise with up to four models, which sharpen side by side."""
        with _Reading() as wrong:
            keys = models if isinstance(models, list) else [models] if models else []
            if len(keys) > MOST["models"]:
                raise UsageError(t("generation.models.many", most=MOST["models"]))
            cards = [shelf.find(self.session.root, key) for key in dict.fromkeys(map(str, keys))]
            if not cards:
                shelf.find(self.session.root, None)  # no model at all is another story than none chosen
                raise UsageError(t("generation.models.none"))
            count = _whole("samples", samples, 1, MOST["each"], 4)
            first = _whole("seed", seed, 0, LARGEST_SEED - count, 0)
            how = _how(steps, sampler)
        if wrong.told:
            yield self._refuse(page, wrong.told)
            return
        seeds = range(first, first + count)

        def draw(shots: Shots) -> Told:
            return {
                "view": "compare",
                "models": [_column(card, shot, first, count) for card, shot in zip(cards, shots, strict=True)],
            }

        def finish(shots: Shots, seconds: str) -> Told:
            about = [shot.generator.about | {"run": card.run} for card, shot in zip(cards, shots, strict=True)]
            recipe = recipes.compose("compare", models=about, seeds=list(seeds), **how)
            kept = self._keep(f"compare_seed{first}_{count}", recipe, [_pictures(shot) for shot in shots])
            line = t("generation.compare.done", **_seeds(first, count), models=len(shots), seconds=seconds)
            rows = [(_label(card), _pictures(shot)) for card, shot in zip(cards, shots, strict=True)]
            largest = max(cards, key=lambda card: card.size)
            figure = models_view.spectra(rows, largest.run, self.session.root, self.session.data_dir)
            return {**draw(shots), "files": [kept.file], "line": line + kept.note, "figure": figure}

        def walk(made: "Generator") -> Iterable["Preview"]:
            from ddpm_core.diffusion import mixing

            return made.walker(**how)(mixing.shared(seeds, sizes, made.size, made.channels))

        sizes = sorted({card.size for card in cards})
        yield from self._relay(page, cards, walk, draw, finish)

    def cancel(self, page: str) -> None:
        job = self.desk.current(page)
        if job is not None:
            job.cancel()

    def choices(self, one: Any, several: Any) -> list[Any]:
        """Updates for both lists of models. What was chosen stays while it is there."""
        known = shelf.cards(self.session.root)
        named = [(_label(card), card.key) for card in known]
        keys = [card.key for card in known]
        kept = [key for key in several or [] if key in keys]
        if not kept:  # a comparison is most telling between runs; with one run, between its models
            newest = {card.run: card.key for card in reversed(known)}.values()
            kept = list(dict.fromkeys([*reversed(newest), *keys]))[: max(2, min(len(newest), MOST["models"]))]
        chosen = one if one in keys else keys[0] if keys else None
        return [gr.update(choices=named, value=chosen), gr.update(choices=named, value=kept)]

    def classes(self, one: Any, which: Any = ANY, end: Any = SAME) -> list[Any]:
        """Updates for the row of class and guidance and for the class at a walk's end: shown where the model knows classes, with
        their names, and these two chosen if they are among them."""
        try:
            names = classes.names(self.session, one)
        except StudioError:
            names = []
        choices = [(t("generation.class.any"), ANY), *((name, str(number)) for number, name in enumerate(names))]
        ends = [(t("generation.class.same"), SAME), *choices]
        shown = bool(names)
        return [
            gr.update(visible=shown),
            gr.update(choices=choices, value=which if which in [value for _, value in choices] else ANY),
            gr.update(choices=ends, value=end if end in [value for _, value in ends] else SAME, visible=shown),
        ]

    def _keep(self, name: str, recipe: dict[str, Any], made: list[np.ndarray]) -> "_Kept":
        """The sheet of all pictures, kept in the gallery and to be saved. Where it cannot be kept, a note says why."""
        png = pictures.to_png_bytes(sheet.draw(recipe, made), recipe=recipe)
        file = _file(name + ".png", "png", png)
        try:
            return _Kept(file, gallery.keep(self.session.root, png, recipe).key)
        except StudioError as error:
            return _Kept(file, None, " " + t("generation.not-kept", why=str(error)))

    # ---- how a request is relayed

    def _relay(
        self,
        page: str,
        chosen: list[shelf.Card],
        walk: Callable[["Generator"], Iterable["Preview"]],
        draw: Callable[[Shots], Told],
        finish: Callable[[Shots, str], Told],
    ) -> Iterator[Told]:
        begun, waited, shots = time.monotonic(), self.session.waited, None
        job = self.desk.begin(page, lambda: self.shelf.work([card.path for card in chosen], walk))
        try:
            # Gradio closes a stream when its page goes only after the first word: so one comes before anything can wait.
            yield {"busy": True, "done": 0, "line": self._progress(None, 0.0, 0.0)}
            for state in job.follow():
                shots = state or shots
                news = draw(state) if state else {}
                line = self._progress(shots, time.monotonic() - begun, self.session.waited - waited)
                yield {**news, "busy": True, "done": _done(shots) if shots else 0, "line": line}
            if self.desk.current(page) is not job:
                yield gr.skip()  # a newer request of this page has the canvas
            elif job.cancelled:
                line = t("generation.cancelled.at", **_steps(shots)) if shots else t("generation.cancelled")
                yield {"busy": False, "line": line}
            elif job.error is not None or shots is None:
                yield {"busy": False, "line": _sentence(job.error)}
            else:
                seconds, cost = stopwatch(time.monotonic() - begun), beside.cost(self.session, waited)
                told = finish(shots, seconds)
                yield {**told, "line": " ".join(filter(None, [told["line"], cost])), "busy": False, "done": 1}
        finally:
            # Also when the page was closed: then this generator is, at one of the yields above.
            job.cancel()
            self.desk.clear(page, job)

    def _refuse(self, page: str, line: str) -> Told:
        self.desk.clear(page)
        return {"busy": False, "line": line}

    def _progress(self, shots: Shots | None, seconds: float, waited: float) -> str:
        words = t("generation.step", **_steps(shots), seconds=stopwatch(seconds)) if shots else t("generation.loading")
        return " ".join(filter(None, [words, beside.turns(self.session, waited)]))


@dataclass(frozen=True)
class _Kept:
    """What became of a finished picture."""

    file: dict[str, str]  # to be saved
    key: str | None  # in the gallery
    note: str = ""  # why it is not there


class _Reading:
    """Catches the mistake in a form: `told` is its one line."""

    told = ""

    def __enter__(self) -> "_Reading":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if isinstance(error, StudioError):
            self.told = _sentence(error)
            return True
        return False


# ---- small helpers


def _page(request: gr.Request) -> str:
    return str(request.session_hash or "")


def _how(steps: Any, sampler: Any) -> dict[str, Any]:
    if sampler not in SAMPLERS:
        raise UsageError(t("generation.sampler.unknown", sampler=repr(sampler)[:40], known=", ".join(SAMPLERS)))
    return {"steps": _whole("steps", steps, 1, MOST_STEPS, 20), "sampler": sampler}


def _whole(name: str, value: Any, low: int, high: int, example: int) -> int:
    """A whole number from a form; 5.0 is 5. Raises `UsageError`."""
    if value is None or value == "":
        raise UsageError(t("error.empty", name=t("generation.name." + name), example=example))
    exact = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(exact, bool) or not isinstance(exact, int) or not low <= exact <= high:
        shown = repr(value)[:40]
        raise UsageError(
            t("generation.whole", name=t("generation.name." + name), value=shown, low=number(low), high=number(high))
        )
    return exact


def _sentence(error: StudioError | None) -> str:
    text = str(error or "")
    return text[:1].upper() + text[1:]


def _label(card: shelf.Card) -> str:
    if card.step is None:
        return t("generation.card.unknown", run=card.run, kind=card.kind, size=card.size)
    return t("generation.card", run=card.run, kind=card.kind, size=card.size, step=number(card.step))


def _done(shots: Shots) -> float:
    return sum(shot.preview.done if shot.preview else 0.0 for shot in shots) / len(shots)


def _steps(shots: Shots) -> dict[str, int]:
    """The step that all pictures have behind them."""
    begun = [shot.preview for shot in shots if shot.preview is not None]
    behind = min(preview.step for preview in begun) if len(begun) == len(shots) else 0
    return {"step": behind, "steps": begun[0].steps}


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
        made = drawing.thinned(made, PREVIEW_PIXELS)
    return {"src": pictures.to_data_uri(drawing.grid(made), recipe=recipe), "alt": alt, "size": shot.generator.size}


def _column(card: shelf.Card, shot: shelf.Shot, first: int, count: int) -> dict[str, Any]:
    """One model of a comparison."""
    size, step = shot.generator.size, number(shot.generator.model.step)
    about = t("generation.column", kind=card.kind, step=step, size=size)
    head = {"key": card.key, "name": card.run, "about": about}
    if shot.preview is None:
        return head
    return {**head, "seconds": stopwatch(shot.seconds), "grid": _grid(shot, _alt(first, count))}


def _scale(made: np.ndarray) -> int:
    """Files are opened in viewers that blur small pictures: they come large enough, each pixel a square."""
    return max(1, 128 // made.shape[1])


def _file(name: str, kind: str, content: bytes) -> dict[str, str]:
    return {"name": name, "kind": kind, "href": f"data:image/{kind};base64,{base64.b64encode(content).decode()}"}


def _slider(key: str, label: str, value: int, low: int, high: int, why: str | None = None) -> gr.Slider:
    return gr.Slider(low, high, value, step=1, label=label, info=why, elem_id=key, buttons=[])


def _seed(key: str, label: str, why: str, value: int) -> gr.Number:
    return gr.Number(value, step=1, label=label, info=why, elem_id=key, min_width=100)
