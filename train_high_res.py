"""Trains a diffusion model on a data set or on a folder of your own images: python train_high_res.py --help"""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_core import commandline
from ddpm_core.config import PRESETS, SIZES, RunConfig, check_name, default_name, preset

if TYPE_CHECKING:
    from ddpm_core.data.catalogue import DatasetInfo
    from ddpm_core.runs import Run, Status
    from ddpm_core.training.control import Control

# torch and all that needs it is imported inside functions: --help and a mistyped flag should not wait for it.

EXAMPLES = """\
examples:
  python train_high_res.py                                   4,495 small drawings (OpenMoji), no download
  python train_high_res.py --dataset=cifar10 --size=64
  python train_high_res.py --dataset=cifar10 --size=128
  python train_high_res.py --dataset=cifar10 --size=256      needs a high-end graphics card
  python train_high_res.py --dataset=~/Pictures/cats --size=64 --name cats
  python train_high_res.py --resume --name cats              goes on where it was stopped (Ctrl-C)
  python train_high_res.py --resume --name cats --epochs=100 makes a finished run longer

then:
  python inference_high_res.py --model=checkpoints/cats/ddpm_best.pt --samples=16
"""

# The flags that are settings of the run (config.RunConfig); the others say where and how.
SETTINGS = [
    "dataset",
    "size",
    "preset",
    "epochs",
    "max_steps",
    "batch_size",
    "lr",
    "cooldown",
    "augment",
    "seed",
    "device",
    "from_model",
    "amp",
    "snapshots",
    "compile",
]


def parser(dataset: str, size: int) -> commandline.Parser:
    """The flags; `dataset` and `size` are what is trained when nobody says."""
    whole, number, one_of = commandline.whole, commandline.number, commandline.one_of
    flags = commandline.Parser(
        description="Train a diffusion model. Every flag has a good default; stop at any time with Ctrl-C.",
        epilog=EXAMPLES,
    )
    what = flags.add_argument_group("what to learn")
    what.add_argument(
        "--dataset",
        metavar="NAME",
        help="openmoji, openmoji:GROUP, fashion_mnist, cifar10, or the path of a folder of images"
        f" (default: {dataset})",
    )
    what.add_argument(
        "--size",
        type=one_of(*SIZES, what="size"),
        metavar="PIXELS",
        help=f"side of the pictures: {', '.join(map(str, SIZES))} (default: {size})",
    )
    what.add_argument(
        "--preset",
        type=one_of("auto", *PRESETS, what="preset"),
        metavar="NAME",
        help="size of the network: cpu (learns on two cores), standard (wants a graphics card),"
        " classic (the recipe of the 2020 paper, slow, to compare with), or auto: what this machine can do (default)",
    )
    what.add_argument("--from-model", metavar="FILE", help="start from this trained model instead of from nothing")

    long = flags.add_argument_group("how long and how")
    long.add_argument(
        "--epochs",
        type=whole(1, 1_000_000),
        metavar="N",
        help="passes over the pictures (default: 50, more for a small set)",
    )
    long.add_argument(
        "--max-steps",
        type=whole(0, 1_000_000_000),
        metavar="N",
        help="stop after this many steps even so; 0: no limit, also for a run that had one (default)",
    )
    long.add_argument(
        "--batch-size", type=whole(1, 4096), metavar="N", help="pictures in one step (default: the preset's)"
    )
    long.add_argument("--lr", type=number(1e-7, 1.0), metavar="RATE", help="learning rate (default: the preset's)")
    long.add_argument(
        "--cooldown",
        type=number(0.0, 1.0),
        metavar="SHARE",
        help="over this last share of the run the learning rate falls to zero, for example 0.2;"
        " with --resume and --max-steps it brings a run to a good end (default: 0)",
    )
    long.add_argument(
        "--augment",
        type=number(0.0, 0.5),
        metavar="P",
        help="for small sets: also learn from mirrored, turned, scaled and shifted pictures, each with this chance;"
        " the network is told, and draws them as they were. Try 0.12 (default: 0)",
    )
    long.add_argument(
        "--seed", type=whole(0, 2**63 - 1), metavar="N", help="the same seed gives the same run (default: 0)"
    )
    long.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    long.add_argument("--no-amp", dest="amp", action="store_false", help="no mixed precision")
    long.add_argument(
        "--no-snapshots", dest="snapshots", action="store_false", help="keep no small copies of the weight averages"
    )
    long.add_argument("--no-compile", dest="compile", action="store_false", help="no torch.compile")

    where = flags.add_argument_group("where")
    where.add_argument("--name", metavar="NAME", help="the run's folder (default: made of data set and size)")
    where.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    where.add_argument(
        "--output-dir",
        metavar="FOLDER",
        help="where checkpoints/, samples/ and training_progress/ go (default: this folder)",
    )
    where.add_argument("--data-dir", metavar="FOLDER", help="where data sets are kept (default: data)")
    return flags


