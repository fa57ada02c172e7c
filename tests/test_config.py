"""The settings: what is accepted, what is refused and how, and that JSON gives them back."""

import dataclasses
import json
import math

import pytest

from ddpm_core.config import (
    NETWORKS,
    PRESETS,
    SIZES,
    NetworkConfig,
    RunConfig,
    default_epochs,
    preset,
)
from ddpm_core.errors import UsageError


def refused(make, *args, **settings) -> str:
    with pytest.raises(UsageError) as caught:
        make(*args, **settings)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


# ---- presets


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_its_size_and_survives_json(name, size):
    config = preset("openmoji", size, name)
    assert (config.preset, config.size, config.network) == (name, size, NETWORKS[name, size])
    assert config.size % config.network.stride == 0
    assert RunConfig.from_json(config.to_json()) == config


def test_a_run_from_before_pictures_were_held_out_goes_on_with_all_of_them():
    stored = json.loads(RunConfig().to_json())
    del stored["held_out"]
    assert RunConfig.from_json(json.dumps(stored)).held_out == 0.0


def test_what_a_person_sets_wins_over_the_preset():
    config = preset("cifar10", 64, "standard", batch_size=7, network=NetworkConfig(width=8), epochs=3)
    assert (config.batch_size, config.network.width, config.epochs) == (7, 8, 3)
    assert config.lr == preset("cifar10", 64, "standard").lr


def test_a_wrong_preset_names_the_right_ones():
    assert "choose 32" in refused(preset, size=30)
    assert "choose 256" in refused(preset, size=10**6)
    assert "32, 64, 96, 128, 256" in refused(preset, size="64")
    assert "cpu, small, standard" in refused(preset, preset="gpu")


# ---- values


WHOLE = {
    "epochs": (1, 10_000_000),
    "max_steps": (1, 1_000_000_000),
    "batch_size": (1, 4096),
    "warmup_steps": (0, 1_000_000),
    "decay_steps": (0, 1_000_000_000),
    "sample_every": (1, 1_000_000),
    "checkpoint_every": (1, 1_000_000),
    "seed": (0, 2**63 - 1),
}
NUMBERS = {
    "lr": (1e-7, 1.0),
    "weight_decay": (0.0, 10.0),
    "grad_clip": (1e-3, 1e6),
    "ema_length": (0.01, 0.25),
    "adam_beta2": (0.5, 0.99999),
    "cooldown": (0.0, 1.0),
    "augment": (0.0, 0.5),
}


@pytest.mark.parametrize("key", WHOLE)
def test_whole_numbers_have_a_range(key):
    low, high = WHOLE[key]
    for good in (low, high):
        assert getattr(RunConfig(**{key: good}), key) == good
    for bad in (low - 1, high + 1, 1.5, math.nan, math.inf, "1", True, [1]):
        assert f"from {low} to {high}" in refused(RunConfig, **{key: bad})


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_have_a_range(key):
    low, high = NUMBERS[key]
    for good in (low, high):
        assert getattr(RunConfig(**{key: good}), key) == good
    for bad in (low - 1e-8, high * 1.01, math.nan, math.inf, -math.inf, "1", True, None):
        message = refused(RunConfig, **{key: bad})
        assert key in message and f"from {low:g} to {high:g}" in message


@pytest.mark.parametrize(
    ("key", "bad", "says"),
    [
        ("schedule", "sigmoid", "cosine, linear"),
        ("prediction", "x0", "v, eps"),
        ("loss_weight", "none", "balanced, min-snr, simple"),
        ("optimizer", "sgd", "adamw, muon"),
        ("noise_levels", "normal", "uniform, independent, log-normal"),
        ("noise_mean", 6, "from -5 to 5"),
        ("noise_std", 0, "from 0.1 to 5"),
        ("device", "gpu", "auto, cpu, cuda"),
        ("device", "cuda:x", "auto, cpu, cuda"),
        ("device", None, "auto, cpu, cuda"),
        ("amp", "yes", "true or false"),
        ("compile", 1, "true or false"),
        ("dataset", "", "name a data set"),
        ("dataset", " ", "name a data set"),
        ("dataset", None, "name a data set"),
        ("size", 30, "for example 32"),
        ("size", 4, "from 8 to 1024"),
        ("size", math.nan, "from 8 to 1024"),
        ("size", "32", "from 8 to 1024"),
    ],
)
def test_other_wrong_values(key, bad, says):
    message = refused(RunConfig, **{key: bad})
    assert key in message and says in message


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:13"])
def test_devices(device):
    assert RunConfig(device=device).device == device


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"width": 12}, "multiple of 8"),
        ({"width": 0}, "network.width"),
        ({"multipliers": ()}, "1 to 7 numbers"),
        ({"multipliers": (1,) * 8}, "1 to 7 numbers"),
        ({"multipliers": (1, 0)}, "network.multipliers"),
        ({"blocks": 0}, "network.blocks"),
        ({"patch": 17}, "network.patch"),
        ({"attention": (2,)}, "network.attention"),
        ({"dropout": 1.0}, "network.dropout"),
        ({"dropout": math.nan}, "network.dropout"),
    ],
)
def test_networks_that_cannot_be(values, says):
    assert says in refused(NetworkConfig, **values)


