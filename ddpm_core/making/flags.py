"""The flags of inference_high_res.py, and which of them go together. Imports no torch: --help and a mistyped flag are answered
at once."""

import argparse
from typing import Any

from ddpm_core.commandline import Parser, number, one_of, whole
from ddpm_core.config import DEFAULT_STEPS, MOST_PICTURES, SAMPLERS, SETTINGS, SPACINGS
from ddpm_core.errors import UsageError

EXAMPLES = """\
examples:
  python inference_high_res.py --model=checkpoints/cifar10_64x64/ddpm_best.pt --samples=16
  python inference_high_res.py --model=checkpoints/cifar10_128x128/ddpm_best.pt --samples=9 \\
      --steps=500 --output=high_quality_samples.png
  python inference_high_res.py --model=checkpoints/cifar10_64x64/ddpm_best.pt --interpolate
  python inference_high_res.py --compare checkpoints/cifar10_32x32/ddpm_best.pt \\
      checkpoints/cifar10_64x64/ddpm_best.pt checkpoints/cifar10_128x128/ddpm_best.pt

  with a model that was trained with --class-conditional:
  python inference_high_res.py --model=checkpoints/cifar10_64x64/ddpm_best.pt --classes=cat,dog --guidance=2 --grid=2
  python inference_high_res.py --model=checkpoints/cifar10_64x64/ddpm_best.pt --classes=cat,dog --interpolate

which pictures: the same model, seed, steps and sampler give the same picture. The first one has the seed you name,
  the next one that seed + 1, and so on: to see only the fourth picture of --seed=0, ask for --seed=3 --samples=1.
which files: new ones get a number rather than the place of an old one; --output=FILE.png replaces a picture that
  this program made, and no other. Each PNG and GIF carries its recipe; the studio can take a PNG's up again.
exit codes: 0 done, 2 a flag or a folder that cannot work, 4 a file that is no model or cannot be written, 130 stopped with Ctrl-C
  (then nothing is saved).
"""

MOST_COMPARED = 32  # models
FRAMES = 25
GREATEST_SIGMA = 1e6  # in a recipe, for "without end": JSON knows no infinity
# A flag on the left does not go with any of those on the right; the sentence says what to do instead.
_APART = {
    "fast": {
        "steps": "it is a number of steps.",
        "sampler": "it is a sampler and a number of steps.",
    },
    "compare": {
        "model": "leave one away.",
        "interpolate": "leave one away.",
        "scale": "a comparison brings all models to one height.",
        "autoguidance": "each model would need another young one.",
        "grid": "a comparison has one row a model.",
        "trajectory": "name one --model for it.",
    },
    "interpolate": {
        "samples": "say --frames for the pictures on the way.",
        "grid": "its pictures are in one row, or in as many as it takes.",
        "trajectory": "leave one away.",
    },
}
_ONLY_WITH = {
    ("frames", "interpolate"): "add it, or say --samples.",
    ("mp4", "interpolate"): "add it.",
}