def main(argv: Sequence[str] | None = None, *, dataset: str = "openmoji", size: int = 64) -> int:
    """Trains as `argv` says; returns the exit code."""
    return commandline.exit_code(lambda: run_it(parser(dataset, size).given(argv), dataset, size))


def run_it(given: dict[str, Any], dataset: str, size: int) -> int:
    """All that can be wrong is found before anything is written: settings, then data, then device, then the run."""
    root = Path(given.get("output_dir", ".")).expanduser()
    data_dir = Path(given.get("data_dir", "data")).expanduser()
    settings = {key: given[key] for key in SETTINGS if key in given}
    if settings.get("preset") == "auto":
        del settings["preset"]
    if "name" in given:
        check_name(given["name"])

    if given.get("resume"):
        run, config, info = resumed(root, data_dir, given, settings, dataset, size)
    else:
        settings["max_steps"] = settings.get("max_steps") or None
        run, config, info = fresh(root, data_dir, given, {"dataset": dataset, "size": size, **settings})
    tell_plan(run, config, info, resume="resume" in given)
    status = train(run, config, data_dir, resume="resume" in given)
    tell_end(run, status, given)
    return 0


def fresh(
    root: Path, data_dir: Path, given: dict[str, Any], settings: dict[str, Any]
) -> "tuple[Run, RunConfig, DatasetInfo]":
    from ddpm_core.data import catalogue
    from ddpm_core.runs import new_run

    name = given.get("name", "")
    typed, settings = settings, lasting(settings)  # messages show what was typed
    # Finds wrong settings before seconds are spent on importing torch.
    run, _ = new_run(root, preset(**settings, name=name), explicit_name=bool(name))
    info = catalogue.describe(typed["dataset"], data_dir)

    from ddpm_core import checkpoint, devices

    device = devices.choose(settings.get("device", "auto"))
    if "from_model" in settings:
        model = checkpoint.load_model(Path(typed["from_model"]).expanduser())
        settings = {"preset": model.config.preset, **settings}
    config = preset(**{"preset": "cpu" if device.type == "cpu" else "standard", **settings}, name=run.name)
    if "from_model" in settings:
        checkpoint.check_start(model, config, info.channels, typed["from_model"])
    return run, config, info


def resumed(
    root: Path, data_dir: Path, given: dict[str, Any], settings: dict[str, Any], dataset: str, size: int
) -> "tuple[Run, RunConfig, DatasetInfo]":
    from ddpm_core.data import catalogue
    from ddpm_core.runs import resume_run

    settings = lasting(settings)
    name = given.get("name") or default_name(settings.get("dataset", dataset), settings.get("size", size))
    run, config = resume_run(root, name, settings)
    info = catalogue.describe(config.dataset, data_dir)

    from ddpm_core import devices

    devices.choose(config.device)
    return run, config, info


