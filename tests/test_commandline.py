"""What all command lines do when they are asked to end."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_core import commandline

HOUSE = Path(__file__).parents[1]

# Asked to end in the middle of the n-th line of Python that it waits by, for each n in turn.
ASKED_ANYWHERE = """
import signal, sys
from ddpm_core import commandline

def asked(n):
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        if lines == n:
            sys.settrace(None)
            signal.raise_signal(signal.SIGTERM)
        return trace
    wait = commandline.listen_for_end(pause=0.01)
    sys.settrace(trace)
    wait()

for n in range(1, 60):
    asked(n)
print("heard every time")
"""


def test_a_signal_is_heard_wherever_it_comes():
    command = [sys.executable, "-c", ASKED_ANYWHERE]
    answer = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout == "heard every time\n", answer.stderr


def test_one_that_came_before_the_waiting_is_not_lost():
    program = (
        "import signal; from ddpm_core import commandline; wait = commandline.listen_for_end();"
        "signal.raise_signal(signal.SIGINT); wait(); print('heard')"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=HOUSE, capture_output=True, text=True, timeout=60)
    assert answer.stdout == "heard\n", answer.stderr


# Says something, waits until nobody reads what it says, says more, and leaves a file when it is done.
SPEAKS = """
import sys
from pathlib import Path
from ddpm_core import commandline

def program():
    print("heard", flush=True)
    sys.stdin.readline()
    for stream in (sys.stdout, sys.stderr):
        print("unheard", file=stream, flush=True)
    commandline.say_from_handler(b"unheard")
    Path(sys.argv[1]).write_text("done")
    print("and not flushed")
    return 7

sys.exit(commandline.exit_code(program))
"""


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_program_outlives_whoever_reads_what_it_says(tmp_path, kind, unbuffered):
    if kind == "terminal" and not hasattr(os, "openpty"):
        pytest.skip("no terminals of this kind here")
    reading, writing = os.pipe() if kind == "pipe" else os.openpty()
    command = [sys.executable, *(["-u"] if unbuffered else []), "-c", SPEAKS, str(tmp_path / "file")]
    with subprocess.Popen(command, cwd=HOUSE, stdin=subprocess.PIPE, stdout=writing, stderr=writing) as process:
        os.close(writing)
        assert os.read(reading, 100).split() == [b"heard"]
        os.close(reading)
        process.communicate(b"\n", timeout=60)
    assert process.returncode == 7 and (tmp_path / "file").read_text() == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_does_not_pass_for_success(tmp_path):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", SPEAKS, str(tmp_path / "file")]
        answer = subprocess.run(
            command, cwd=HOUSE, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert answer.returncode != 7 and b"No space left" in answer.stderr


def test_names_that_the_terminal_cannot_print_are_told_all_the_same(monkeypatch):
    words = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", words)
    assert commandline.exit_code(lambda: print("wrote caf\udce9.png, \u00e9.png") or 0) == 0
    words.seek(0)
    assert words.read() == "wrote caf\\udce9.png, \\xe9.png\n"


def test_a_command_to_copy_is_written_for_the_shell_that_is_there(monkeypatch):
    def quoted(system, text):
        with monkeypatch.context() as patch:
            patch.setattr(commandline.os, "name", system)
            return commandline.quoted(text)

    assert quoted("posix", "my runs/a.pt") == "'my runs/a.pt'"
    assert quoted("nt", r"checkpoints\cats\a.pt") == r"checkpoints\cats\a.pt"
    for path in (r"C:\my runs\a.pt", r"C:\R&D\a.pt"):
        assert quoted("nt", path) == f'"{path}"'