def parser() -> Parser:
    flags = Parser(
        usage="%(prog)s --model=FILE [other flags, see below]",
        description="Make pictures with a trained model. Stop at any time with Ctrl-C; files are written at the end, whole.",
        epilog=EXAMPLES,
    )
    what = flags.add_argument_group("what to make")
    what.add_argument("--model", metavar="FILE", help="a trained model, such as checkpoints/NAME/ddpm_best.pt")
    what.add_argument(
        "--samples",
        type=whole(1, MOST_PICTURES),
        metavar="N",
        help=f"pictures to make, 1 to {MOST_PICTURES} (default: 16; with --compare 8 a model)",
    )
    what.add_argument(
        "--interpolate", action="store_true", help="the way from one picture to the next: a strip as PNG, and a GIF"
    )
    what.add_argument(
        "--compare",
        nargs="+",
        metavar="FILE",
        help="several models, of any size, side by side: the same noise for all, so large shapes agree",
    )
    what.add_argument(
        "--trajectory",
        action="store_true",
        help="one more PNG: how the first picture came to be. Above what the network was shown, noise at first; below"
        " what it made of that, the finished picture at last",
    )

    which = flags.add_argument_group("which pictures")
    which.add_argument(
        "--seed", type=whole(0, 2**63 - 1), metavar="N", help="which pictures; any whole number (default: 0)"
    )
    which.add_argument(
        "--classes",
        type=_several,
        metavar="A,B,...",
        help="names or numbers of classes, which the pictures take in turn; with --interpolate two are those of its two"
        " ends, mixed between them; any = as it comes. For a model that was trained with --class-conditional (default: any)",
    )
    which.add_argument(
        "--guidance",
        type=number(0, 20),
        metavar="W",
        help="0 to 20; above 1 more clearly of the class, less varied, and twice the time (default: 1)",
    )
    which.add_argument(
        "--guidance-interval",
        type=_interval,
        metavar="LOW,HIGH",
        help="guide only while the noise is between these (noise over picture): 0.2,3 keeps more variety (default: always)",
    )

    which.add_argument(
        "--autoguidance",
        type=number(0, 20),
        metavar="W",
        help="0 to 20; above 1 away from what the model drew when it was young: clearer, and takes half as long again; try 1.5. For a run"
        " beyond 256 steps that kept snapshots, as all do but those with --no-snapshots or of the classic preset (default: 1)",
    )

    how = flags.add_argument_group("how")
    how.add_argument(
        "--steps",
        type=whole(1, 1000),
        metavar="N",
        help=f"1 to 1000; more is finer and slower, beyond 50 hardly anything changes (default: {DEFAULT_STEPS})",
    )
    how.add_argument(
        "--fast",
        action="store_true",
        help=f"{SETTINGS['fast']['steps']} steps: twice as quick, a little rougher",
    )
    how.add_argument(
        "--sampler",
        type=one_of(*SAMPLERS, what="sampler"),
        metavar="NAME",
        help=f"{SAMPLERS[0]} (default, good in {DEFAULT_STEPS} steps), ddim (the classic, wants 50 or more),"
        f" {', '.join(name for name in SAMPLERS[1:] if name != 'ddim')}",
    )
    how.add_argument(
        "--spacing",
        type=one_of(*SPACINGS, what="spacing"),
        metavar="NAME",
        help=f"how the steps lie between noise and picture: {', '.join(SPACINGS)} (default: what suits the sampler)",
    )
    how.add_argument(
        "--eta", type=number(0, 1), metavar="E", help="0 to 1, with ddim: how much noise is drawn anew (default: 0)"
    )
    how.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")

    where = flags.add_argument_group("what comes out")
    where.add_argument(
        "--output", metavar="FILE.png", help="the picture's file (default: a new one in samples/NAME of the run)"
    )
    where.add_argument(
        "--output-dir",
        metavar="FOLDER",
        help="where samples/ goes (default: this folder); --model is a path of its own",
    )
    where.add_argument(
        "--grid",
        type=whole(1, MOST_PICTURES),
        metavar="COLUMNS",
        help="pictures in a row (default: as square as it goes)",
    )
    where.add_argument(
        "--scale",
        type=whole(1, 32),
        metavar="N",
        help="draw each pixel as N x N, sharp (default: as it takes to make a picture 128 pixels high; 1 = as it is)",
    )
    where.add_argument(
        "--frames",
        type=whole(2, 1024),
        metavar="N",
        help=f"pictures of --interpolate, both ends included (default: {FRAMES})",
    )
    where.add_argument("--mp4", action="store_true", help="--interpolate also as a film (needs PyAV: pip install av)")
    where.add_argument(
        "--format",
        type=one_of("text", "json", what="format"),
        metavar="NAME",
        help="json: at the end one line of JSON on stdout, what was made and where; words go to stderr (default: text)",
    )
    return flags


def check(given: dict[str, Any]) -> None:
    """Raises `UsageError` for flags that do not go together."""
    for flag, others in _APART.items():
        for other, why in others.items():
            if flag in given and other in given:
                raise UsageError(f"{_name(other)} and {_name(flag)} do not go together: {why}")
    for (flag, other), why in _ONLY_WITH.items():
        if flag in given and other not in given:
            raise UsageError(f"{_name(flag)} is for {_name(other)}: {why}")
    if given.get("eta") and given.get("sampler", SAMPLERS[0]) != "ddim":
        raise UsageError("--eta is for the sampler ddim: add --sampler=ddim, or leave it away.")
    if given.get("guidance", 1) != 1 and "classes" not in given:
        raise UsageError("--guidance needs a class to guide to: add --classes, or leave it away.")
    if "guidance_interval" in given and given.get("guidance", 1) == 1:
        raise UsageError("--guidance-interval is for --guidance: add --guidance=2, or leave it away.")
    if "interpolate" in given and len(given.get("classes", ())) > 2:
        raise UsageError("--interpolate goes from one class to another: name one or two in --classes.")
    if len(given.get("compare", ())) > MOST_COMPARED:
        raise UsageError(f"--compare takes up to {MOST_COMPARED} models: leave some away.")


def _name(flag: str) -> str:
    return "--" + flag.replace("_", "-")


def _several(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} names an empty class: write names or numbers, such as cat,dog or 3,5."
        )
    return parts


def _interval(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low < min(high, GREATEST_SIGMA):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not two noise levels, the lower one first: write 0.2,3 or 0.2,inf."
        )
    return low, high