def lasting(settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` with absolute paths, so that the run can go on from another current folder."""
    from ddpm_core.data import catalogue

    settings = dict(settings)
    if "dataset" in settings:
        settings["dataset"] = catalogue.absolute(settings["dataset"])
    if settings.get("from_model"):
        settings["from_model"] = os.path.abspath(os.path.expanduser(settings["from_model"]))
    return settings


def tell_plan(run: "Run", config: RunConfig, info: "DatasetInfo", resume: bool) -> None:
    from ddpm_core.training.plan import forecast

    status = run.status() if resume else None
    start = f"Resuming {run.name} at step {status.step:,}" if status else f"Training {run.name}"
    print(
        f"{start}: {info.title} at {config.size} px. {forecast(config, info.pictures, info.channels).text}", flush=True
    )


def train(run: "Run", config: RunConfig, data_dir: Path, resume: bool) -> "Status":
    """Trains with a progress bar; Ctrl-C, SIGTERM or a closed terminal saves and ends, a second Ctrl-C at once."""
    from ddpm_core.training import trainer
    from ddpm_core.training.control import Control

    control = Control()
    before = commandline.on_end(stopper(control))
    bar = Bar()
    try:
        return trainer.train(run, config, data_dir=data_dir, resume=resume, control=control, report=bar.show)
    finally:
        bar.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def stopper(control: "Control") -> Any:
    def stop(number: int, _: Any) -> None:
        # os.write and os._exit: this runs between any two instructions, also inside print or while a file is being saved.
        if control.stopping:
            if number in commandline.HANG_UPS:  # comes twice, from the shell and from the system
                return
            os._exit(130)
        control.stop()
        os.write(2, b"\nsaving... (once more to end without)\n")

    return stop


class Bar:
    """A tqdm bar that follows the trainer's status."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.training = False
        self.message = ""

    def show(self, status: "Status") -> None:
        from tqdm import tqdm

        if status.state == "preparing":
            if self.bar is None:
                self.bar = tqdm(bar_format="{desc}", leave=False)
            self.bar.set_description_str(status.message)
            return
        if not self.training:
            self.close()
            self.training = True
            # In a log file a line now and then is enough.
            self.bar = tqdm(
                total=status.total_steps,
                initial=status.step,
                mininterval=0.2 if sys.stderr.isatty() else 10.0,
                bar_format="{percentage:3.0f}% |{bar:24}| {n_fmt} of {total_fmt} steps{postfix}",
            )
        if status.message and status.message != self.message:
            new = status.message.removeprefix(self.message).strip()  # the trainer says one thing after another
            self.bar.write(new, file=sys.stderr)
            self.message = status.message
        facts = []
        if status.loss is not None:
            facts += [f"loss {status.loss:.4f}", f"{status.images_per_second:.0f} images/s"]
        if status.seconds_left is not None:
            facts.append(f"{tqdm.format_interval(status.seconds_left)} left")
        self.bar.set_postfix_str(", ".join(facts), refresh=False)
        self.bar.update(status.step - self.bar.n)
        if status.state in ("finished", "stopped"):
            self.bar.refresh()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def tell_end(run: "Run", status: "Status", given: dict[str, Any]) -> None:
    """Where everything is, and what to do next."""
    if not run.can_resume():
        print("stopped before the first step; nothing was saved.")
        return
    places = "".join(
        f" --{flag.replace('_', '-')} {shlex.quote(given[flag])}"
        for flag in ("output_dir", "data_dir")
        if flag in given
    )
    if status.state == "finished":
        loss = f", loss {status.loss:.4f}" if status.loss is not None else ""
        print(f"finished: {status.step:,} steps, {status.images:,} pictures seen{loss}.")
    else:
        print(f"saved; continue with: python train_high_res.py --resume --name {run.name}{places}")
    print(f"models: {run.checkpoints}   pictures: {run.progress}, {run.samples}")
    print(f"make pictures: python inference_high_res.py --model={shlex.quote(str(run.best_path))} --samples=16")


if __name__ == "__main__":
    sys.exit(main())
