"""Everything of a run that must survive a stop, and how it is written down and taken up again."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ddpm_core import checkpoint, devices, seeds
from ddpm_core.config import RunConfig
from ddpm_core.data import places
from ddpm_core.errors import CheckpointError, DataError
from ddpm_core.network import growing
from ddpm_core.network.unet import UNet
from ddpm_core.runs import Run
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training.ema import ConstantEMA, PowerEMA, WeightAverage, second_length
from ddpm_core.training.precision import Precision


class TrainingState:
    """Weights, their averages, the optimizer's moments, and the counters. `images` is the data set, uint8 (N, C, H, W).

    `pictures` of them are trained on; without it all are. `labels`, int64 (N,), and the `classes` that they number are for a
    network that learns them. `micro_batch` is how many pictures are in memory at once; without it a whole batch is.
    """

    def __init__(
        self,
        config: RunConfig,
        images: np.ndarray,
        device: torch.device,
        *,
        pictures: int | None = None,
        labels: np.ndarray | None = None,
        classes: tuple[str, ...] = (),
        micro_batch: int | None = None,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.mix(config.seed, "weights"))
            network = UNet(config.network, images.shape[1])
        self.config = config
        self.pictures, self.channels = pictures or len(images), images.shape[1]
        self.classes = classes
        self.device = device
        self._images, self._labels = images, b"" if labels is None else labels.tobytes()
        self.data_mark = self._mark()
        self.use_network(network)
        self.precision = Precision(device, config.amp)
        self.channels_last = False  # what the trial at the start chose (trial.py): the weights' layout in memory,
        # and the step from which a compiled network makes the steps, where compiling pays; None where it has failed
        self.compiled_from: int | None = 0
        self.micro_batch = micro_batch or config.batch_size  # pictures in memory at once; where it runs out, fewer
        self.finish: tuple[int, int] | None = None  # a cool-down that was asked for: its first step, and the run's last
        self.step = 0
        self.seconds = 0.0
        self.best_loss = math.inf
        self.loss_sum = torch.zeros((), device=device)  # since the best model was last judged; on the device
        self.loss_steps = 0

    def use_network(self, network: UNet) -> None:
        """Trains this one: its averages and its optimizer begin anew."""
        config = self.config
        self.network = network.to(self.device)
        # The one whose weights make pictures and model files.
        self.ema: WeightAverage = (
            PowerEMA(self.network, config.ema_length)
            if config.ema_decay is None
            else ConstantEMA(self.network, config.ema_decay)
        )
        # One of another length beside it, for the snapshots; a run without them does without it.
        self.second_ema = PowerEMA(self.network, second_length(config.ema_length)) if config.snapshots else None
        self.optimizer = optimizers.build(self.network, config)

    @property
    def images(self) -> int:
        """Pictures the network has been shown."""
        return self.step * self.config.batch_size

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.images // self.pictures

    @property
    def averages(self) -> tuple[WeightAverage, ...]:
        return (self.ema,) if self.second_ema is None else (self.ema, self.second_ema)

    def _mark(self, whole: bool = False) -> int:
        return places.mark(self._images, self._labels, whole=whole)

    def use_layout(self, channels_last: bool) -> None:
        """Lays the weights and their averages out so; feature maps follow them. Only before the optimizer has made a step or
        been given its moments, which lie as their weights do."""
        self.channels_last = channels_last
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for network in (self.network, *(average.network for average in self.averages)):
            network.to(memory_format=layout)  # type: ignore[call-overload]

    def update_averages(self) -> None:
        """Call after every optimizer step, when `step` has been counted."""
        for average in self.averages:
            average.update(self.network, self.step)

    def take_mean_loss(self) -> float:
        """The mean loss since this was last asked; starts counting anew."""
        mean = self.loss_sum.item() / self.loss_steps
        self.loss_sum.zero_()
        self.loss_steps = 0
        return mean

    def save_model(self, path: Path, loss: float | None) -> None:
        """Writes a model file: the average's weights, ready to make pictures."""
        model = checkpoint.Model(
            config=self.config,
            channels=self.channels,
            classes=self.classes,
            step=self.step,
            images=self.images,
            epoch=self.epoch,
            loss=loss,
            weights=self.ema.network.state_dict(),
        )
        checkpoint.save_model(path, model)

    def save(self, run: Run, seconds: float) -> None:
        """Writes the resume point."""
        state = {
            "config": self.config.to_json(),
            "step": self.step,
            "seconds": seconds,
            "best_loss": self.best_loss,
            "loss_sum": self.loss_sum,
            "loss_steps": self.loss_steps,
            "data_mark": self.data_mark,
            "threads": torch.get_num_threads(),
            "channels_last": self.channels_last,
            "compiled_from": self.compiled_from,
            "finish": list(self.finish) if self.finish else None,
            "micro_batch": self.micro_batch,
            "device": self.device.type,
            "weights": self.network.state_dict(),
            "ema": self.ema.network.state_dict(),
            "scaler": self.precision.state(),
            "moments": optimizers.moments(self.optimizer),
        }
        if self.second_ema is not None:
            state["second_ema"] = self.second_ema.network.state_dict()
        checkpoint.save_state(run.state_path, state)

    def restore(self, run: Run, say: Callable[[str], None], usual_layout: bool = False) -> None:
        """Continues from the resume point; `say` hears when the newest is damaged and the one before serves. `usual_layout`: whether
        weights lie channels-last on this device, for a run that comes from another kind of device.

        Raises `DataError` if the pictures are other ones than it was trained on, CheckpointError if no resume point can be read or
        its network is another version's.
        """
        saved = checkpoint.load_state(run.state_path, say)
        # (Earlier versions had the whole checksum of a large set.)
        if saved["data_mark"] != self.data_mark and saved["data_mark"] != self._mark(whole=True):
            raise DataError(
                f"the pictures of {self.config.dataset} are not just those that {run.name} was trained on (others, or read by another"
                f" version): put those back, or start a new run from its model, with --from-model {run.final_path}."
            )
        # Sums come out differently on another number of threads; only the same number gives the same bits. A machine with
        # fewer cores goes on with what it has: more threads than cores would stand in each other's way.
        torch.set_num_threads(min(saved["threads"], devices.cores()))
        # The same goes for the layout; but another kind of device has its own, and what a processor without bfloat16 likes can be
        # slow on one with it: there the bits are others anyway.
        # Runs begun before there was a trial have the plain layout, and were compiled from their first step.
        moved = saved.get("device", self.device.type) != self.device.type
        likes_it = devices.channels_last_pays(self.device) or self.device.type != "cpu"
        self.use_layout(usual_layout if moved else saved.get("channels_last", False) and likes_it)
        self.compiled_from = saved.get("compiled_from", 0)
        # Fewer pictures at once round otherwise, too; but another device has another memory.
        if not moved:
            self.micro_batch = saved.get("micro_batch", self.config.batch_size)
            asked = self.config.micro_batch
            if asked and asked != json.loads(saved["config"]).get("micro_batch"):  # asked for anew
                self.micro_batch = min(asked, self.config.batch_size)
        try:
            self.network.load_state_dict(saved["weights"])
            self.ema.network.load_state_dict(saved["ema"])
            if self.second_ema is not None:
                if "second_ema" not in saved:
                    say("So far this run has kept one weight average: the second one starts from it.")
                self.second_ema.network.load_state_dict(saved.get("second_ema", saved["ema"]))
            optimizers.restore_moments(self.optimizer, saved["moments"])
            self.precision.restore(saved.get("scaler"))
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{run.state_path} does not fit this version's network: start a new run.") from error
        finish = saved.get("finish")
        self.finish = tuple(finish) if finish else None
        self.step = saved["step"]
        self.seconds = saved["seconds"]
        self.best_loss = saved["best_loss"]
        self.loss_sum = saved["loss_sum"].to(self.loss_sum.device)
        self.loss_steps = saved["loss_steps"]

    def start_from(self, model: checkpoint.Model, path: str) -> None:
        """Takes the weights of a trained model, read from `path`, as the start, grown to this run's size.

        Raises `UsageError` if its trunk is another, CheckpointError if the weights are not numbers.
        """
        weights = growing.weights(model, self.network, self.config, self.channels, self.classes)
        for network in (self.network, *(average.network for average in self.averages)):
            checkpoint.load_weights(network, weights, path)
