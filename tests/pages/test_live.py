"""The routes: they tell what the runs' folders hold, and hand out nothing else."""

import dataclasses
import os
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ddpm_core.config import preset
from ddpm_core.errors import UsageError
from ddpm_core.runs import Run, Status, process_born
from ddpm_core.session import Session
from pages.live import Live


class FakeSession:
    """What the routes need of a Session: no thread, no training."""

    def __init__(self, root: Path):
        self.root = root
        self.now = (None, None)
        self.held = False
        self.asked: list[str] = []

    status_of = Session.status_of

    def current(self):
        return self.now

    def __getattr__(self, name):
        return lambda: self.asked.append(name)


def make_run(root: Path, name: str, state: str = "finished", steps: int = 40, alive: bool = True) -> Run:
    run = Run(root, name)
    run.create(preset(name=name))
    for i in range(1, steps + 1):
        row = {"step": 10 * i, "epoch": i / 10, "images": 640 * i, "loss": 1 / i, "lr": 1e-3, "grad_norm": 1.0}
        run.append_metrics(row | {"images_per_second": 500.0, "seconds": i * 0.5})
    run.write_status(
        Status(
            state=state,
            step=10 * steps,
            total_steps=1000,
            epoch=steps // 10,
            epochs=10,
            images=640 * steps,
            images_per_second=500.0,
            loss=1 / steps,
            pid=os.getppid() if alive else 2**22 + 1,
            born=process_born(os.getppid()),
        )
    )
    for path in (
        run.progress / "quick_step_16.png",
        run.progress / "quick_epoch_2.png",
        run.samples / "epoch_2_samples.png",
    ):
        Image.new("RGB", (4, 4), "teal").save(path)
    return run


@pytest.fixture
def session(tmp_path):
    return FakeSession(tmp_path)


@pytest.fixture
def client(session):
    return TestClient(Starlette(routes=Live(session).routes()))


