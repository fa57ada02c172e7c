"""Stand-ins for a row's process (`rows._child`) that need no torch: what `row` says is what they do."""

import os
import subprocess
import time
from pathlib import Path

ABOUT = {"batch_size": 4, "bfloat16": True, "parameters": 9_000_000, "flops": 10**9, "seconds_to_begin": 1.5}
PEAKS = {"float32": 20.0, "bfloat16": 40.0}
TURN = {"steps": 3, "disturbed": 0, "kept": False, "images_per_second": 10.0}


def act(row, pipe, pictures, device):
    """`$FAKES` is a folder: it gets a file of each fake, and nobody is ready before `$FAKES_TOGETHER` of them have begun."""
    os.setsid()
    begun = Path(os.environ["FAKES"])
    worker = subprocess.Popen(["sleep", "600"]) if row == "works forever" else None
    (begun / f".{os.getpid()}").write_text(str(worker.pid if worker else ""))
    (begun / f".{os.getpid()}").rename(begun / f"{os.getpid()}")
    while len([path for path in begun.iterdir() if path.name.isdigit()]) < int(os.environ["FAKES_TOGETHER"]):
        time.sleep(0.02)
    if row == "works forever":
        time.sleep(600)
    if row == "dies":
        os._exit(3)
    if row == "cannot":
        pipe.send("it cannot")
        return
    pipe.send(ABOUT if row else {})
    while pipe.recv() is not None:
        if row == "dies in its turn":
            os._exit(4)
        pipe.send(TURN if row else PEAKS)
