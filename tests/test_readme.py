"""What the README says can be typed: its library example runs as it stands there, but for the data, the size and the number of steps."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

README = Path(__file__).parent.parent / "README.md"


def test_the_library_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        picture = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        (tmp_path / "few").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "few" / f"{number}.png")
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    shorter = {'"openmoji"': '"few"', "max_steps=500": 'preset="cpu", device="cpu", max_steps=2', "steps=20": "steps=2"}
    for text, short in shorter.items():
        assert text in example
        example = example.replace(text, short)
    exec(compile(example, README.name, "exec"), {})
    with Image.open("sixteen.png") as sheet:
        assert sheet.width > 4 * 32
