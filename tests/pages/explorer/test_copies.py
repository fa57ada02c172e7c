"""Is it a copy: from a kept grid and a run's own data set to one plain sentence and four pictures."""

import base64
import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_core import gallery, pictures, sheet
from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.errors import CheckpointError, DataError, UsageError
from ddpm_core.evaluation.copies import Nearest
from ddpm_core.runs import Run
from ddpm_core.training import held_out
from ddpm_core.training.state import TrainingState
from pages import drawing
from pages.explorer import copies


@pytest.fixture
def data(exploring):
    """The run's data set: a folder of noise, so that no two pictures are alike."""
    folder = exploring.root / "pictures"
    folder.mkdir()
    made = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    for number, picture in enumerate(made):
        Image.fromarray(picture).save(folder / f"{number}.png")
    Run(exploring.root, "toys").create(
        RunConfig(str(folder), 16, "toys", network=NetworkConfig(16, (1, 2), attention=()))
    )
    return made


def kept(session, made):
    """A grid of these pictures, as if the model had made them."""
    generator = session.shelf.take(session.root / "checkpoints/toys/ddpm_best.pt")
    recipe = generator.recipe("sample", seeds=list(range(len(made))), steps=3, sampler="ddim")
    return gallery.keep(session.root, pictures.to_png_bytes(sheet.draw(recipe, [made]), recipe=recipe), recipe)


def last(session, entry, index=0):
    return [show() for show in copies.make(session, {"key": entry.key, "index": index})][-1]


def pixels(data_uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data_uri.partition(",")[2]))))


def test_a_copy_is_called_one_and_comes_first(exploring, data):
    told = last(exploring, kept(exploring, data[[5, 2]]), index=1)
    assert told["says"] == "It is a copy: every pixel equals a training picture."
    assert len(told["nearest"]) == 4 and told["nearest"][0]["says"].startswith("no. 2, distance 0")
    assert np.array_equal(pixels(told["nearest"][0]["src"]), data[2])


def test_a_mirrored_one_is_marked_and_shown_mirrored(exploring, data):
    told = last(exploring, kept(exploring, data[3:4, :, ::-1]))
    assert told["nearest"][0]["says"].startswith("no. 3 mirrored, distance 0")
    assert np.array_equal(pixels(told["nearest"][0]["src"]), data[3, :, ::-1])


def test_a_blend_with_other_noise_is_close_and_noise_of_its_own_is_no_copy(exploring, data):
    fresh = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    own = last(exploring, kept(exploring, fresh))["says"]
    assert own.startswith("It is no copy by the ratio test: the nearest training picture is 0.9") and "0.33" in own
    near = (0.55 * data[:1] + 0.45 * fresh).astype(np.uint8)
    assert last(exploring, kept(exploring, near))["says"].startswith("It is close to one training picture")
    nearer = (0.8 * data[:1] + 0.2 * fresh).astype(np.uint8)
    assert last(exploring, kept(exploring, nearer))["says"].startswith("It is a copy by the ratio test")


@pytest.fixture
def many(exploring):
    """many(share) -> 24 pictures, in the folder of that name, and a run on them that holds this share out and has saved its state."""

    def train(share):
        folder, run = exploring.root / "many", Run(exploring.root, "toys")
        folder.mkdir(exist_ok=True)
        made = np.random.default_rng(3).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
        for number, picture in enumerate(made):
            Image.fromarray(picture).save(folder / f"{number:02}.png")
        network = NetworkConfig(16, (1, 2), attention=())
        config = RunConfig(str(folder), 16, "toys", network=network, held_out=share, seed=5)
        run.create(config)
        images = copies.pictures_of(config, exploring.data_dir).images
        TrainingState(config, images, torch.device("cpu")).save(run, 1.0)
        return made

    return train


def unseen(pictures):
    """Which of so many pictures a run with the seed 5 holds out, by the very split that the trainer makes."""
    return set(held_out.split(pictures, 0.25, 5)[1].tolist())


def test_a_picture_that_was_held_out_is_no_training_picture(exploring, many):
    assert len(unseen(24)) == 6
    for share, words in ((0.25, "It is no copy by the ratio test"), (0.0, "It is a copy: every pixel equals")):
        told = last(exploring, kept(exploring, many(share)[[min(unseen(24))]]))
        assert told["says"].startswith(words) and "have changed" not in told["says"]
        shown = {int(near["says"].split()[1].rstrip(",")) for near in told["nearest"]}
        assert bool(shown & unseen(24)) == (share == 0)


def test_after_a_picture_was_added_one_that_was_trained_on_is_still_a_copy(exploring, many):
    """Of another number of pictures other ones are held out."""
    made = many(0.25)
    Image.fromarray(made[0, ::-1]).save(exploring.root / "many/24.png")
    trained = min(unseen(25) - unseen(24) - {24})
    says = last(exploring, kept(exploring, made[[trained]]))["says"]
    assert says.startswith("It is a copy: every pixel equals") and "have changed since the run was trained" in says


def test_after_a_picture_was_replaced_one_that_was_trained_on_is_still_a_copy(exploring, many):
    """As many as before, but each has another number."""
    made = many(0.25)
    (exploring.root / "many/00.png").unlink()
    Image.fromarray(made[0, ::-1]).save(exploring.root / "many/24.png")
    trained = min({number + 1 for number in unseen(24)} - unseen(24) - {24})
    says = last(exploring, kept(exploring, made[[trained]]))["says"]
    assert says.startswith("It is a copy: every pixel equals") and "have changed since the run was trained" in says


