"""A command line of inference_high_res.py as a person types it, and what came of it: files, one line of error, one of JSON."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

import inference_high_res

HOUSE = Path(inference_high_res.__file__).parent
SMALL = "--model=checkpoints/toy_32x32/ddpm_best.pt"
ANIMALS = "--model=checkpoints/animals/ddpm_best.pt"
QUICK = "--steps=2"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def made(*argv: str) -> set[str]:
    """Runs a command line that must succeed, and says which files are new."""
    before = files(Path.cwd())
    assert inference_high_res.main(argv) == 0
    return files(Path.cwd()) - before


def refused(capsys, *argv: str, code: int = 2) -> str:
    """The one line with which a command line is refused; nothing is written, nothing else printed."""
    before = files(Path.cwd())
    assert inference_high_res.main(argv) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    assert files(Path.cwd()) == before
    return err


def told(capsys, *argv: str) -> dict:
    """The one line of JSON on stdout of a command line that must succeed."""
    assert inference_high_res.main([*argv, "--format=json"]) == 0
    out, _ = capsys.readouterr()
    assert out.count("\n") == 1
    return json.loads(out)


def last(previews) -> np.ndarray:
    return list(previews)[-1].pictures


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)
