"""Makes pictures with a trained model: python inference_high_res.py --help"""

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_core import commandline
from ddpm_core.config import SAMPLERS
from ddpm_core.errors import UsageError

if TYPE_CHECKING:
    from ddpm_core.generator import Generator, Preview

# torch and all that needs it is imported inside functions: --help and a mistyped flag should not wait for it.

EXAMPLES = """\
examples:
  python inference_high_res.py --model=checkpoints/cifar10_64x64/ddpm_best.pt --samples=16
  python inference_high_res.py --model=checkpoints/cifar10_128x128/ddpm_best.pt --samples=9 \\
      --steps=500 --output=high_quality_samples.png
  python inference_high_res.py --model=checkpoints/cifar10_64x64/ddpm_best.pt --interpolate
  python inference_high_res.py --compare checkpoints/cifar10_32x32/ddpm_best.pt \\
      checkpoints/cifar10_64x64/ddpm_best.pt checkpoints/cifar10_128x128/ddpm_best.pt

The same model, seed, steps and sampler give the same picture. The first picture of a grid has the seed you name,
the next one that seed + 1, and so on: to see only the fourth picture of --seed=0, ask for --seed=3 --samples=1.
"""

STRIP = 9  # pictures in the strip of an interpolation; the GIF shows all frames
MOST_COMPARED = 32  # models


