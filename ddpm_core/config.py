"""Every setting of a run in one validated place.

This file imports no torch, so that the studio's page and `--help` are there at once.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from ddpm_core import run_name
from ddpm_core.errors import UsageError
from ddpm_core.presets import PRESETS, TABLE, recipe

SIZES = (32, 64, 96, 128, 256)
SCHEDULES = ("cosine", "linear")
PREDICTIONS = ("v", "eps", "edm")
LOSS_WEIGHTS = ("balanced", "min-snr", "simple")
NOISE_LEVELS = ("uniform", "independent", "log-normal")
OPTIMIZERS = ("adamw", "muon")
CROPS = ("center", "pad")
COLOURS = ("auto", "colour", "grey")
BACKGROUNDS = ("white", "black", "grey")
DATA_PLACES = ("auto", "device", "memory", "disk")
AUGMENT_LABELS = 6  # numbers that tell the network how a picture was changed (training/augment.py)
# The functions are in diffusion/samplers/, which needs torch. The first is what everybody gets who does not choose.
SAMPLERS = (
    "dpm++2m-late",
    "dpm++2m",
    "dpm++3m",
    "unipc",
    "deis",
    "ipndm",
    "heun",
    "euler",
    "ddim",
    "dpm++2m-sde",
    "ddpm",
)
SPACINGS = ("trailing", "karras", "logsnr")  # how a staircase's steps lie, see diffusion/schedule.py
SPACING_OF = {name: "trailing" if name in ("ddim", "ddpm") else "karras" for name in SAMPLERS}
TWO_CALLS = ("heun",)  # these ask the network twice a step, but once at the last: 2 n - 1 calls in n steps
DEFAULT_STEPS = 20
MOST_PICTURES = 1024  # of one request
# What a person chooses who does not care for samplers; the first is what everybody gets who does not choose at all.
# (Measured by benchmarks.samplers, see README.)
SETTINGS: dict[str, dict[str, Any]] = {
    "quality": {"sampler": SAMPLERS[0], "steps": DEFAULT_STEPS},
    "fast": {"sampler": SAMPLERS[0], "steps": 10},
}


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{name} is {value!r}: it must be a whole number from {low} to {high}.")


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise UsageError(f"{name} is {value!r}: it must be a number from {low:g} to {high:g}.")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} is {value!r}: choose one of {', '.join(choices)}.")


def _round_to(value: int, step: int) -> int:
    return max(step, round(value / step) * step)


def _nearest_size(size: Any) -> int:
    return min(SIZES, key=lambda known: abs(known - size)) if isinstance(size, (int, float)) else SIZES[0]


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of the U-Net. Stored in every checkpoint, so that a model file explains itself."""

    width: int = 64  # channels of the first level
    multipliers: tuple[int, ...] = (1, 2)  # channels of level i = width * multipliers[i]; each level halves the side
    blocks: int = 1  # residual blocks a level, on the way down and again on the way up
    patch: int = 2  # the stem folds patch x patch pixels into channels (pixel-unshuffle); 1 = full resolution
    attention: tuple[int, ...] = (1,)  # levels whose blocks get self-attention (0 = the largest feature map)
    dropout: float = 0.0  # inside each residual block, 0 to below 1
    labels: int = 0  # AUGMENT_LABELS for a network that hears how training pictures were changed; 0 = it does not
    classes: int = 0  # how many classes a network can be asked for; 0 = it knows none

    def __post_init__(self) -> None:
        # JSON has no tuples; lists from a file become tuples here.
        for several in ("multipliers", "attention"):
            if not isinstance(getattr(self, several), list | tuple):
                raise UsageError(
                    f"network.{several} is {getattr(self, several)!r}: it must be a list of whole numbers."
                )
            object.__setattr__(self, several, tuple(getattr(self, several)))
        _check_whole("network.width", self.width, 8, 2048)
        if self.width % 8:
            raise UsageError(
                f"network.width is {self.width}: choose a multiple of 8, for example {_round_to(self.width, 8)}."
            )
        if not 1 <= len(self.multipliers) <= 7:
            raise UsageError("network.multipliers needs 1 to 7 numbers, for example (1, 2).")
        for multiplier in self.multipliers:
            _check_whole("network.multipliers", multiplier, 1, 64)
        for level in self.attention:
            _check_whole("network.attention", level, 0, len(self.multipliers) - 1)
        _check_whole("network.blocks", self.blocks, 1, 16)
        _check_whole("network.patch", self.patch, 1, 16)
        _check_number("network.dropout", self.dropout, 0.0, 0.95)
        _check_whole("network.labels", self.labels, 0, AUGMENT_LABELS)
        if self.labels not in (0, AUGMENT_LABELS):
            raise UsageError(f"network.labels is {self.labels}: it must be 0 or {AUGMENT_LABELS}.")
        _check_whole("network.classes", self.classes, 0, 100_000)

    @property
    def stride(self) -> int:
        """Picture sides must be a multiple of this: the stem's patch times one halving per level below the first."""
        return self.patch * 2 ** (len(self.multipliers) - 1)