class TestStatus:
    def test_nothing_yet(self, client):
        assert client.get("/studio/status").json() == {"name": None}

    def test_own_run_has_buttons(self, client, session, tmp_path):
        run = make_run(tmp_path, "mine", "running")
        session.now = (run, run.status())
        told = client.get("/studio/status").json()
        assert (told["name"], told["mine"], told["live"], told["step"]) == ("mine", True, True, 400)
        assert set(told["can"]) == {"pause", "stop", "sample", "finish"}
        session.now = (run, dataclasses.replace(run.status(), state="paused"))
        assert set(client.get("/studio/status").json()["can"]) == {"unpause", "stop", "sample", "finish"}

    def test_a_run_of_a_command_line_is_shown_without_buttons(self, client, tmp_path):
        make_run(tmp_path, "elsewhere", "running")
        make_run(tmp_path, "newer-but-over")
        told = client.get("/studio/status").json()
        assert (told["name"], told["mine"], told["live"], told["can"]) == ("elsewhere", False, True, [])

    def test_of_two_that_train_the_last_begun_is_shown_whichever_wrote_last(self, client, tmp_path):
        first, second = (make_run(tmp_path, name, "running") for name in ("first", "second"))
        statuses = {
            run: dataclasses.replace(run.status(), started=began) for run, began in ((first, 10.0), (second, 20.0))
        }
        for writer in (first, second, first):
            statuses[writer] = dataclasses.replace(statuses[writer], updated=statuses[writer].updated + 60)
            for run, status in statuses.items():
                run.write_status(status)
            assert client.get("/studio/status").json()["name"] == "second"
            assert [run["name"] for run in client.get("/studio/runs").json()["runs"]] == ["second", "first"]

    def test_runs_may_lie_on_another_disk(self, client, tmp_path):
        make_run(tmp_path, "far", "finished")
        (tmp_path / "training_progress").rename(tmp_path / "disk")
        (tmp_path / "training_progress").symlink_to(tmp_path / "disk")
        assert client.get("/studio/run/far").status_code == 200

    def test_a_run_that_was_deleted_leaves_no_curves_to_the_next_of_its_name(self, client, session, tmp_path):
        run = make_run(tmp_path, "again", "finished")
        assert client.get("/studio/run/again").json()["loss"] is not None
        shutil.rmtree(run.progress)
        session.now = (Run(tmp_path, "again"), Status(state="preparing"))
        told = client.get("/studio/run/again").json()
        assert told["loss"] is None and "being prepared" in told["sentence"]

    def test_a_dead_run_is_not_called_running(self, client, tmp_path):
        make_run(tmp_path, "killed", "running", alive=False)
        assert client.get("/studio/status").json()["state"] == "interrupted"

    def test_a_run_that_has_no_folder_yet_is_shown(self, client, session, tmp_path):
        session.now = (Run(tmp_path, "coming"), Status(state="preparing", message="Drawing: 5 of 10"))
        assert client.get("/studio/status").json()["message"] == "Drawing: 5 of 10"
        assert [run["name"] for run in client.get("/studio/runs").json()["runs"]] == ["coming"]
        assert client.get("/studio/run/coming").json()["state"] == "preparing"
        assert client.get("/studio/charts/coming").json()["figures"]["loss"]["data"][0]["x"] == []

    def test_our_own_run_goes_from_the_list_with_its_folder(self, client, session, tmp_path):
        session.now = (Run(tmp_path, "deleted"), Status(state="finished", step=5))
        assert client.get("/studio/runs").json()["runs"] == [] and client.get("/studio/status").json()["name"] is None
        session.now = (Run(tmp_path, "early"), Status(state="stopped", message="Stopped before the first step."))
        assert [run["name"] for run in client.get("/studio/runs").json()["runs"]] == ["early"]

    def test_why_it_failed_is_told_though_it_never_had_a_folder(self, client, session, tmp_path):
        make_run(tmp_path, "older")
        session.now = (Run(tmp_path, "new"), Status(state="failed", message="no space", updated=time.time() + 5))
        told = client.get("/studio/status").json()
        assert (told["name"], told["state"], told["message"]) == ("new", "failed", "no space")


class TestRun:
    def test_everything_about_a_run(self, client, tmp_path):
        make_run(tmp_path, "some")
        told = client.get("/studio/run/some").json()
        assert (told["state"], told["step"], told["images"], told["seconds"]) == ("finished", 400, 25_600, 20.0)
        assert told["sentence"].startswith("Finished: 25,600 pictures")
        assert [(frame["step"], frame["epoch"]) for frame in told["quick"]] == [(16, 0.2), (200, 2)]
        assert [grid["epoch"] for grid in told["grids"]] == [2]
        for picture in told["quick"] + told["grids"]:
            assert client.get(picture["url"]).headers["content-type"] == "image/png"

    def test_unknown_run_is_one_line(self, client):
        answer = client.get("/studio/run/nobody")
        assert answer.status_code == 404 and "no run called 'nobody'" in answer.json()["error"]

    def test_the_list_is_newest_first_with_thumbnails(self, client, tmp_path):
        for age, name in ((100, "old"), (0, "new")):
            run = make_run(tmp_path, name)
            for path in (run.status_path, run.metrics_path, run.config_path):
                os.utime(path, (time.time() - age, time.time() - age))
        runs = client.get("/studio/runs").json()["runs"]
        assert [run["name"] for run in runs] == ["new", "old"]
        assert client.get(runs[0]["thumbnail"]).status_code == 200


