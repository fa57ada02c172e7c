"""The real program and a real browser, for figures of what a person waits for."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import machine

STUDIO = machine.HOUSE / "studio.py"
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"


class Studio(NamedTuple):
    url: str
    process: int  # its number


@contextlib.contextmanager
def running_studio(root: Path, program: Path = STUDIO) -> Iterator[Studio]:
    """A studio over `root` on a free port of this computer, from when its page is served on. At the end it saves its run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(program), "--port", port, "--output-dir", str(root)]
    running = subprocess.Popen(command, cwd=program.parent, stdout=subprocess.DEVNULL)  # errors go to stderr
    try:
        until(lambda: running.poll() is not None or serves(url))
        if running.poll() is not None:
            sys.exit("error: the studio did not start: see above.")
        yield Studio(url, running.pid)
    finally:
        running.terminate()
        try:
            running.wait(60)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The machine's Chromium, driven by playwright. Where one of them is missing, a line says so and the program ends."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("error: there is no playwright: pip install -r requirements-dev.txt")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        sys.exit("error: there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=QUIET.split())


def serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/studio/status", timeout=5) as answer:
            return bool(json.load(answer))
    except OSError:
        return False


def until(happened: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            sys.exit("error: it did not happen within three minutes.")
        time.sleep(0.05)
