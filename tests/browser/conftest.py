"""One studio and one browser for all browser tests; each test gets a fresh page that must stay at home and make no errors."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from ddpm_core.config import preset
from ddpm_core.runs import Run, Status, process_born

HERE = Path(__file__).resolve().parents[2]
ARGUMENTS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
# What Gradio says of its question that was on its way when the page was loaded anew.
BROKEN_OFF = ("AbortError: signal is aborted", "Connection errored out")
FOLDERS = ("checkpoints", "samples", "training_progress")


@dataclass
class Studio:
    """A studio that runs as its own program, as a person starts it."""

    url: str
    root: Path
    process: subprocess.Popen

    def forget_runs(self) -> None:
        for folder in FOLDERS:
            shutil.rmtree(self.root / folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")
            # Browser, studio and two other test files share two cores: once more where one fails, and "rerun" in the summary says so.
            item.add_marker(pytest.mark.flaky(reruns=1))


@contextlib.contextmanager
def running_studio(root: Path) -> Iterator[Studio]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = root.parent / f"{root.name}.log"
    with open(log, "w") as output:
        command = [sys.executable, str(HERE / "studio.py"), "--port", str(port), "--output-dir", str(root)]
        process = subprocess.Popen(command, cwd=root, stdout=output, stderr=subprocess.STDOUT)
        studio = Studio(f"http://127.0.0.1:{port}", root, process)
        try:
            wait_for(lambda: answers(studio.url + "/studio/status") or process.poll() is not None, 120)
            assert process.poll() is None, log.read_text()
            yield studio
        finally:
            process.terminate()
            try:
                code = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def studio_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Never trains anything itself: its tests lay runs into its folder, and take them away again."""
    with running_studio(tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.fixture(scope="session")
def another_studio():
    """`with another_studio(root)`: for tests that train, after which a studio is no longer as new."""
    return running_studio


@pytest.fixture
def studio(studio_program: Studio) -> Studio:
    studio_program.forget_runs()
    return studio_program


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory):
    """One profile for all tests of a process: what it has compiled of the page's scripts it keeps (a page takes 1 s of processor time, and
    5 s in a browser as new)."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install -r requirements-dev.txt"
    )
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        profile = tmp_path_factory.mktemp("chromium")
        browser = playwright.chromium.launch_persistent_context(profile, executable_path=path, args=ARGUMENTS.split())
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, studio: Studio):
    """`open_page(address="/", width=1280, dark=False)`; at the end, nothing was fetched from elsewhere and no error shown."""
    pages, strays, errors = [], [], []

    def opens(address: str = "/", width: int = 1280, dark: bool = False, forgive: str = "no error at all"):
        page = chromium.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if dark else "light")
        page.set_default_timeout(30_000)

        def note_request(request):
            if (
                not request.url.startswith(("data:", "blob:"))
                and urlsplit(request.url).netloc != urlsplit(studio.url).netloc
            ):
                strays.append(request.url)

        def note_console(message):
            told = message.type in ("error", "warning") and forgive not in message.text
            if told and not any(words in message.text for words in BROKEN_OFF):
                errors.append(message.text)

        page.on("request", note_request)
        page.on("websocket", lambda socket: strays.append(socket.url))
        page.on("console", note_console)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(studio.url + address)
        page.get_by_role("tab", name="Monitoring").wait_for()
        page.wait_for_function("document.querySelector('.strip-name')?.textContent")
        return page

    yield opens
    if pages:  # what the page remembers in this browser is forgotten, as for the next person
        forget = {"origin": studio.url, "storageTypes": "local_storage,session_storage,indexeddb,cookies"}
        chromium.new_cdp_session(pages[0]).send("Storage.clearDataForOrigin", forget)
    for page in pages:
        page.close()
    assert strays == [], "a request left this computer"
    assert errors == [], "the browser's console is not clean"


@pytest.fixture
def page(open_page):
    return open_page()


class LiveRun:
    """A run as a command line in this process would write it: a thread appends a metrics line every 0.2 s."""

    def __init__(self, root: Path, name: str = "by-hand", steps: int = 300, pictures: int = 5) -> None:
        self.run = Run(root, name)
        self.run.create(preset(name=name))
        self.steps = 0
        self.state = "running"
        self.write(steps)
        self.draw(*(2 ** (4 + i) for i in range(pictures)))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go)

    def write(self, steps: int) -> None:
        for _ in range(steps):
            self.steps += 1
            n = self.steps
            row = {"step": n, "epoch": n / 70, "images": 64 * n, "loss": 0.2 + 1 / n, "lr": 1e-3, "grad_norm": 1.0}
            self.run.append_metrics(row | {"images_per_second": 500.0 + n % 7, "seconds": n / 8})
        self.tell()

    def tell(self, message: str = "") -> None:
        status = Status(
            state=self.state, step=self.steps, total_steps=2000, epoch=self.steps // 70, epochs=28,
            images=64 * self.steps, images_per_second=500.0, seconds_left=90.0, loss=0.2, device="processor, 2 cores",
            message=message, pid=os.getpid(), born=process_born(), started=time.time(),
        )  # fmt: skip
        self.run.write_status(status)

    def draw(self, *steps: int) -> None:
        for step in steps:
            Image.effect_noise((48, 48), min(100, step % 101)).save(self.run.progress / f"quick_step_{step}.png")

    def _go(self) -> None:
        while not self._over.wait(0.2):
            self.write(1)

    def __enter__(self) -> "LiveRun":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def make_run(studio: Studio):
    return lambda **how: LiveRun(studio.root, **how)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