class TestCharts:
    def test_nothing_newer_is_204(self, client, tmp_path):
        run = make_run(tmp_path, "some")
        first = client.get("/studio/charts/some?smooth=0.9&log=0").json()
        assert len(first["figures"]["loss"]["data"][0]["x"]) == 40
        again = f"/studio/charts/some?smooth=0.9&log=0&seen={first['seen']}"
        assert client.get(again).status_code == 204
        assert client.get(again.replace("log=0", "log=1")).status_code == 200
        run.append_metrics({"step": 410, "loss": 0.02, "epoch": 4.1, "seconds": 21.0})
        assert client.get(again).json()["figures"]["loss"]["data"][0]["x"][-1] == 410

    def test_a_resumed_run_takes_back_what_it_repeats(self, client, tmp_path):
        run = make_run(tmp_path, "some")
        client.get("/studio/charts/some")
        run.truncate_metrics(200)
        run.append_metrics({"step": 210, "loss": 7.0, "epoch": 2.1, "seconds": 11.0})
        trace = client.get("/studio/charts/some").json()["figures"]["loss"]["data"][0]
        assert trace["x"] == [*range(10, 210, 10), 210] and trace["y"][-1] == 7.0

    @pytest.mark.parametrize("query", ["smooth=nan", "smooth=7", "smooth=-1", "smooth=x&log=&seen=%00"])
    def test_odd_settings_do_no_harm(self, client, tmp_path, query):
        make_run(tmp_path, "some")
        assert client.get(f"/studio/charts/some?{query}").status_code == 200

    def test_odd_lines_do_no_harm(self, client, tmp_path):
        run = make_run(tmp_path, "some", steps=2)
        with open(run.metrics_path, "a") as file:
            file.write('{"step": 30}\n{"step": "x"}\nnonsense\n{"step": 40, "loss": null, "epoch": null}\n{"st')
        assert client.get("/studio/charts/some").json()["figures"]["loss"]["data"][0]["x"] == [10, 20, 30, 40]
        assert client.get("/studio/run/some").status_code == 200


class TestActions:
    ACTIONS = {"pause": "pause", "unpause": "unpause", "stop": "stop", "sample": "sample_now", "finish": "finish"}

    @pytest.mark.parametrize("action", ACTIONS)
    def test_reach_the_session(self, client, session, tmp_path, action):
        run = make_run(tmp_path, "mine", "running")
        session.now = (run, run.status())
        assert client.post(f"/studio/{action}").status_code == 200
        assert session.asked == [self.ACTIONS[action]]

    @pytest.mark.parametrize("action", ACTIONS)
    def test_are_refused_in_words_when_nothing_of_ours_trains(self, client, session, tmp_path, action):
        assert "Nothing is training" in client.post(f"/studio/{action}").json()["error"]
        make_run(tmp_path, "elsewhere", "running")
        answer = client.post(f"/studio/{action}")
        assert answer.status_code == 409 and "command line" in answer.json()["error"]
        assert session.asked == []

    def test_the_hold_of_a_page_reaches_the_session(self, client, session):
        session.hold = session.let_go = lambda page: session.asked.append(page)
        session.still_holds = lambda page: page == "me"
        assert client.post("/studio/hold/on/me").json() == {"held": True}
        assert client.post("/studio/hold/beat/me").json() == {"held": True}
        assert client.post("/studio/hold/off/you").json() == {"held": False}
        assert session.asked == ["me", "you"]
        assert client.get("/studio/hold/on/me").status_code == 405

    def test_a_hold_that_cannot_be_is_one_line(self, client, session):
        def refuse(page):
            raise UsageError("nothing is training here right now that could be paused.")

        session.hold = refuse
        answer = client.post("/studio/hold/on/me")
        assert answer.status_code == 409 and "nothing is training" in answer.json()["error"]

    @pytest.mark.parametrize("action", ACTIONS)
    def test_need_post(self, client, session, tmp_path, action):
        run = make_run(tmp_path, "mine", "running")
        session.now = (run, run.status())
        assert client.get(f"/studio/{action}").status_code == 405
        assert session.asked == []


