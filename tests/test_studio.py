"""The command `python studio.py`: what it refuses, and what it does not load before the page is there."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

import studio
from pages import resting

HERE = Path(__file__).resolve().parents[1]


@pytest.fixture
def busy_port():
    with socket.socket() as listener:
        listener.bind((studio.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_in_use_is_one_line_with_another_port(busy_port, tmp_path, capsys):
    assert studio.main(["--port", str(busy_port), "--output-dir", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"error: port {busy_port} is in use") and err.count("\n") == 1
    studio.check_port(int(re.search(r"--port (\d+)", err)[1]))  # the port it names is free
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9, "abc", ""])
def test_a_port_that_does_not_exist(port, tmp_path, capsys):
    assert studio.main(["--port", str(port), "--output-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: --port: {str(port)!r} is not a whole number from 1 to 65535.\n"


def test_wrong_flags_are_one_line(capsys):
    for argv, says in (
        (["--prot", "3"], "unknown argument '--prot': did you mean --port?"),
        (["--port"], "--port: expected one argument"),
        (["cifar10"], "unknown argument 'cifar10': --help lists what there is."),
    ):
        assert studio.main(argv) == 2
        assert capsys.readouterr() == ("", f"error: {says}\n")
    with pytest.raises(SystemExit, match="0"):
        studio.main(["--help"])
    help_text = capsys.readouterr().out
    assert all(word in help_text for word in ("--port N", "(default: 7860)", "--output-dir", "--data-dir"))


@pytest.mark.parametrize("option", ["--output-dir", "--data-dir"])
def test_a_file_is_no_folder(option, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert studio.main(["--port", "7999", "--output-dir", str(tmp_path), option, str(file)]) == 2
    assert capsys.readouterr().err == f"error: {file} is a file: name a folder.\n"


def test_nothing_heavy_is_loaded_before_it_is_needed(busy_port, tmp_path):
    """A refusal needs neither Gradio nor torch, and the page needs no torch (which takes seconds to import)."""
    program = f"""
import json, sys, pathlib, studio
code = studio.main(["--port", "{busy_port}", "--output-dir", {str(tmp_path)!r}])
first = [name for name in ("gradio", "torch", "plotly") if name in sys.modules]
from ddpm_core.session import Session
root = pathlib.Path({str(tmp_path)!r})
demo = studio.page(Session(root, root / "data"))
from pages import look, live, guard
look.head()
second = [name for name in ("gradio", "torch", "plotly") if name in sys.modules]
ids = [c["props"].get("elem_id") for c in demo.get_config_file()["components"]]
print(json.dumps([code, first, second, [i for i in ids if i]]))
"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=HERE, capture_output=True, text=True, timeout=120)
    code, first, second, ids = json.loads(answer.stdout.splitlines()[-1])
    assert (code, first, second) == (2, [], ["gradio"])
    wanted = "strip tabs runs headline film epochs loss_chart speed_chart dataset size preset epochs batch_size seed"
    assert {*wanted.split(), "start_from", "forecast", "start", "start_message", "peek"} <= set(ids)
    assert list(tmp_path.iterdir()) == []  # looking writes nothing


def test_settings_that_could_open_the_studio_are_removed(monkeypatch):
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_ALLOWED_PATHS", "/")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    assert studio.clear_environment() == ["GRADIO_ALLOWED_PATHS", "GRADIO_SERVER_NAME", "GRADIO_SHARE"]
    assert {name for name in os.environ if name.startswith("GRADIO_")} <= {
        "GRADIO_ANALYTICS_ENABLED",
        "GRADIO_TEMP_DIR",
    }
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_the_handlers_are_private():
    """One event of the page is offered to programs by name: making pictures. (It is no protection; the guard is.)"""
    from ddpm_core.session import Session

    demo = studio.page(Session(HERE, HERE / "data"))
    events = demo.get_config_file()["dependencies"]
    assert [event["api_name"] for event in events if event["api_visibility"] != "private"] == ["generate"]


def test_forms_are_read_as_they_are_filled():
    """An update from Python puts a new component into the session, with Gradio's own checks: so it is asked of each event."""
    from ddpm_core.session import Session

    asked = [event for event in studio.page(Session(HERE, HERE / "data")).fns.values() if event.fn and event.inputs]
    assert len(asked) > 8 and not any(event.preprocess for event in asked)


def test_an_empty_queue_lets_the_processor_rest(tmp_path):
    """A newer Gradio could name its pauses otherwise, and ours would then be set for nobody."""
    from ddpm_core.session import Session

    as_it_comes = vars(studio.page(Session(tmp_path, tmp_path)).queue()._queue)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    demo = studio.open_studio(Session(tmp_path, tmp_path), port)
    try:
        for pause in ("sleep_when_free", "progress_update_sleep_when_free"):
            assert pause in as_it_comes and getattr(demo._queue, pause) == studio.QUEUE_PAUSE
        (timers,) = resting.routes()  # and stand before Gradio's own
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{timers.path}") as answer:
            assert resting.QUARTER_SECOND in answer.read().decode()
    finally:
        demo.close()


@pytest.mark.parametrize(
    ("running", "said"), [(True, "Closing: the run in progress is being saved."), (False, "Closing.")]
)
def test_the_end_speaks_of_a_run_only_where_there_is_one(running, said, tmp_path, monkeypatch, capsys):
    from ddpm_core.session import Session

    monkeypatch.setattr(Session, "running", running)
    monkeypatch.setattr(studio, "open_studio", lambda session, port: SimpleNamespace(close=lambda verbose: None))
    monkeypatch.setattr(studio.commandline, "listen_for_end", lambda: lambda: None)
    with socket.socket() as free:
        free.bind((studio.HOST, 0))
        port = free.getsockname()[1]
    assert studio.run({"port": port, "output_dir": str(tmp_path)}) == 0
    assert capsys.readouterr().out.splitlines()[-1] == said
