"""A command line of train_high_res.py as a person types it, and what came of it: a run, or one line of error."""

from pathlib import Path

import train_high_res

HOUSE = Path(train_high_res.__file__).parent


def everything(folder: Path) -> dict:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def refused(capsys, *argv: str, code: int = 2, **defaults) -> str:
    """The one line with which a command line is refused; nothing is written, nothing else printed."""
    before = everything(Path.cwd().parent)
    assert train_high_res.main(argv, **defaults) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    assert everything(Path.cwd().parent) == before
    return err


def arguments(name: str, *more: str) -> list[str]:
    flags = ["--dataset=../dots", "--size=32", "--preset=cpu", "--batch-size=4", "--max-steps=12", "--device=cpu"]
    return [*flags, "--name", name, *more]