def test_where_no_state_tells_that_they_are_the_runs_all_pictures_count(exploring, many):
    made = many(0.25)
    Run(exploring.root, "toys").state_path.unlink()
    says = last(exploring, kept(exploring, made[[min(unseen(24))]]))["says"]
    assert says.startswith("It is a copy: every pixel equals") and says.endswith("last.pt cannot be read.")


def test_pictures_with_classes_are_known_again_too(exploring, many):
    """Their mark has the classes in it where those are learned."""
    made, run = many(0.25), Run(exploring.root, "toys")
    for number in range(24):
        kind = exploring.root / "many" / ("ant" if number < 12 else "bee")
        kind.mkdir(exist_ok=True)
        (exploring.root / f"many/{number:02}.png").rename(kind / f"{number:02}.png")
    config = dataclasses.replace(run.config(), class_conditional=True)
    run.create(config)
    found = copies.pictures_of(config, exploring.data_dir)
    TrainingState(config, found.images, torch.device("cpu"), labels=found.labels).save(run, 1.0)
    says = last(exploring, kept(exploring, made[[min(unseen(24))]]))["says"]
    assert says.startswith("It is no copy by the ratio test") and "have changed" not in says


def test_the_settings_of_the_form_do_not_matter(exploring, data):
    entry = kept(exploring, data[:1])
    asked = {"key": entry.key, "index": 0, "model": "gone/ddpm_best.pt", "steps": "x"}
    assert "nearest" in [show() for show in copies.make(exploring, asked)][-1]


def test_a_grey_grid_that_was_saved_from_the_page_is_compared_too(exploring, data, toy_run):
    """Its sheet has three channels and the paper's, the model and its training pictures one."""
    settings = Run(exploring.root, "toys").config()
    toy_run(exploring.root, "grey", channels=1)
    Run(exploring.root, "grey").create(dataclasses.replace(settings, name="grey", colour="grey"))
    grey = copies.pictures_of(Run(exploring.root, "grey").config(), exploring.data_dir).images.transpose(0, 2, 3, 1)
    generator = exploring.shelf.take(exploring.root / "checkpoints/grey/ddpm_best.pt")
    recipe = generator.recipe("sample", seeds=[0, 1], steps=3, sampler="ddim")
    png = pictures.to_png_bytes(drawing.grid(np.asarray(grey[[5, 2]])), recipe=recipe)
    told = last(exploring, gallery.keep(exploring.root, png, recipe), index=1)
    assert told["nearest"][0]["says"].startswith("no. 2, distance 0")


def test_progress_is_told(exploring, data):
    told = [show() for show in copies.make(exploring, {"key": kept(exploring, data[:1]).key, "index": 0})]
    assert any("Comparing with the training pictures: 8 of 8" in part.get("line", "") for part in told)


def test_a_data_set_that_is_gone_is_one_line(exploring, data):
    import shutil

    entry = kept(exploring, data[:1])
    shutil.rmtree(exploring.root / "pictures")
    with pytest.raises((DataError, UsageError)) as caught:
        list(copies.make(exploring, {"key": entry.key, "index": 0}))
    assert "\n" not in str(caught.value) and "pictures" in str(caught.value)


def test_a_run_that_is_gone_is_one_line(exploring, data):
    entry = kept(exploring, data[:1])
    Run(exploring.root, "toys").config_path.unlink()
    with pytest.raises(CheckpointError, match="there is no run toys"):
        list(copies.make(exploring, {"key": entry.key, "index": 0}))


@pytest.mark.parametrize("index", [-1, 2, 0.5, None, "1", True])
def test_a_picture_that_is_not_in_the_grid_is_one_line(exploring, data, index):
    with pytest.raises(UsageError):
        list(copies.make(exploring, {"key": kept(exploring, data[:2]).key, "index": index}))


def test_a_key_that_is_none_is_one_line(exploring):
    with pytest.raises(UsageError, match="no picture of the gallery"):
        list(copies.make(exploring, {"key": "../../etc/passwd", "index": 0}))


def test_who_leaves_ends_the_work(exploring, data, monkeypatch):
    import threading

    ended = threading.Event()

    def endless(sample, images, k, progress, trained):
        try:
            while True:
                progress("Comparing", 1, 2)
        finally:
            ended.set()

    monkeypatch.setattr(copies.copies, "nearest", endless)
    asking = copies.make(exploring, {"key": kept(exploring, data[:1]).key, "index": 0})
    assert any("Comparing" in show()["line"] for show in asking)
    asking.close()
    assert ended.wait(30)


def found(first, second, twins=0):
    """A sample of 16 x 16 x 3 whose nearest pictures are so far away, as root mean squares."""
    scale = (16 * 16 * 3) ** 0.5
    zero = np.zeros(1, int)
    return Nearest(zero, zero.astype(bool), np.array([first * scale]), first, second * scale, twins)


@pytest.mark.parametrize(
    ("near", "words"),
    [
        (found(0, 50), "every pixel equals"),
        (found(2, 50), "differs from a training picture by 2 of 255 levels"),
        (found(10, 50), "only 0.20 times as far away"),
        (found(20, 50), "close to one training picture"),
        (found(45, 50), "no copy by the ratio test: the nearest training picture is 0.90 times"),
        (found(45, float("inf")), "no copy of the only training picture"),
        (found(0, float("inf")), "every pixel equals"),
        (found(2, 50, twins=2), "have the nearest one 3 times"),
    ],
)
def test_the_verdict_in_one_sentence(near, words):
    assert words in copies.verdict(near)
