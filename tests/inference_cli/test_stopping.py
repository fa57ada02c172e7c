"""Ctrl-C in the middle."""

import contextlib
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

import inference_high_res
from tests.inference_cli.line import HOUSE, SMALL


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_ctrl_c_that_falls_into_a_destructor_is_not_lost():
    """Python prints such a KeyboardInterrupt as ignored, and goes on."""
    seen = []

    def previews():
        for number in range(5):
            seen.append(number)
            if number == 2:
                with contextlib.suppress(KeyboardInterrupt):  # what a destructor does with it
                    signal.raise_signal(signal.SIGINT)
            yield SimpleNamespace(done=number / 5)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        inference_high_res.watched(previews(), "5 pictures")
    assert seen == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_ends_in_one_line_and_writes_nothing(here):
    line = [sys.executable, str(HOUSE / "inference_high_res.py"), SMALL, "--samples=512", "--steps=1000"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # The bar appears when the network is at work.
    assert process.stderr is not None
    said = ""
    while "512 pictures" not in said:
        said += process.stderr.read(1)
        assert process.poll() is None, said
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and out == ""
    assert "Traceback" not in err and err.rstrip().endswith("stopped; nothing was saved.")
    assert not (here / "samples").exists()