def test_the_size_must_fit_the_network():
    network = NetworkConfig(multipliers=(1, 2, 2), patch=4)
    assert network.stride == 16
    assert RunConfig(size=48, network=network).size == 48
    assert "multiple of 16, for example 48" in refused(RunConfig, size=50, network=network)


def test_log_normal_noise_levels_follow_the_size():
    def of(size, **settings):
        return RunConfig(size=size, noise_levels="log-normal", **settings)

    assert of(32).log_normal == (-0.4, 1.2)
    assert of(128).log_normal == (pytest.approx(-0.4 + math.log(4)), 1.0)
    assert of(64, noise_mean=0.5, noise_std=2.0).log_normal == (0.5, 2.0)
    assert of(32, noise_mean=-1.2).sigma_max == pytest.approx(80, rel=0.01)  # EDM's own
    assert of(64).sigma_max == pytest.approx(2 * of(32).sigma_max)
    assert RunConfig(noise_levels="uniform", loss_weight="simple").sigma_max is None


# ---- JSON


def test_json_gives_every_setting_back():
    config = RunConfig(
        dataset="/pictures/cäts", size=64, name="x", network=NetworkConfig(16, (1, 2, 4), 2, 4, (0, 2), 0.2),
        epochs=3, max_steps=4, batch_size=5, lr=0.1, warmup_steps=6, decay_steps=7, weight_decay=0.2, grad_clip=2.0, ema_length=0.2,
        schedule="linear", prediction="eps", loss_weight="min-snr",
        augment=0.3, ema_decay=0.999,
        optimizer="adamw", adam_beta2=0.999, cooldown=0.2, noise_levels="uniform", noise_mean=0.5, noise_std=0.9, sample_every=7, checkpoint_every=8, seed=9,
        amp=False, compile=False, snapshots=False, device="cuda:1", from_model="a.pt", preset="standard",
        crop="pad", background="black", colour="grey", held_out=0.1, micro_batch=3, class_conditional=True, label_drop=0.2,
        flip=True, data_on="disk",
    )  # fmt: skip
    default = RunConfig()
    changed = [f.name for f in dataclasses.fields(RunConfig) if getattr(config, f.name) != getattr(default, f.name)]
    assert len(changed) == len(dataclasses.fields(RunConfig))  # so that none can be forgotten here
    assert RunConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1, column 1"),
        ('{"size": 32,\n "epochs": }', "line 2"),
        ("[]", "JSON object"),
        ("null", "JSON object"),
        ('{"network": []}', "JSON object"),
        ('{"gravity": 9.81}', "unknown setting gravity"),
        ('{"network": {"heads": 4}}', "unknown setting network.heads"),
        ('{"size": NaN}', "from 8 to 1024"),
        ('{"size": null}', "from 8 to 1024"),
        ('{"name": 5}', "cannot name a run"),
        ('{"network": {"multipliers": 3}}', "network.multipliers"),
        ('{"network": {"attention": null}}', "network.attention"),
        ('{"network": null}', "network"),
        ('{"dataset": 7}', "dataset"),
        ('{"from_model": 7}', "from_model"),
        ('{"preset": [1]}', "preset"),
        ("[" * 100_000, "JSON"),
        ('{"seed": ' + "9" * 5000 + "}", "JSON"),
    ],
)
def test_json_that_is_no_settings(text, says):
    assert says in refused(RunConfig.from_json, text)


def test_settings_of_an_older_version_get_todays_defaults():
    values = json.loads(RunConfig(epochs=3).to_json())
    del values["grad_clip"]
    assert RunConfig.from_json(json.dumps(values)) == RunConfig(epochs=3)


def test_small_sets_are_seen_more_often():
    assert default_epochs(60_000) == 50
    assert default_epochs(20_000) == 50
    assert default_epochs(4_495) == 223
    assert default_epochs(8) * 8 == 1_000_000
    assert default_epochs(0) >= 50


def test_balanced_weights_are_for_log_normal_levels():
    with pytest.raises(
        UsageError, match='"balanced" is for log-normal noise levels, not uniform: choose min-snr or simple.'
    ):
        RunConfig(noise_levels="uniform")
