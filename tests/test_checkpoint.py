"""Checkpoints: whole and proven, or refused in one line."""

import dataclasses
import pickle
import random
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from ddpm_core import archive, atomic, checkpoint, recipes
from ddpm_core.checkpoint import Model, load_model, load_weights, save_model, save_state
from ddpm_core.config import RunConfig, preset
from ddpm_core.errors import CheckpointError, StudioError


def load_state(path: Path, said: list | None = None) -> dict:
    """The newest state; what it had to say goes into `said`, and must be nothing if there is none."""
    told: list[str] = [] if said is None else said
    state = checkpoint.load_state(path, told.append)
    assert told == [] or said is not None
    return state


def a_model(seed: int = 0, **settings) -> Model:
    draw = torch.Generator().manual_seed(seed)
    weights = {"stem.weight": torch.randn(4, 3, 3, 3, generator=draw), "out.bias": torch.randn(7, generator=draw)}
    config = preset(**{"dataset": "openmoji", "size": 32, "seed": seed, **settings})
    return Model(config, 3, ("flags", "food & drink"), step=120, images=7680, epoch=1, loss=0.25, weights=weights)


def same(a: Model, b: Model) -> bool:
    of_content = [f.name for f in dataclasses.fields(Model) if f.name not in ("weights", "hash")]
    plain = all(getattr(a, name) == getattr(b, name) for name in of_content)
    return plain and same_tensors(a.weights, b.weights)


