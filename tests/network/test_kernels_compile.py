"""The kernels can be made for cards that nobody here has: Triton's interpreter, which other tests run them in, takes more than a
compiler does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not here (it is made for Linux)")

HOUSE = Path(__file__).parents[2]


def test_the_kernels_can_be_made_for_old_cards_and_new_ones(tmp_path):
    """From Turing (a T4, an RTX 2060) to Blackwell. In a process of its own: in this one kernels are interpreted."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, "-m", "tests.compile_kernels", "75", "80", "90", "120"]
    done = subprocess.run(command, env=environment, cwd=HOUSE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 36 and sum("_backward" in line for line in lines) == 16
    assert all(int(line.split()[-2]) > 1000 for line in lines)
