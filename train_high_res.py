"""Trains a diffusion model on a data set or on a folder of your own images: python train_high_res.py --help"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_core import commandline, run_name
from ddpm_core.config import RunConfig, preset
from ddpm_core.errors import UsageError
from ddpm_core.training.flags import NO_SETTINGS, parser

if TYPE_CHECKING:
    from ddpm_core.data.catalogue import DatasetInfo
    from ddpm_core.runs import Run, Status
    from ddpm_core.training.control import Control

# torch and all that needs it is imported inside functions: --help and a mistyped flag should not wait for it.


def main(argv: Sequence[str] | None = None, *, dataset: str = "openmoji", size: int = 64) -> int:
    """Trains as `argv` says; returns the exit code."""
    return commandline.exit_code(lambda: run_it(parser(dataset, size).given(argv), dataset, size))


def run_it(given: dict[str, Any], dataset: str, size: int) -> int:
    """All that can be wrong is found before anything is written: settings, then data, then device, then the run."""
    root = Path(os.path.expanduser(given.get("output_dir", ".")))
    data_dir = Path(os.path.expanduser(given.get("data_dir", "data")))
    settings = {key: value for key, value in given.items() if key not in NO_SETTINGS}
    if settings.get("preset") == "auto":
        del settings["preset"]
    if "name" in given:
        run_name.check(given["name"])

    if given.get("resume"):
        run, config, info = resumed(root, data_dir, given, settings, dataset, size)
    else:
        settings["max_steps"] = settings.get("max_steps") or None
        run, config, info = fresh(root, data_dir, given, {"dataset": dataset, "size": size, **settings})
    if given.get("plan"):
        tell_whole_plan(run, config, info, resume="resume" in given)
        return 0
    if not (given.keys() & {"name", "resume"}) and run.name != (usual := run_name.default(config.dataset, config.size)):
        print(f"There is a run {usual} already (--resume goes on with it): this one is {run.name}.", flush=True)
    tell_plan(run, config, info, resume="resume" in given)
    status = train(run, config, data_dir, resume="resume" in given)
    tell_end(run, status, given)
    return 0


def fresh(
    root: Path, data_dir: Path, given: dict[str, Any], settings: dict[str, Any]
) -> "tuple[Run, RunConfig, DatasetInfo]":
    from ddpm_core.beginning import new_run
    from ddpm_core.data import catalogue
    from ddpm_core.training.classes import with_classes

    name = given.get("name", "")
    typed, settings = settings, lasting(settings)  # messages show what was typed
    # Finds wrong settings before seconds are spent on importing torch.
    run, _ = new_run(root, preset(**settings, name=name), explicit_name=bool(name))
    info = catalogue.describe(typed["dataset"], data_dir)
    with_classes(preset(**typed), info)  # before a set is downloaded that has none

    from ddpm_core import checkpoint, devices
    from ddpm_core.network import growing

    device = devices.choose(settings.get("device", "auto"))
    if "from_model" in settings:
        model = checkpoint.load_model(Path(os.path.expanduser(typed["from_model"])))
        if settings.get("preset", model.config.preset) != model.config.preset:
            raise UsageError(
                f"--preset {settings['preset']} and --from-model do not go together: the run has the model's network"
                f" ({model.config.preset}). Leave --preset out."
            )
        settings["preset"] = model.config.preset
    if "preset" not in settings:
        from ddpm_core.training.memory import best_preset

        settings["preset"] = best_preset(settings, device)
    config = preset(**settings, name=run.name)
    if "from_model" in settings:
        config = growing.fit(config, model.config)
    return run, config, info


def resumed(
    root: Path, data_dir: Path, given: dict[str, Any], settings: dict[str, Any], dataset: str, size: int
) -> "tuple[Run, RunConfig, DatasetInfo]":
    from ddpm_core.beginning import resume_run
    from ddpm_core.data import catalogue

    settings = lasting(settings)
    name = given.get("name") or run_name.default(settings.get("dataset", dataset), settings.get("size", size))
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
    """What will be trained, what it will take, and what is in the way of more."""
    from ddpm_core import devices
    from ddpm_core.training.plan import forecast

    step = made(run) if resume else 0
    start = f"Resuming {run.name} at step {step:,}" if resume else f"Training {run.name}"
    plan = forecast(config, info.pictures, info.channels, step=step)
    print(f"{start}: {info.title} at {config.size} px, preset {config.preset}. {plan.text}", flush=True)
    advice = devices.advice() if plan.device_type == "cpu" and config.device == "auto" else None
    for line in (advice, plan.hint):
        if line:
            print(line, flush=True)


def tell_whole_plan(run: "Run", config: RunConfig, info: "DatasetInfo", resume: bool) -> None:
    """For --plan: everything that is known before the start, and on a card what three real steps take."""
    from ddpm_core import devices
    from ddpm_core.training.plan import forecast, size
    from ddpm_core.training.plan_sheet import sheet
    from ddpm_core.training.rehearsal import measured_peak

    plan = forecast(config, info.pictures, info.channels, step=made(run) if resume else 0)
    print(f"The plan for {run.name}, {info.title} at {config.size} px:\n\n{sheet(plan)}", flush=True)
    device = devices.choose(config.device)
    if device.type == "cuda":
        try:
            measured = size(measured_peak(config, plan.channels, plan.micro_batch, device))
            print(f"\n  three steps took {measured} of its memory; the plan says {size(plan.memory.of_steps)}")
        except Exception as error:
            if not devices.is_out_of_memory(error):
                raise
            print("\n  three steps ran out of memory: a run would go on with fewer pictures at a time")
    for line in (devices.advice(), plan.hint):
        if line:
            print(f"\n  {line}")


def made(run: "Run") -> int:
    """The steps that a run has made, as far as they are saved."""
    status = run.status()
    return status.resumes_from if status else 0


def train(run: "Run", config: RunConfig, data_dir: Path, resume: bool) -> "Status":
    """Trains with a progress bar; Ctrl-C, SIGTERM or a closed terminal saves and ends, a second Ctrl-C at once."""
    from ddpm_core.training import trainer
    from ddpm_core.training.control import Control

    control = Control()
    before = commandline.on_end(stopper(control))
    if hasattr(signal, "SIGUSR1"):
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, finisher(control))
    bar = Bar()
    try:
        return trainer.train(run, config, data_dir=data_dir, resume=resume, control=control, report=bar.show)
    finally:
        bar.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def stopper(control: "Control") -> Any:
    def stop(number: int, _: Any) -> None:
        # os._exit: this runs between any two instructions, also while a file is being saved.
        if control.stopping:
            if number in commandline.HANG_UPS:  # comes twice, from the shell and from the system
                return
            os._exit(130)
        control.stop()
        commandline.say_from_handler(b"\nsaving... (once more to end without)\n")

    return stop


def finisher(control: "Control") -> Any:
    def finish(*_: Any) -> None:
        control.finish()
        commandline.say_from_handler(b"\ncooling down, then it is finished...\n")

    return finish


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
        if status.loss is not None and status.images_per_second:  # else it is from before this run was resumed
            facts += [f"loss {status.loss:.4f}", f"{status.images_per_second:.0f} images/s"]
        if status.seconds_left is not None:
            facts.append(f"{tqdm.format_interval(status.seconds_left)} left")
        self.bar.set_postfix_str(", ".join(facts), refresh=False)
        self.bar.total = status.total_steps  # fewer, once it was asked to finish
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
        f" --{flag.replace('_', '-')} {commandline.quoted(given[flag])}"
        for flag in ("output_dir", "data_dir")
        if flag in given
    )
    if status.state == "finished":
        loss = f", loss {status.loss:.4f}" if status.loss is not None else ""
        print(f"finished: {status.step:,} steps, {status.images:,} pictures seen{loss}.")
    else:
        print(f"saved; continue with: python train_high_res.py --resume --name {run.name}{places}")
    print(f"models: {run.checkpoints}   pictures: {run.progress}, {run.samples}")
    if run.best_path.exists():
        print(
            f"make pictures: python inference_high_res.py --model={commandline.quoted(str(run.best_path))} --samples=16"
        )


if __name__ == "__main__":
    sys.exit(main())
