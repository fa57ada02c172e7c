"""Makes pictures with a trained model: python inference_high_res.py --help"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_core import commandline
from ddpm_core.config import SETTINGS, SPACING_OF
from ddpm_core.errors import UsageError
from ddpm_core.making import files, flags

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview

# torch and all that needs it is imported inside functions: --help and a mistyped flag should not wait for it.

GIF_SECONDS = 2.4  # there; as long back

Place = Callable[[str], Path]  # of the picture, for its name without ending


def main(argv: Sequence[str] | None = None) -> int:
    """Makes pictures as `argv` says; returns the exit code."""
    return commandline.exit_code(lambda: make(flags.parser().given(argv)))


def make(given: dict[str, Any]) -> int:
    """All that can be wrong is found before the first network call: flags, then files to write, then models, then device."""
    flags.check(given)
    root = Path(os.path.expanduser(given.get("output_dir", ".")))
    models = models_of(given, root)
    endings = endings_of(given)
    output = Path(os.path.expanduser(given["output"])) if "output" in given else None
    if output is None:
        files.check_folder(root / "samples")
    else:
        files.check_output(output, endings)
    if "mp4" in given:
        try_a_film()

    from ddpm_core.generator import Generator

    generators = [Generator.load(model, given.get("device", "auto")) for model in models]
    if output is None:
        files.check_folder(root / "samples" / generators[0].model.config.name)

    folder = root / "samples" / generators[0].model.config.name
    if output is None:
        files.check_folder(folder)

    def place(stem: str) -> Path:
        """Asked for when the pictures are there: another program may have written one of that name meanwhile."""
        return output or files.free(folder, stem, endings)

    if "compare" in given:
        report = compare(generators, given, place)
    elif "interpolate" in given:
        report = interpolate(generators[0], given, place)
    else:
        report = sample(generators[0], given, place)
    report.tell(given.get("format") == "json")
    return 0


def models_of(given: dict[str, Any], root: Path) -> list[Path]:
    """The model files that were named."""
    named = given.get("compare") or ([given["model"]] if "model" in given else [])
    if not all(named):
        raise UsageError("the name of a model is empty: name a file such as checkpoints/NAME/ddpm_best.pt.")
    if not named:
        raise UsageError(f"--model is missing: name a trained model, for example --model={newest_model(root)}")
    return [Path(os.path.expanduser(model)) for model in named]


def newest_model(root: Path) -> str:
    from ddpm_core.runs import all_runs

    found = next((models[0] for run in all_runs(root) if (models := run.models())), None)
    return commandline.quoted(str(found)) if found else "checkpoints/NAME/ddpm_best.pt (train_high_res.py makes one)."


def try_a_film() -> None:
    """Raises `UsageError` where no MP4 can be written, before there is anything to lose."""
    import numpy as np

    from ddpm_core import film

    film.to_mp4_bytes(np.zeros((1, 16, 16, 1), np.uint8))


def endings_of(given: dict[str, Any]) -> list[str]:
    """What the names of the files beside the picture end in."""
    wanted = {".gif": "interpolate", ".mp4": "mp4", files.TRAJECTORY: "trajectory"}
    return [ending for ending, flag in wanted.items() if flag in given]


def sample(generator: "Generator", given: dict[str, Any], place: Place) -> files.Report:
    from ddpm_core import pictures
    from ddpm_core.diffusion import latents, samplers
    from ddpm_core.making import story

    seeds, how = seeds_of(given, 16), how_of(given, generator)
    classes = classes_of(given, generator, len(seeds))
    recipe = generator.recipe("sample", seeds=seeds, **noted(how, classes))
    began = time.monotonic()
    scale, columns = scale_of(given, generator), min(len(seeds), given.get("grid") or pictures.near_square(len(seeds)))
    files.check_pixels(columns * -(-len(seeds) // columns) * (generator.size * scale) ** 2)
    kept: list[story.Column] = []
    stops = story.stops(samplers.calls(how["sampler"], how["steps"]))
    if "trajectory" in given:
        files.check_pixels(2 * len(stops) * (generator.size * scale) ** 2)
    previews = generator.sample(seeds, **how, classes=classes)
    if "trajectory" in given:
        previews = story.watch(previews, latents.noise(seeds[:1], generator.shape), kept, stops)
    made = watched(previews, f"{len(seeds)} picture{'s' * (len(seeds) > 1)}")
    report = files.Report(recipe, len(seeds), time.monotonic() - began)

    output = place(f"generated_seed{seeds[0]}_{len(seeds)}")
    image = pictures.enlarge(pictures.grid(made.pictures, columns), scale)
    pictures.save_png(image, output, recipe)
    report.add(output, "grid", image.size)
    if kept:
        first = generator.recipe("trajectory", seeds=seeds[:1], stops=stops, **noted(how, classes and classes[:1]))
        image, path = story.draw(kept, scale), files.beside(output, files.TRAJECTORY)
        pictures.save_png(image, path, first)
        report.add(path, "trajectory", image.size)
    return report


def interpolate(generator: "Generator", given: dict[str, Any], place: Place) -> files.Report:
    import numpy as np

    from ddpm_core import film, pictures

    (a, b), frames = seeds_of({**given, "samples": 2}, 2), given.get("frames", flags.FRAMES)
    how = how_of(given, generator)
    classes = classes_of(given, generator, 2)
    scale = scale_of(given, generator)
    files.check_pixels(2 * frames * (generator.size * scale) ** 2)  # of the GIF
    mix = np.linspace(0, 1, frames)[:, None].tolist()
    recipe = generator.recipe("interpolate", seeds=[a, b], mix=mix, **noted(how, classes))
    began = time.monotonic()
    made = watched(generator.interpolate(a, b, frames, **how, classes=classes), f"{frames} frames").pictures
    report = files.Report(recipe, frames, time.monotonic() - began)

    output = place(f"interpolation_seed{a}_to_{b}")
    image = pictures.enlarge(film.strip(made, film.WIDEST // scale), scale)
    pictures.save_png(image, output, recipe)
    report.add(output, "strip", image.size)
    # As many seconds whatever the number of frames, as far as a GIF can.
    pace = min(400, max(30, round(GIF_SECONDS * 1000 / frames)))
    path, side = files.beside(output, ".gif"), generator.size * scale
    pictures.save_gif(made, path, recipe, scale=scale, milliseconds=pace)
    report.add(path, "gif", (side, side), frames=2 * frames - 2)
    if "mp4" in given:
        path, there_and_back = files.beside(output, ".mp4"), np.concatenate([made, made[-2:0:-1]])
        larger = min(given.get("scale", -(-film.SMALLEST // generator.size)), film.LARGEST // generator.size)
        pictures.save_bytes(film.to_mp4_bytes(there_and_back, fps=1000 / pace, scale=larger), path)
        side = generator.size * larger
        report.add(path, "mp4", (side, side), frames=len(there_and_back))
    return report


def compare(generators: "list[Generator]", given: dict[str, Any], place: Place) -> files.Report:
    from ddpm_core import pictures, recipes, sheet

    seeds, how = seeds_of(given, 8), how_of(given, generators[0])
    each = [classes_of(given, generator, len(seeds)) for generator in generators]
    if any(classes != each[0] for classes in each):
        raise UsageError(
            "these models number their classes differently: compare models of one data set, or one by one."
        )
    about, sizes = [generator.about for generator in generators], sorted({generator.size for generator in generators})
    recipe = recipes.compose("compare", models=about, seeds=seeds, **noted(how, each[0]))
    files.check_pixels(len(seeds) * len(generators) * max(128, sizes[-1]) ** 2)
    began, made = time.monotonic(), []
    for generator in generators:
        previews = generator.sample(seeds, beside=sizes, classes=each[0], **how)
        made.append(watched(previews, generator.model.config.name).pictures)
    report = files.Report(recipe, len(seeds) * len(generators), time.monotonic() - began)

    output, image = place(f"compare_seed{seeds[0]}_{len(seeds)}"), sheet.draw(recipe, made)
    pictures.save_png(image, output, recipe)
    report.add(output, "comparison", image.size)
    return report


def seeds_of(given: dict[str, Any], samples: int) -> list[int]:
    """The seeds that were asked for; `samples` of them if nobody said how many."""
    first, count = given.get("seed", 0), given.get("samples", samples)
    if first + count > 2**63:
        raise UsageError(f"--seed {first} leaves too few seeds for {count} pictures: choose a smaller one.")
    return list(range(first, first + count))


def how_of(given: dict[str, Any], generator: "Generator") -> dict[str, Any]:
    """What `request.How` takes but the classes, by its names."""
    asked = SETTINGS["fast" if given.get("fast") else "quality"]
    asked = asked | {name: given[name] for name in ("steps", "sampler") if name in given}
    asked |= {name: given[name] for name in ("spacing", "eta", "guidance", "guidance_interval") if name in given}
    if given.get("autoguidance", 1) != 1:
        asked |= {"autoguidance": given["autoguidance"], "young": generator.snapshot()[1]}
    return asked


def noted(how: dict[str, Any], classes: list[int] | None) -> dict[str, Any]:
    """The same in the terms of a recipe, which leaves out what is as it is anyway."""
    asked = {"steps": how["steps"], "sampler": how["sampler"]}
    if how.get("spacing", SPACING_OF[how["sampler"]]) != SPACING_OF[how["sampler"]]:
        asked["spacing"] = how["spacing"]
    if how.get("eta"):
        asked["eta"] = how["eta"]
    if how.get("guidance", 1) != 1:
        asked["guidance"] = how["guidance"]
        if "guidance_interval" in how:
            asked["interval"] = [min(level, flags.GREATEST_SIGMA) for level in how["guidance_interval"]]
    asked |= {name: how[name] for name in ("autoguidance", "young") if name in how}
    return asked | ({"classes": classes} if classes else {})


def classes_of(given: dict[str, Any], generator: "Generator", count: int) -> list[int] | None:
    """The class of each of `count` pictures, which take those that were named in turn; None if none were. For a walk: of its
    two ends."""
    from ddpm_core.making.classes import numbers
    from ddpm_core.request import How

    if "classes" not in given:
        return None
    model = generator.model
    try:
        named = numbers(given["classes"], model.classes, model.config.network.classes)
    except UsageError as error:
        raise UsageError(f"{generator.path}: {error}") from None
    each = [named[i % len(named)] for i in range(count)]
    if "interpolate" not in given:  # a walk's classes are mixed first, and Generator.interpolate looks at that
        How(**how_of(given, generator), classes=each).for_model(generator, count)
    return each


def scale_of(given: dict[str, Any], generator: "Generator") -> int:
    return given.get("scale", max(1, 128 // generator.size))


def watched(previews: "Iterator[Preview]", what: str) -> "Preview":
    """Walks to the last preview under a progress bar.

    Python drops a KeyboardInterrupt that happens to be raised inside a destructor; so Ctrl-C is also kept, and looked at again
    after every preview.
    """
    from tqdm import tqdm

    interrupts: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with tqdm(
            total=1.0, desc=what, bar_format="{desc}: {percentage:3.0f}% |{bar:24}| {elapsed}, {remaining} left"
        ) as bar:
            for preview in previews:
                bar.update(preview.done - bar.n)
                if interrupts:
                    raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)
    return preview


if __name__ == "__main__":
    sys.exit(main())
