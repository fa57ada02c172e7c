"""The figures of the data path: ratios are taken inside a round, where both rows met the same machine."""

import json

import numpy as np
import torch

from benchmarks import data_path, machine
from benchmarks.tables import step


def test_a_round_that_was_slow_for_all_counts_like_any_other():
    rounds = [{"fixed": 1.0, "disk": 1.1}, {"fixed": 4.0, "disk": 4.4}, {"fixed": 2.0, "disk": 2.0}]
    found = data_path.summary(rounds, "disk")
    assert found == {"milliseconds": 2000.0, "times_fixed": 1.1, "half": [1.0, 1.1]}


def test_all_rows_are_measured(tmp_path, monkeypatch):
    from ddpm_core.config import NetworkConfig, RunConfig

    np.save(tmp_path / "images.npy", np.zeros((20, 3, 16, 16), np.uint8))
    network = NetworkConfig(width=8, multipliers=(1,), blocks=1, patch=4, attention=())
    config = RunConfig(size=16, network=network, batch_size=4, device="cpu")
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = data_path.measure(config, images, 2, 0.01, torch.device("cpu"))
    assert list(found["rows"]) == ["fixed", "fixed, once more", "device", "memory", "disk"]
    assert found["rows"]["fixed"]["times_fixed"] == 1.0 and "on the disk" in found["rows"]["disk"]["where"]
    assert all(row["milliseconds"] > 0 for row in found["rows"].values())


def test_each_machine_preset_and_size_has_a_table(tmp_path):
    assert step.data_path(tmp_path) == "Not measured yet.\n"
    about = machine.describe("the command", torch.device("cpu"))
    row = {"where": "in memory", "milliseconds": 2.0, "times_fixed": 1.0, "half": [0.9, 1.1]}
    found = {"preset": "cpu", "size": 32, "pictures": 20, "batch_size": 4, "rounds": 2, "rounds_counted": 2,
             "rounds_disturbed": 0, "rows": {"fixed": row, "disk": row}}  # fmt: skip
    for name, size in (("data_path_cpu_32", 32), ("data_path_cuda_standard_64", 64)):
        (tmp_path / f"{name}.json").write_text(json.dumps({**about, **found, "size": size}))
    text = step.data_path(tmp_path)
    assert text.count("| disk: in memory | 2.0 | **100.0 %** | 90.0 to 110.0 % |") == 2
    assert "`cpu`, 32 px, 20 pictures" in text and "`cpu`, 64 px, 20 pictures" in text