# What each preset's network costs stands beside it in the table (presets.py).
NETWORKS: dict[tuple[str, int], NetworkConfig] = {key: NetworkConfig(**row.network) for key, row in TABLE.items()}


# What each setting may be; the flags of the command line offer the same.
WHOLE: dict[str, tuple[int, int]] = {
    "size": (8, 1024),
    "epochs": (1, 10_000_000),
    "max_steps": (1, 1_000_000_000),
    "batch_size": (1, 4096),
    "micro_batch": (1, 4096),
    "warmup_steps": (0, 1_000_000),
    "decay_steps": (0, 1_000_000_000),
    "sample_every": (1, 1_000_000),
    "checkpoint_every": (1, 1_000_000),
    "seed": (0, 2**63 - 1),
}
NUMBERS: dict[str, tuple[float, float]] = {
    "held_out": (0.0, 0.5),
    "label_drop": (0.0, 0.9),
    "adam_beta2": (0.5, 0.99999),
    "lr": (1e-7, 1.0),
    "cooldown": (0.0, 1.0),
    "weight_decay": (0.0, 10.0),
    "grad_clip": (1e-3, 1e6),
    "ema_length": (0.01, 0.25),
    "ema_decay": (0.0, 0.999999),
    "noise_mean": (-5.0, 5.0),
    "noise_std": (0.1, 5.0),
    # Half is the most: at sampling the network hears "nothing was done", and must have heard that often enough.
    "augment": (0.0, 0.5),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "crop": CROPS,
    "background": BACKGROUNDS,
    "colour": COLOURS,
    "preset": PRESETS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "prediction": PREDICTIONS,
    "loss_weight": LOSS_WEIGHTS,
    "noise_levels": NOISE_LEVELS,
    "data_on": DATA_PLACES,
}


