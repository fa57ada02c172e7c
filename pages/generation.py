"""The Generation tab's form and its wiring: choose a model; its pictures sharpen step by step on the canvas beside it.

A request works on a thread of its own (`ddpm_core.jobs`); the event here only relays what it shows, and is free the moment
somebody cancels, closes the page or asks anew.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from ddpm_core.config import SAMPLERS, SETTINGS
from pages import choices, widgets
from pages.explorer.classes import ANY
from pages.fields import LONGEST_SLIDER, MOST, SAME
from pages.maker import Maker
from pages.relay import Told
from pages.texts import t

if TYPE_CHECKING:
    from ddpm_core.session import Session


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
            # Shown where the run kept a snapshot of the young model.
            autoguidance = gr.Slider(
                1, 3, 1, step=0.1, visible=False, elem_id="autoguidance", buttons=[],
                label=t("generation.autoguidance"), info=t("generation.autoguidance.why"),
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
        autoguidance,
    )

    # The explorers in assets/ ask with the same model and settings as the buttons here.
    how: dict[str, Any] = {"model": model, "steps": steps, "sampler": sampler}
    how |= {"guidance": guidance, "autoguidance": autoguidance}
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
        autoguidance: float, request: gr.Request,
    ) -> Iterator[Told]:  # fmt: skip
        yield from maker.generate(_page(request), model, samples, seed, steps, sampler, which, guidance, autoguidance)

    def on_interpolate(
        model, seed_a, seed_b, frames, steps, sampler, which, guidance, which_end, autoguidance, request: gr.Request
    ):
        asked = (model, seed_a, seed_b, frames, steps, sampler, which, guidance, which_end, autoguidance)
        yield from maker.interpolate(_page(request), *asked)

    def on_compare(models, samples, seed, steps, sampler, request: gr.Request):
        yield from maker.compare(_page(request), models, samples, seed, steps, sampler)

    def on_cancel(request: gr.Request) -> None:
        maker.relay.cancel(_page(request))

    quiet: Any = {"show_progress": "hidden", "api_visibility": "private", **widgets.AS_GIVEN}
    # The device is shared by turns, so nobody waits in Gradio's queue; asking anew takes back what was asked before.
    work: Any = {"outputs": canvas, "concurrency_limit": None, "trigger_mode": "multiple"}
    # The one event that programs may call by name: "/generate".
    generate_button.click(
        on_generate,
        [model, samples, gen_seed, steps, sampler, which, guidance, autoguidance],
        **work,
        **widgets.AS_GIVEN,
        show_progress="hidden",
        api_name="generate",
        api_description=t("generation.api"),
    )
    walk_asked = [model, seed_a, seed_b, frames, steps, sampler, which, guidance, which_end, autoguidance]
    walk_button.click(on_interpolate, walk_asked, **work, **quiet)
    compare_button.click(on_compare, [several, each, compare_seed, steps, sampler], **work, **quiet)
    canvas.cancel(on_cancel, queue=False, **quiet)

    # The row of choices looks, while it can be seen, which models there are, and says when that changed. It remembers the choice.
    remembered = "(one, several) => [one || Studio.place.get('model'), several]"
    modes.refresh(
        lambda one, several: choices.models(session, one, several),
        [model, several],
        [model, several],
        js=remembered,
        **quiet,
    )
    # What of its classes is to be chosen comes beside the model, since the lists do not have these choices yet.
    model.change(
        lambda one, chosen: choices.guidance(session, one, *(chosen if isinstance(chosen, list) else [])[:2]),
        [model, recall],
        [class_row, which, which_end, autoguidance],
        js="(one) => [one, Studio.classesOf(one)]",
        **quiet,
    )
    model.input(None, model, js="(one) => { Studio.place.set('model', one || ''); }", **quiet)
    # The settings of an older picture come back (pages/recall.py says which); it takes no handler to put them in.
    names = [field.elem_id for field in fields]
    recall.recall(None, recall, list(fields), js=f"(wish) => Studio.recalled(wish, {names})", queue=False, **quiet)


def _page(request: gr.Request) -> str:
    return str(request.session_hash or "")


def _slider(key: str, label: str, value: int, low: int, high: int, why: str | None = None) -> gr.Slider:
    return gr.Slider(low, high, value, step=1, label=label, info=why, elem_id=key, buttons=[])


def _seed(key: str, label: str, why: str, value: int) -> gr.Number:
    return gr.Number(value, step=1, label=label, info=why, elem_id=key, min_width=100)