def same_tensors(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def refused(path: Path, load=load_model) -> str:
    """The one line with which `path` is refused."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert path.name in message and "\n" not in message and len(message) < 400
    return message


@pytest.fixture
def saved(tmp_path) -> Path:
    save_model(tmp_path / "ddpm_best.pt", a_model())
    return tmp_path / "ddpm_best.pt"


# ---- round trips


def test_a_model_comes_back_as_it_was(saved):
    assert same(load_model(saved), a_model())


def test_a_model_knows_which_file_it_came_from(saved):
    assert load_model(saved).hash == recipes.model_hash(saved)
    assert [file.name for file in saved.parent.iterdir()] == ["ddpm_best.pt"]


def test_a_model_file_is_an_ordinary_torch_archive(saved):
    content = torch.load(saved, weights_only=True)
    assert content["step"] == 120 and RunConfig.from_json(content["config"]) == a_model().config


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    save_model(tmp_path / "again.pt", a_model())
    assert saved.read_bytes() == (tmp_path / "again.pt").read_bytes()


def test_a_view_does_not_drag_its_base_into_the_file(tmp_path):
    model = a_model()
    model.weights["slice"] = torch.zeros(1_000_000)[:3]
    save_model(tmp_path / "m.pt", model)
    assert (tmp_path / "m.pt").stat().st_size < 20_000
    assert load_model(tmp_path / "m.pt").weights["slice"].shape == (3,)


def test_a_shared_model_does_not_tell_folders(tmp_path):
    save_model(tmp_path / "m.pt", a_model(dataset="/home/somebody/holiday pictures", from_model="C:\\private\\a.pt"))
    config = load_model(tmp_path / "m.pt").config
    assert (config.dataset, config.from_model) == ("holiday pictures", "a.pt")
    assert config.name == "holiday-pictures_32x32"
    assert b"somebody" not in (tmp_path / "m.pt").read_bytes()


def test_a_state_comes_back_as_it_was(tmp_path):
    weight = nn.Parameter(torch.randn(3, 2))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    state = {"step": 5, "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(), "best": None, "loss": 0.1}
    save_state(tmp_path / "last.pt", state)
    back = load_state(tmp_path / "last.pt")
    assert back["step"] == 5 and back["loss"] == 0.1 and back["best"] is None
    assert torch.equal(back["rng"], state["rng"])
    assert same_tensors(back["optimizer"]["state"][0], state["optimizer"]["state"][0])
    assert back["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]


def test_a_state_that_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a .*Path"):
        save_state(tmp_path / "last.pt", {"a": [1, Path("x")]})
    assert not list(tmp_path.iterdir())


# ---- damage


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved, part):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * part)])
    assert ("empty" if part == 0 else "incomplete or damaged") in refused(saved)


def test_no_flipped_bit_loads_silently_wrong(saved):
    data, original, chance = saved.read_bytes(), a_model(), random.Random(1)
    places = [chance.randrange(8 * len(data)) for _ in range(200)]
    places += [8 * (len(data) - 1 - i) for i in range(0, 110, 10)]  # the seal itself
    caught = 0
    for place in places:
        bad = bytearray(data)
        bad[place // 8] ^= 1 << place % 8
        saved.write_bytes(bad)
        try:
            assert same(load_model(saved), original)
        except CheckpointError:
            caught += 1
    assert caught == len(places)  # stronger than promised: the seal covers every bit of the file


def test_a_page_and_a_pointer_are_recognised(tmp_path):
    file = tmp_path / "m.pt"
    file.write_text("\n<!DOCTYPE html><html><body>404</body></html>")
    assert "web page" in refused(file)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert "git lfs pull" in refused(file)
    file.write_text("hello")
    assert "not a checkpoint" in refused(file)


class Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


def test_code_in_a_file_does_not_run(tmp_path):
    trap = tmp_path / "trap"
    plain, bare, sealed = tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt"
    content = {"format": "ddpm-studio model", "version": 1, "weights": Payload(f"touch {trap}")}
    plain.write_bytes(pickle.dumps(content))
    torch.save(content, bare)
    with atomic.writing(sealed) as file:
        archive.write(file, content, sealed)
    assert "pickle" in refused(plain)
    assert "another program" in refused(bare)
    assert "more than tensors" in refused(sealed)
    assert not trap.exists()
    torch.load(bare, weights_only=False)  # the trap itself works
    assert trap.exists()


def test_other_programs_files_are_refused(tmp_path):
    file = tmp_path / "unet.pt"
    torch.save({"conv_in.weight": torch.zeros(4, 3, 3, 3), "conv_in.bias": torch.zeros(4)}, file)
    assert "another program" in refused(file)


def seal(archive: bytes) -> bytes:
    """A right seal for bytes that torch.save did not write."""
    import hashlib

    digest = hashlib.sha256(archive).hexdigest().encode()
    return archive[:-2] + struct.pack("<H", 83) + b"ddpm-studio sha256:" + digest


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    file = tmp_path / "bomb.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("archive/data.pkl", b"\0" * 10_000_000)
    file.write_bytes(seal(file.read_bytes()))
    assert file.stat().st_size < 20_000
    assert "unpack" in refused(file)


def test_a_crafted_shape_is_refused(tmp_path):
    file = tmp_path / "wide.pt"
    model = a_model()
    content = {"format": "ddpm-studio model", "version": 1, "weights": {"w": torch.zeros(1).expand(10**6, 10**6)}}
    with atomic.writing(file) as out:
        archive.write(out, content, file)
    assert file.stat().st_size < 5_000 and model
    assert "damaged" in refused(file)


def test_paths_that_are_no_files(tmp_path, saved):
    assert "there is no file" in refused(tmp_path / "other.pt") and "ddpm_best.pt" in refused(tmp_path / "other.pt")
    (tmp_path / "folder.pt").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.pt")
    assert "cannot read" in refused(Path("x" * 300) / "a.pt")  # as where a folder may not be entered


@pytest.mark.skipif(not hasattr(__import__("os"), "mkfifo"), reason="no FIFOs here")
def test_a_fifo_does_not_hang(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.pt")
    assert "regular" in refused(tmp_path / "pipe.pt")


def rewritten(path: Path, **changes) -> None:
    content = {**torch.load(path, weights_only=True), **changes}
    with atomic.writing(path) as file:
        archive.write(file, content, path)


def test_files_of_newer_versions_say_so(saved):
    config = a_model().config.to_json()
    rewritten(saved, config=config.replace('"lr"', '"gravity": 1, "lr"'))
    assert "gravity" in refused(saved) and "newer version" in refused(saved)
    rewritten(saved, config=config, version=2)
    assert "newer version" in refused(saved)
    rewritten(saved, version=1)
    load_model(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"config": "{"},
        {"config": "[]"},
        {"weights": {}},
        {"weights": [1]},
        {"weights": {"a": 1}},
        {"channels": 2},
        {"classes": "abc"},
        {"step": None},
        {"loss": "low"},
        {"format": "else"},
        {"version": None},
    ],
)
def test_a_sealed_file_without_the_parts_of_a_model(saved, changes):
    rewritten(saved, **changes)
    refused(saved)


def test_state_and_model_are_not_taken_for_each_other(saved, tmp_path):
    save_state(tmp_path / "last.pt", {"step": 1})
    assert "ddpm_best.pt" in refused(tmp_path / "last.pt")
    assert "state file" in refused(saved, load_state)


def test_weights_that_do_not_fit_or_are_no_numbers():
    network = nn.Linear(3, 2)
    good = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    load_weights(network, good, "m.pt")
    assert torch.equal(network.weight, good["weight"])
    for bad in ({"weight": torch.ones(2, 3)}, {**good, "bias": torch.ones(3)}, {**good, "more": torch.ones(1)}):
        with pytest.raises(CheckpointError, match=r"^m\.pt: the weights do not fit the network \([^\n]+\)[^\n]*$"):
            load_weights(network, bad, "m.pt")
    with pytest.raises(CheckpointError, match="bias are not finite"):
        load_weights(network, {**good, "bias": torch.tensor([1.0, float("nan")])}, "m.pt")


# ---- crashes


class Crash(BaseException):
    """The machine is gone: nothing after it runs, not even tidying up."""


def crash_at(monkeypatch, operation: int) -> list[str]:
    """From the `operation`-th file operation on, everything fails. Returns the list of what was done before."""
    done: list[str] = []

    def dying(name, function):
        def call(*args, **kwargs):
            if len(done) >= operation:
                raise Crash
            done.append(name)
            return function(*args, **kwargs)

        return call

    import os

    for name in ("replace", "fsync"):
        monkeypatch.setattr(os, name, dying(name, getattr(os, name)))
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda *a, **k: None if len(done) >= operation else unlink(*a, **k))
    return done


def test_a_crash_leaves_the_old_model_or_the_new_one(tmp_path, monkeypatch):
    path, seen = tmp_path / "ddpm_best.pt", set()
    for operation in range(20):
        with monkeypatch.context() as patch:
            save_model(path, a_model(1))
            done = crash_at(patch, operation)
            try:
                save_model(path, a_model(2))
                break
            except Crash:
                pass
        seen.add(load_model(path).config.seed)
    assert done == ["fsync", "replace", "fsync"] and seen == {1, 2}
    assert load_model(path).config.seed == 2 and operation == 3


@pytest.mark.parametrize("damaged", [False, True], ids=["healthy", "newest is damaged"])
def test_a_crash_never_loses_the_last_proven_state(tmp_path, monkeypatch, damaged):
    operations = 0
    for operation in range(20):
        folder = tmp_path / str(operation)
        folder.mkdir()
        path, proven = folder / "last.pt", 1 if damaged else 2
        save_state(path, {"step": 1})
        save_state(path, {"step": 2})
        if damaged:
            path.write_bytes(path.read_bytes()[:-1])
        with monkeypatch.context() as patch:
            crash_at(patch, operation)
            try:
                save_state(path, {"step": 3})
                break
            except Crash:
                operations += 1
        assert load_state(path, [])["step"] in (proven, 3)
        save_state(path, {"step": 4})  # and life goes on
        assert load_state(path)["step"] == 4
    assert operations == 6 and load_state(path)["step"] == 3


def test_a_damaged_state_falls_back_and_is_kept_aside(tmp_path):
    path, said = tmp_path / "last.pt", []
    save_state(path, {"step": 1})
    save_state(path, {"step": 2})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert load_state(path, said) == {"step": 1}
    assert len(said) == 1 and "damaged" in said[0] and "last.prev.pt" in said[0]
    assert (tmp_path / "last.damaged.pt").read_bytes() == data
    save_state(path, {"step": 3})  # must not push anything damaged over the good one
    path.unlink()
    assert load_state(path, said) == {"step": 1}


def test_who_only_reads_puts_no_state_aside(tmp_path, monkeypatch):
    """The page reads beside a run that is saving: for a moment there is no newest file, and then a healthy one."""
    path = tmp_path / "last.pt"
    for step in (1, 2):
        save_state(path, {"step": step})
    read = checkpoint.archive.read

    def saving_meanwhile(candidate, kind):
        if candidate == path:
            raise CheckpointError("there is no file last.pt")
        return read(candidate, kind)

    monkeypatch.setattr(checkpoint.archive, "read", saving_meanwhile)
    assert checkpoint.load_state(path, str, to_go_on=False) == {"step": 1}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.prev.pt", "last.pt"]


def test_the_pictures_mark_is_told_without_the_weights(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    assert checkpoint.data_mark(path) is None
    for step in (1, 2):
        save_state(path, {"step": step, "weights": {"w": torch.zeros(1000, 1000)}, "data_mark": 40 + step})
    assert checkpoint.data_mark(path) == 42
    path.write_bytes(path.read_bytes()[:-100])
    assert checkpoint.data_mark(path) == 41, "from the one before"
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    assert checkpoint.data_mark(path) is None


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    for step in (1, 2):
        save_state(path, {"step": step})
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def no_room(*args, **kwargs):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", no_room)
        with pytest.raises(StudioError, match=r"last\.pt \(0\.0 GB\) does not fit into memory: close") as caught:
            load_state(path)
    assert not isinstance(caught.value, CheckpointError), "or the file would be put aside for a damaged one"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert load_state(path) == {"step": 2}


def test_no_usable_state_changes_nothing(tmp_path):
    path = tmp_path / "last.pt"
    with pytest.raises(CheckpointError, match="nothing to resume"):
        load_state(path)
    path.write_bytes(b"")
    (tmp_path / "last.prev.pt").write_bytes(b"PK\x03\x04")
    assert "empty" in refused(path, load_state)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.prev.pt", "last.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_called_a_full_disk(saved, monkeypatch):
    before = saved.read_bytes()
    real_open = open
    monkeypatch.setattr(
        "builtins.open", lambda p, *a, **k: real_open("/dev/full" if str(p).endswith(".tmp") else p, *a, **k)
    )
    for save in (
        lambda: save_model(saved, a_model(2)),
        lambda: save_state(saved.with_name("last.pt"), {"w": torch.ones(10**5)}),
    ):
        with pytest.raises(CheckpointError, match="No space left on device"):
            save()
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == ["ddpm_best.pt"]


def test_saving_into_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="cannot save .*No such file"):
        save_model(tmp_path / "no" / "m.pt", a_model())