def parser() -> commandline.Parser:
    whole, one_of = commandline.whole, commandline.one_of
    flags = commandline.Parser(
        description="Make pictures with a trained model. Stop at any time with Ctrl-C; files are written at the end, whole.",
        epilog=EXAMPLES,
    )
    what = flags.add_argument_group("what to make")
    what.add_argument("--model", metavar="FILE", help="a trained model, such as checkpoints/NAME/ddpm_best.pt")
    what.add_argument(
        "--samples",
        type=whole(1, 1024),
        metavar="N",
        help="pictures to make, 1 to 1024 (default: 16; with --compare 8 a model)",
    )
    what.add_argument(
        "--interpolate", action="store_true", help="the way from one picture to the next: a strip as PNG, and a GIF"
    )
    what.add_argument(
        "--frames", type=whole(2, 1024), metavar="N", help="pictures on that way, both ends included (default: 25)"
    )
    what.add_argument(
        "--compare", nargs="+", metavar="FILE", help="several models, of any size, side by side from the same seeds"
    )

    how = flags.add_argument_group("how")
    how.add_argument(
        "--steps",
        type=whole(1, 1000),
        metavar="N",
        help="1 to 1000; more is finer and slower, beyond 50 hardly anything changes (default: 20)",
    )
    how.add_argument(
        "--sampler",
        type=one_of(*SAMPLERS, what="sampler"),
        metavar="NAME",
        help="dpm++2m (good in 20 steps, default) or ddim (the classic, wants 50 or more)",
    )
    how.add_argument(
        "--seed", type=whole(0, 2**63 - 1), metavar="N", help="which pictures; any whole number (default: 0)"
    )
    how.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")

    where = flags.add_argument_group("where")
    where.add_argument(
        "--output", metavar="FILE.png", help="the picture's file (default: a new one in samples/NAME of the run)"
    )
    where.add_argument(
        "--output-dir", metavar="FOLDER", help="where samples/ and checkpoints/ are (default: this folder)"
    )
    where.add_argument(
        "--scale",
        type=whole(1, 32),
        metavar="N",
        help="draw each pixel as N x N, sharp (default: as it takes to make a picture 128 pixels high; 1 = as it is)",
    )
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Makes pictures as `argv` says; returns the exit code."""
    return commandline.exit_code(lambda: make(parser().given(argv)))


def make(given: dict[str, Any]) -> int:
    """All that can be wrong is found before the first network call: flags, then files to write, then models, then device."""
    root = Path(given.get("output_dir", ".")).expanduser()
    models = models_of(given, root)
    output = Path(given["output"]).expanduser() if "output" in given else None
    if output is None:
        check_folder(root / "samples")
    else:
        check_output(output, gif="interpolate" in given)

    from ddpm_core.generator import Generator

    generators = [Generator.load(model, given.get("device", "auto")) for model in models]
    if "interpolate" in given:
        interpolate(generators[0], given, root, output)
    elif "compare" in given:
        compare(generators, given, root, output)
    else:
        sample(generators[0], given, root, output)
    return 0


def models_of(given: dict[str, Any], root: Path) -> list[Path]:
    """The model files that were named. Raises `UsageError` for flags that do not go together."""
    if "compare" in given:
        for flag in ("model", "interpolate"):
            if flag in given:
                raise UsageError(f"--{flag} and --compare do not go together: leave one away.")
    if "interpolate" in given and "samples" in given:
        raise UsageError("--samples and --interpolate do not go together: say --frames for the pictures on the way.")
    if "frames" in given and "interpolate" not in given:
        raise UsageError("--frames is for --interpolate: add it, or say --samples.")
    if "compare" in given and "scale" in given:
        raise UsageError("--scale and --compare do not go together: a comparison brings all models to one height.")
    named = given.get("compare") or [given["model"]] if "model" in given or "compare" in given else []
    if len(named) > MOST_COMPARED:
        raise UsageError(f"--compare takes up to {MOST_COMPARED} models: leave some away.")
    if not all(named):
        raise UsageError("the name of a model is empty: name a file such as checkpoints/NAME/ddpm_best.pt.")
    if not named:
        raise UsageError(f"--model is missing: name a trained model, for example --model={newest_model(root)}")
    return [Path(model).expanduser() for model in named]


def newest_model(root: Path) -> str:
    from ddpm_core.runs import all_runs

    found = next((models[0] for run in all_runs(root) if (models := run.models())), None)
    return shlex.quote(str(found)) if found else "checkpoints/NAME/ddpm_best.pt (train_high_res.py makes one)."


def sample(generator: "Generator", given: dict[str, Any], root: Path, output: Path | None) -> None:
    from ddpm_core import pictures, sheet

    seeds, request = seeds_of(given, 16), request_of(given)
    recipe = generator.recipe("sample", seeds=seeds, **request)
    made = watched(generator.sample(seeds, **request), f"{len(seeds)} picture{'s' * (len(seeds) > 1)}")
    output = output or free_path(root, generator, f"generated_seed{seeds[0]}_{len(seeds)}")
    pictures.save_png(sheet.draw(recipe, [made.pictures], scale_of(given, generator)), output, recipe)
    print(f"wrote {output}")


def interpolate(generator: "Generator", given: dict[str, Any], root: Path, output: Path | None) -> None:
    import numpy as np

    from ddpm_core import pictures

    (a, b), frames, request = seeds_of({**given, "samples": 2}, 2), given.get("frames", 25), request_of(given)
    recipe = generator.recipe("interpolate", seeds=[a, b], mix=np.linspace(0, 1, frames)[:, None].tolist(), **request)
    made = watched(generator.interpolate(a, b, frames, **request), f"{frames} frames").pictures
    output = output or free_path(root, generator, f"interpolation_seed{a}_to_{b}")
    shown = np.linspace(0, frames - 1, min(frames, STRIP)).round().astype(int)
    scale = scale_of(given, generator)
    strip = pictures.enlarge(pictures.grid(made[shown], columns=len(shown)), scale)
    pictures.save_png(strip, output, recipe)
    # As many seconds whatever the number of frames, as far as a GIF can.
    pictures.save_gif(
        made, output.with_suffix(".gif"), recipe, scale=scale, milliseconds=min(400, max(30, 2400 // frames))
    )
    print(f"wrote {output} and {output.with_suffix('.gif').name}")


def compare(generators: "list[Generator]", given: dict[str, Any], root: Path, output: Path | None) -> None:
    from ddpm_core import pictures, recipes, sheet

    seeds, request = seeds_of(given, 8), request_of(given)
    recipe = recipes.compose("compare", models=[generator.about for generator in generators], seeds=seeds, **request)
    made = [watched(g.sample(seeds, **request), g.model.config.name).pictures for g in generators]
    output = output or free_path(root, generators[0], f"compare_seed{seeds[0]}_{len(seeds)}")
    pictures.save_png(sheet.draw(recipe, made), output, recipe)
    print(f"wrote {output}")


def seeds_of(given: dict[str, Any], samples: int) -> list[int]:
    """The seeds that were asked for; `samples` of them if nobody said how many."""
    first, count = given.get("seed", 0), given.get("samples", samples)
    if first + count > 2**63:
        raise UsageError(f"--seed {first} leaves too few seeds for {count} pictures: choose a smaller one.")
    return list(range(first, first + count))


def request_of(given: dict[str, Any]) -> dict[str, Any]:
    return {"steps": given.get("steps", 20), "sampler": given.get("sampler", SAMPLERS[0])}


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


def free_path(root: Path, generator: "Generator", stem: str) -> Path:
    """A file in the run's samples folder that is not there yet: stem.png, stem-2.png, ... Its .gif is not there either."""
    folder, number = root / "samples" / generator.model.config.name, 1
    while True:
        path = folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
        if not os.path.lexists(path) and not os.path.lexists(path.with_suffix(".gif")):
            return path
        number += 1


def check_output(path: Path, gif: bool) -> None:
    """Raises `UsageError` unless `path` can be written without losing something that this program did not make."""
    from ddpm_core.pictures import read_recipe

    if path.suffix.lower() != ".png":
        raise UsageError(f"--output {str(path)!r} must end in .png: try {path.stem or 'pictures'}.png")
    for file in (path, path.with_suffix(".gif")) if gif else (path,):
        if os.path.lexists(file) and read_recipe(file) is None:
            raise UsageError(f"{file} exists and was not made by this program: choose another name.")
    check_folder(path.absolute().parent)


def check_folder(folder: Path) -> None:
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UsageError(f"cannot write into {there}: choose another place with --output or --output-dir.")


if __name__ == "__main__":
    sys.exit(main())
