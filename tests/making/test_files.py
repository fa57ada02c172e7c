"""Where pictures go, and what is said about them."""

import json
from pathlib import Path

import pytest

from ddpm_core import pictures
from ddpm_core.errors import UsageError
from ddpm_core.making import files


@pytest.mark.parametrize("there", ["a.png", "a.gif", "a_trajectory.png"])
def test_a_name_is_free_if_nothing_that_goes_beside_it_is_there(tmp_path, there):
    assert files.free(tmp_path, "a", [".gif", files.TRAJECTORY]) == tmp_path / "a.png"
    (tmp_path / there).touch()
    assert files.free(tmp_path, "a", [".gif", files.TRAJECTORY]) == tmp_path / "a-2.png"
    (tmp_path / "a-2.gif").symlink_to("nowhere")  # a link into nothing is a file to lose, too
    assert files.free(tmp_path, "a", [".gif", files.TRAJECTORY]) == tmp_path / "a-3.png"


def test_names_with_dots_keep_them():
    assert files.beside(Path("v1.2/a.b.png"), ".gif") == Path("v1.2/a.b.gif")
    assert files.beside(Path("a.b.png"), files.TRAJECTORY) == Path("a.b_trajectory.png")


def test_output_must_be_a_png_in_a_place_that_can_be_written(tmp_path):
    files.check_output(tmp_path / "new/folder/a.png", [".gif"])
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match=r"try a\.png"):
        files.check_output(tmp_path / "a.jpg", [])
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write into"):
        files.check_output(tmp_path / "file/a.png", [])
    with pytest.raises(UsageError, match="is too long"):
        files.check_output(tmp_path / f"{'a' * 250}.png", [])
    files.check_folder(tmp_path / ("a" * 300))  # nothing is known of it, but that it is not there


def test_the_longest_name_can_be_written_with_all_that_goes_beside_it(tmp_path):
    path = tmp_path / f"{'a' * (255 - len('.tmp') - len(files.TRAJECTORY))}.png"
    files.check_output(path, [files.TRAJECTORY])
    pictures.save_bytes(b"x", files.beside(path, files.TRAJECTORY))


def test_a_report_is_words_or_one_line_of_json(capsys):
    report = files.Report({"what": "sample"}, pictures=10, seconds=2.0)
    report.add(Path("a.png"), "grid", (36, 70))
    report.add(Path("a.gif"), "gif", (32, 32), frames=16)
    report.tell(as_json=False)
    assert capsys.readouterr().out == "wrote a.png\nwrote a.gif\n10 pictures in 2.0 s, 5 a second\n"
    report.tell(as_json=True)
    out, err = capsys.readouterr()
    assert err == "wrote a.png\nwrote a.gif\n10 pictures in 2.0 s, 5 a second\n"
    assert json.loads(out) == {
        "files": [
            {"path": "a.png", "kind": "grid", "width": 36, "height": 70},
            {"path": "a.gif", "kind": "gif", "width": 32, "height": 32, "frames": 16},
        ],
        "recipe": {"what": "sample"},
        "pictures": 10,
        "seconds": 2.0,
        "images_per_second": 5.0,
    }


def test_where_a_folder_cannot_even_be_asked_for_the_one_above_it_counts(tmp_path):
    """Nobody may enter it, or as here its name is too long."""
    files.check_folder(tmp_path / ("x" * 300) / "a")


def test_a_drive_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    """On Windows not even the last of a path's parents need exist."""
    monkeypatch.setattr(files.os.path, "lexists", lambda path: False)
    with pytest.raises(UsageError, match="drive that is not there: choose another place"):
        files.check_folder(tmp_path)