@dataclass(frozen=True)
class RunConfig:
    """Every setting of one training run. Raises `UsageError` (one line, with the fix) for a value that cannot work.

    Begin with `preset(...)`, which has a network and a recipe for each size. Left to themselves these fields are a small network
    and a cautious recipe that serve any.
    """

    dataset: str = "openmoji"  # a named set ("openmoji:flags" for one group), or the path of a folder of images
    size: int = 32  # side of the square pictures in pixels
    name: str = ""  # the run's folder; "" = made from data set and size, as in openmoji_32x32
    preset: str = "cpu"  # which row of the preset table `network`, `batch_size` and `lr` came from
    network: NetworkConfig = field(default_factory=NetworkConfig)

    crop: str = "center"  # how a picture becomes a square: its "center", or all of it with a border: "pad"
    background: str = "white"  # behind transparent pictures, and the colour of the border: "white", "black", "grey"
    colour: str = "auto"  # "auto" (grey sets stay grey), "colour" or "grey"
    held_out: float = 0.05  # this share of the pictures is never trained on; they tell learning from learning by heart

    epochs: int | None = None  # passes over the data; None = 50, or more for a small set (see `default_epochs`)
    max_steps: int | None = None  # stop after this many optimizer steps even if epochs are left; None = no limit
    batch_size: int = 64  # pictures in one optimizer step
    micro_batch: int | None = None  # pictures in memory at once, a step is made of several; None = as many as fit
    class_conditional: bool = False  # learn the classes too, so that pictures of one class can be asked for
    label_drop: float = 0.1  # share of the pictures whose class is not told: the network then knows them without, too
    # "muon" (for the matrices inside the network, and AdamW for the rest) or "adamw" for all. Measured after 40,000 pictures of
    # 32 px, the same learning rate, two seeds: distance 100 instead of 159 on OpenMoji, 71 instead of 122 on Fashion-MNIST.
    optimizer: str = "muon"
    adam_beta2: float = 0.99  # AdamW's memory of squared gradients; the 2020 paper has 0.999
    lr: float = 1e-3  # the learning rate after the warm-up, of either optimizer
    warmup_steps: int = 100  # the learning rate rises linearly over these steps
    decay_steps: int = 0  # after these steps it falls as 1 / sqrt(step); 0 = never
    cooldown: float = 0.0  # over this last share of the run it falls to zero; such a run ends where it was planned to
    weight_decay: float = 0.0  # decoupled from the gradient, as in AdamW
    grad_clip: float = 1.0  # largest norm of the gradient; longer ones are shortened
    ema_length: float = 0.1  # width of the weight average relative to the run's length so far (sigma_rel of EDM2)
    ema_decay: float | None = None  # an average that keeps this much of itself every step instead (2020 paper: 0.9999)

    schedule: str = "cosine"  # noise table: "cosine" or "linear" (2020 paper)
    # The network predicts "edm" (input and target of unit variance), "v" or "eps". Measured as above on OpenMoji and Fashion-MNIST:
    # "edm" and "log-normal" 100 and 71 with "balanced", 128 and 93 with "simple"; "v", "min-snr", "uniform" 141 and 74
    # (one seed); "eps", "simple", "uniform" 212 and 91.
    prediction: str = "edm"
    # What a noise level counts: "balanced" (less where much can never be known, see objective.loss_weight), "min-snr" (gamma 5) or
    # "simple" (all alike).
    loss_weight: str = "balanced"
    # Which noise levels training sees: "uniform" (over the table, one from each of batch_size equal slices), "independent"
    # (over the table, each picture by itself: 2020 paper) or "log-normal" (ln(sigma / alpha) is normal: EDM; in slices too).
    noise_levels: str = "log-normal"
    noise_mean: float | None = None  # the normal's mean; None = -0.4 + ln(size / 32), see `log_normal`
    noise_std: float | None = None  # its standard deviation; None = 1.2, from 128 px on 1.0

    flip: bool = False  # show every picture mirrored half of the time; results may be mirrored, too
    augment: float = 0.0  # chance of each change (mirror, turn, scale, shift, ...) to a training picture; EDM has 0.12

    sample_every: int = 5  # epochs between quick sample grids (the first ones come earlier, at steps 16, 32, 64, ...)
    checkpoint_every: int = 10  # epochs between ddpm_epoch_N.pt files
    snapshots: bool = True  # keep copies of the weight averages in two bytes a number, from which averages of other lengths can be made
    seed: int = 0  # of weights, data order, noise and sample grids: the same seed gives the same run
    amp: bool = True  # bfloat16 arithmetic where the device is good at it, float16 on older cards; weights stay float32
    compile: bool = True  # recorded steps and torch.compile where they pay (NVIDIA cards); never on a processor
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1", "mps"
    data_on: str = "auto"  # where the pictures wait: "device", "memory" or "disk"; "auto" = the first that has room
    from_model: str | None = None  # a checkpoint whose weights this run starts from

    def __post_init__(self) -> None:
        if not isinstance(self.network, NetworkConfig):
            object.__setattr__(self, "network", _from_dict(NetworkConfig, self.network, "network."))
        for name, whole in WHOLE.items():
            if not self._left_open(name):
                _check_whole(name, getattr(self, name), *whole)
        for name, numbers in NUMBERS.items():
            if not self._left_open(name):
                _check_number(name, getattr(self, name), *numbers)
        for name, choices in CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        for switch in ("amp", "compile", "snapshots", "flip", "class_conditional"):
            if not isinstance(getattr(self, switch), bool):
                raise UsageError(f"{switch} is {getattr(self, switch)!r}: it must be true or false.")
        if self.augment and not self.network.labels:
            object.__setattr__(self, "network", dataclasses.replace(self.network, labels=AUGMENT_LABELS))
        if not isinstance(self.dataset, str) or not self.dataset.strip():
            raise UsageError("dataset is empty: name a data set (openmoji) or the path of a folder of images.")
        if not self.name:
            object.__setattr__(self, "name", run_name.default(self.dataset, self.size))
        run_name.check(self.name)
        if self.size % self.network.stride:
            raise UsageError(
                f"size {self.size} does not fit this network: choose a multiple of {self.network.stride},"
                f" for example {_round_to(self.size, self.network.stride)}."
            )
        if self.loss_weight == "balanced" and self.noise_levels != "log-normal":
            raise UsageError(
                f'loss_weight "balanced" is for log-normal noise levels, not {self.noise_levels}: choose min-snr or simple.'
            )
        if self.snapshots and self.ema_decay is not None:
            raise UsageError(
                "snapshots are of averages without ema_decay: set snapshots to false, or ema_decay to null."
            )
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise UsageError(f"device is {self.device!r}: choose auto, cpu, cuda, cuda:0 or mps.")
        if self.from_model is not None and (not isinstance(self.from_model, str) or not self.from_model):
            raise UsageError(f"from_model is {self.from_model!r}: it must be the path of a model file.")

    def _left_open(self, name: str) -> bool:
        return getattr(self, name) is None and getattr(type(self), name) is None

    @property
    def log_normal(self) -> tuple[float, float]:
        """Mean and standard deviation of ln(sigma / alpha) for noise_levels "log-normal"; "balanced" weights go by them, too.

        1.2 is EDM's deviation (Karras et al. 2022, arXiv 2206.00364, table 1) for 32 px. Its mean, -1.2, is for photographs;
        drawings with large even areas are decided at more noise (40,000 pictures, the network of before 2026-11-29, levels
        alike: 154 with -1.2 on OpenMoji, 118 with -0.4; 136 and 115 on Fashion-MNIST). A picture twice as wide hides the same
        shapes only in twice the noise (simple diffusion, Hoogeboom et al. 2023, arXiv 2301.11093, section 3.1).
        """
        mean = -0.4 + math.log(self.size / 32) if self.noise_mean is None else self.noise_mean
        return mean, (1.2 if self.size < 128 else 1.0) if self.noise_std is None else self.noise_std

    @property
    def sigma_max(self) -> float | None:
        """The largest sigma / alpha that training showed, where sampling must begin; None = the end of the schedule's table.

        Log-normal levels end 4.65 standard deviations out, so that it is EDM's 80 at EDM's own mean and deviation.
        """
        if self.noise_levels != "log-normal":
            return None
        mean, std = self.log_normal
        return math.exp(mean + 4.65 * std)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RunConfig":
        """The inverse of `to_json`. Raises `UsageError` for text that is no JSON or has settings this version does not know."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"the settings are not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})."
            ) from None
        except (ValueError, RecursionError):  # numbers of thousands of digits, brackets nested without end
            raise UsageError("the settings are not valid JSON.") from None
        if isinstance(values, dict):
            values.setdefault("held_out", 0.0)  # runs begun before there was this setting have trained on every picture
        return _from_dict(cls, values, "")


def preset(dataset: str = "openmoji", size: int = 32, preset: str = "cpu", **settings: Any) -> RunConfig:
    """The settings for one data set, picture size (32, 64, 96, 128, 256) and preset (presets.py: "cpu" to "large", "classic").

    Any field of `RunConfig` can be given by name and wins over the preset's. Raises `UsageError`.
    """
    _check_choice("preset", preset, PRESETS)
    if size not in SIZES:
        raise UsageError(f"size {size!r} is not one of {', '.join(map(str, SIZES))}: choose {_nearest_size(size)}.")
    chosen = {"network": NETWORKS[preset, size], **recipe(preset, size), **settings}
    return RunConfig(dataset=dataset, size=size, preset=preset, **chosen)


def held_out_count(pictures: int, share: float) -> int:
    """How many of a set's pictures are never trained on: `share` of them, rounded down; of fewer than 20 none."""
    return int(share * pictures) if pictures >= 20 else 0


def default_epochs(pictures: int) -> int:
    """Passes over the data when nobody chose: 50 as in the guide, or as many as show the network a million pictures."""
    return max(50, math.ceil(1_000_000 / max(1, pictures)))


def _from_dict(cls: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise UsageError(f"the settings {prefix or '(top level)'} must be a JSON object.")
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(
            f"unknown setting {prefix}{unknown[0]}: it may come from a newer version of DDPM Studio; update, or remove the line."
        )
    return cls(**values)