class TestFiles:
    """No file but the PNGs of a run's two picture folders, whatever the address says."""

    OUT = (
        "/studio/picture/samples/some/..%2f..%2f..%2fsecret.png",
        "/studio/picture/samples/some/../../../secret.png",
        "/studio/picture/samples/some/%2e%2e/%2e%2e/secret.png",
        "/studio/picture/samples/..%2f..%2fsome/epoch_2_samples.png",
        "/studio/picture/samples/%2e%2e/secret.png",
        "/studio/picture/samples/%252e%252e/secret.png",
        "/studio/picture/samples/some/..%5c..%5csecret.png",
        "/studio/picture/samples/some//etc/passwd",
        "/studio/picture/samples/some/%2fetc%2fpasswd",
        "/studio/picture/samples/some/secret.png%00",
        "/studio/picture/samples/some/%00.png",
        "/studio/picture/../some/secret.png",
        "/studio/picture/checkpoints/some/ddpm_best.png",
        "/studio/picture/checkpoints/some/ddpm_best.pt",
        "/studio/picture/training_progress/some/config.json",
        "/studio/picture/training_progress/some/metrics.jsonl",
        "/studio/picture/training_progress/some/link.png",
        "/studio/picture/training_progress/some/folder.png",
        "/studio/picture/training_progress/some/.hidden.png",
        "/studio/picture/training_progress/some/QUICK_STEP_16.PNG",
        "/studio/picture/training_progress/linked/quick_step_16.png",
        "/studio/picture/samples/linked-samples/secret.png",
        "/studio/picture/training_progress/nobody/quick_step_16.png",
        "/studio/picture/training_progress/./quick_step_16.png",
        "/studio/assets/studio.js",
        "/studio/assets/..%2fstudio.py",
        "/studio/assets/%2e%2e%2fREADME.md",
        "/studio/run/..",
        "/studio/run/%2e%2e%2fsome",
        "/studio/run/linked",
        "/studio/charts/..%2fsome",
    )

    @pytest.fixture
    def tempting(self, tmp_path):
        """A root beside a secret, with links that lead to it."""
        root = tmp_path / "root"
        run = make_run(root, "some")
        secret = tmp_path / "secret.png"
        Image.new("RGB", (4, 4), "red").save(secret)
        (run.checkpoints / "ddpm_best.png").write_bytes(secret.read_bytes())
        (run.checkpoints / "ddpm_best.pt").write_bytes(b"weights")
        (run.progress / ".hidden.png").write_bytes(secret.read_bytes())
        (run.progress / "folder.png").mkdir()
        (run.progress / "link.png").symlink_to(secret)
        outside = make_run(tmp_path / "outside", "linked")
        (root / "training_progress" / "linked").symlink_to(outside.progress)
        other = make_run(root, "linked-samples")
        for path in other.samples.iterdir():
            path.unlink()
        other.samples.rmdir()
        other.samples.symlink_to(tmp_path)
        return TestClient(Starlette(routes=Live(FakeSession(root)).routes()))

    @pytest.mark.parametrize("address", OUT)
    def test_nothing_leads_out(self, tempting, address):
        answer = tempting.get(address)
        assert answer.status_code == 404
        assert not answer.content.startswith(b"\x89PNG") and b"weights" not in answer.content

    def test_but_the_pictures_are_there(self, tempting):
        answer = tempting.get("/studio/picture/training_progress/some/quick_step_16.png?v=1")
        assert answer.content.startswith(b"\x89PNG") and "immutable" in answer.headers["cache-control"]
        assert tempting.get("/studio/assets/icon").headers["content-type"].startswith("image/svg")
        assert len(tempting.get("/studio/assets/plotly").content) > 1_000_000

    def test_a_picture_that_goes_while_it_is_looked_for_is_missing(self, tempting, monkeypatch):
        """A run can be deleted while a page asks for its pictures."""
        real = Path.resolve

        def go(path, *args):
            found = real(path, *args)
            if path.name == "quick_step_16.png":
                path.unlink()
            return found

        monkeypatch.setattr(Path, "resolve", go)
        answer = tempting.get("/studio/picture/training_progress/some/quick_step_16.png")
        assert answer.status_code == 404 and answer.json() == {"error": "There is no such file."}
