"""DDPM Studio in the browser: `python studio.py`, then http://127.0.0.1:7860. Three tabs, the guard, launch; nothing else."""

import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_core import commandline
from ddpm_core.errors import UsageError

if TYPE_CHECKING:
    import gradio as gr

    from ddpm_core.session import Session

HOST = "127.0.0.1"  # this computer only; nothing here may change it
PORT = 7860
QUEUE_PAUSE = 0.02  # seconds; a click waits half of it


def page(session: "Session") -> "gr.Blocks":
    """The strip above three tabs."""
    import gradio as gr

    from pages import generation, monitoring, training, widgets
    from pages.texts import t

    with gr.Blocks(title=t("app.title"), analytics_enabled=False, delete_cache=(3600, 86400), fill_width=True) as demo:
        widgets.strip()
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab(t("tab.training"), id="training") as training_tab:
                watch = training.build(session)
            with gr.Tab(t("tab.monitoring"), id="monitoring") as monitoring_tab:
                monitoring.build()
            with gr.Tab(t("tab.generation"), id="generation") as generation_tab:
                generation.build(session)
        # The open tab lives in the page's address, so that a reload shows the same.
        for tab, key in ((training_tab, "training"), (monitoring_tab, "monitoring"), (generation_tab, "generation")):
            tab.select(None, js=f"() => {{ Studio.rememberTab('{key}'); }}")
        demo.load(None, outputs=tabs, js="() => Studio.openTab()")
        watch.click(None, outputs=tabs, js="() => Studio.openTab('monitoring')")
    return demo


def open_studio(session: "Session", port: int) -> "gr.Blocks":
    """Serves the page on 127.0.0.1:port from background threads. What could open it to others is switched off."""
    from starlette.middleware import Middleware

    from pages import look, resting
    from pages.explorer import KNOWN, inbox
    from pages.explorer.stream import Explorers
    from pages.guard import LocalOnly
    from pages.live import Live
    from pages.made import Made

    routes = [*Live(session).routes(), *Explorers(session, KNOWN).routes(), *inbox.routes(), *Made(session).routes()]
    routes += resting.routes()
    demo = page(session).queue(max_size=32)
    # Gradio would look into its empty queue a thousand times a second, as long as the studio is open: a twelfth of a core.
    demo._queue.sleep_when_free = demo._queue.progress_update_sleep_when_free = QUEUE_PAUSE
    demo.launch(
        server_name=HOST,
        server_port=port,
        prevent_thread_lock=True,
        inbrowser=False,
        quiet=True,
        share=False,
        show_error=False,
        theme=look.theme(),
        head=look.head(),
        favicon_path=str(look.assets()["icon"]),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        allowed_paths=[],
        max_file_size="50mb",
        state_session_capacity=200,
        # Routes given here stand before Gradio's own, which answer every address with the page.
        app_kwargs={"routes": routes, "middleware": [Middleware(LocalOnly)], "openapi_url": None},
    )
    return demo


def check_port(port: int) -> None:
    """Raises `UsageError` unless this program can serve on `port`; asked before anything slow is imported."""
    with socket.socket() as probe:
        # As servers do on Unix: a port whose last connection still fades out counts as free. Windows reads it otherwise.
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise UsageError(
                f"port {port} needs administrator rights: choose one above 1023, for example --port {PORT}."
            ) from None
        except OSError:
            raise UsageError(
                f"port {port} is in use, perhaps by another studio: add --port {_free_port(port)}."
            ) from None


def _free_port(after: int) -> int:
    for port in range(after + 1, min(after + 100, 65536)):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port
    return PORT


def clear_environment() -> list[str]:
    """Gradio reads settings from GRADIO_* variables that could open the studio to others. Returns those that were set."""
    found = sorted(name for name in os.environ if name.startswith("GRADIO_") and name != "GRADIO_TEMP_DIR")
    for name in found:
        del os.environ[name]
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    return [name for name in found if name != "GRADIO_ANALYTICS_ENABLED"]


def parser() -> commandline.Parser:
    flags = commandline.Parser(description="DDPM Studio: train a diffusion model, watch it learn, make pictures.")
    flags.add_argument(
        "--port",
        type=commandline.whole(1, 65535),
        metavar="N",
        help=f"where the page is served on {HOST} (default: {PORT})",
    )
    flags.add_argument(
        "--output-dir",
        metavar="FOLDER",
        help="where checkpoints/, samples/ and training_progress/ are (default: the current folder)",
    )
    flags.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="where data sets and decoded pictures are kept (default: data in the output folder)",
    )
    return flags


def run(given: dict[str, Any]) -> int:
    """Opens the studio and waits for Ctrl-C, SIGTERM or a closed terminal; a run in progress is saved before it returns."""
    port = given.get("port", PORT)
    check_port(port)
    root = Path(os.path.expanduser(given.get("output_dir", "."))).absolute()
    data_dir = Path(os.path.expanduser(given.get("data_dir", root / "data"))).absolute()
    for folder in (root, data_dir):
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise UsageError(f"{folder} is a file: name a folder.")
    for name in clear_environment():
        print(f"note: {name} is ignored: the studio answers this computer only.", file=sys.stderr)

    wait_for_end = commandline.listen_for_end()

    from ddpm_core.session import Session

    session = Session(root, data_dir)
    try:
        demo = open_studio(session, port)
    except OSError as error:  # someone took the port in the seconds since it was checked
        raise UsageError(f"port {port} cannot be used ({error}): add --port {_free_port(port)}.") from None
    print(
        f"DDPM Studio is open at http://{HOST}:{port} (Ctrl-C ends it; a run in progress is saved first)",
        flush=True,
    )
    # torch takes seconds to import: the page is there first, and whoever clicks Start finds it loaded.
    early = threading.Timer(2.0, lambda: __import__("torch"))
    early.daemon = True
    early.start()

    wait_for_end()
    print("Closing: the run in progress is being saved." if session.running else "Closing.", flush=True)
    session.close()
    demo.close(verbose=False)
    return 0


def main(argv: list[str] | None = None) -> int:
    return commandline.exit_code(lambda: run(parser().given(argv)))


if __name__ == "__main__":
    code = main()
    # A helper thread may be inside torch's native code, which aborts when Python is taken down around it. All is saved.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
