"""The recipe with one setting changed at a time: what benchmarks/ablation.py compares after as many pictures, and
benchmarks/quality.py, by the same names, after as many minutes."""

from typing import Any

from ddpm_core.config import NetworkConfig, RunConfig

V = {"prediction": "v", "loss_weight": "min-snr", "noise_levels": "uniform"}
EPS = {"prediction": "eps", "loss_weight": "simple", "noise_levels": "uniform"}
ALIKE = {"loss_weight": "simple"}  # what a noise level counted until 2026-11-30
ADAMW = {"optimizer": "adamw"}
CLASSIC = {
    **ADAMW,
    "prediction": "eps",
    "schedule": "linear",
    "loss_weight": "simple",
    "noise_levels": "independent",
    "adam_beta2": 0.999,
    "lr": 2e-4,
    "decay_steps": 0,
}


def _network(**settings: Any) -> dict[str, Any]:
    # (With the weights of noise levels that there were when these networks were tried.)
    return {"network": NetworkConfig(blocks=1, attention=(), **settings), **ALIKE}


# What is changed against a preset, and what the table calls it. `rate` multiplies the preset's own learning rate.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("the default: EDM, log-normal levels, balanced, Muon", {}),
    "simple": ("all noise levels alike, the default until 2026-11-30", ALIKE),
    # what the network predicts, and at which noise levels it learns
    "mean-1.2": ("all alike, mean -1.2", {"noise_mean": -1.2, **ALIKE}),
    "mean-0.8": ("all alike, mean -0.8", {"noise_mean": -0.8, **ALIKE}),
    "mean-0.0": ("all alike, mean 0", {"noise_mean": 0.0, **ALIKE}),
    "wide-levels": ("all alike, deviation 1.6 instead of 1.2", {"noise_std": 1.6, **ALIKE}),
    "narrow-levels": ("all alike, deviation 0.9 instead of 1.2", {"noise_std": 0.9, **ALIKE}),
    "edm-uniform": ("EDM, min-SNR weight, uniform levels", {"loss_weight": "min-snr", "noise_levels": "uniform"}),
    "unshifted": ("all alike, mean -0.4, as at 32 px", {"noise_mean": -0.4, **ALIKE}),  # what larger pictures would have without a shift
    "v": ("v, min-SNR weight, uniform levels", V),
    "v-log-normal": ("v, unweighted, the default's levels", {"prediction": "v", **ALIKE}),
    "v-mean-0.0": ("v, unweighted, mean 0", {"prediction": "v", "noise_mean": 0.0, **ALIKE}),
    "v-independent": (
        "v, min-SNR weight, each picture's level drawn by itself",
        {**V, "noise_levels": "independent"},
    ),
    "eps": ("eps, unweighted, uniform levels", EPS),
    "classic": ("all of the 2020 paper's recipe but its network, its batch and its average", CLASSIC),
    # the optimizer
    "adamw": ("AdamW", ADAMW),
    "adamw-half-rate": ("AdamW, half the learning rate", {**ADAMW, "rate": 0.5}),
    "adamw-quarter-rate": ("AdamW, a quarter of the learning rate", {**ADAMW, "rate": 0.25}),
    "mean-1.2-adamw": ("all alike, mean -1.2, AdamW", {"noise_mean": -1.2, **ALIKE, **ADAMW}),
    "v-adamw": ("v, min-SNR weight, uniform levels, AdamW", {**V, **ADAMW}),
    "eps-adamw": ("eps, unweighted, uniform levels, AdamW", {**EPS, **ADAMW}),
    "half-rate": ("half the learning rate", {"rate": 0.5}),
    "double-rate": ("twice the learning rate", {"rate": 2}),
    "v-double-rate": ("v, min-SNR weight, uniform levels, twice the learning rate", {**V, "rate": 2}),
    "batch-16": ("batch 16", {"batch_size": 16}),
    "batch-64": ("batch 64", {"batch_size": 64}),
    "batch-64-double-rate": ("batch 64, twice the learning rate", {"batch_size": 64, "rate": 2}),
    "beta2-0.999": ("AdamW's beta2 0.999 (for the ends of the network)", {"adam_beta2": 0.999}),
    "cooldown": ("a cool-down over the last fifth", {"cooldown": 0.2}),
    # the average whose weights draw
    "ema-0.05": ("average of length 0.05", {"ema_length": 0.05}),
    "ema-0.15": ("average of length 0.15", {"ema_length": 0.15}),
    # the pictures
    "augment": ("augmented, each change with a chance of 0.12", {"augment": 0.12}),
    # the network: of the default's kind, the defaults until 2026-11-28 (patch-2) and at 64 px until 2026-11-29 (wide-patch-4),
    # and others of as much work as patch-2
    "no-attention": ("no attention but in the middle", _network(width=16, multipliers=(1, 2, 4, 8), patch=1)),
    "three-levels": ("three levels of 16, 48 and 96", _network(width=16, multipliers=(1, 3, 6), patch=1)),
    "three-wide-levels": ("three levels of 16, 64 and 128", _network(width=16, multipliers=(1, 4, 8), patch=1)),
    "patch-2": ("patch 2, two wide levels", _network(width=64, multipliers=(1, 2), patch=2)),
    "patch-1": ("patch 1, three levels", _network(width=32, multipliers=(1, 2, 3), patch=1)),
    "patch-4": ("patch 4, two wider levels", _network(width=128, multipliers=(1, 2), patch=4)),
    "wide-patch-4": ("patch 4, two wide levels", _network(width=64, multipliers=(1, 2), patch=4)),
    "two-blocks": (
        "patch 2, two narrower blocks a level",
        {"network": NetworkConfig(width=48, multipliers=(1, 2), blocks=2, attention=()), **ALIKE},
    ),
}  # fmt: skip


def settings_of(key: str, base: RunConfig) -> dict[str, Any]:
    """What `key` changes of `base`."""
    settings = dict(VARIANTS[key][1])
    rate = settings.pop("rate", None)
    return settings if rate is None else {**settings, "lr": rate * base.lr}
