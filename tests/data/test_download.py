"""Downloads from a little server on this machine: gone on with after a break, verified, never half a file."""

import gzip
import hashlib
import http.server
import pickle
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from ddpm_core.data import catalogue, download, idx
from ddpm_core.data.download import DownloadError, fetch
from ddpm_core.data.torchvision_sets import datasets
from ddpm_core.errors import DataError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class _Server(http.server.ThreadingHTTPServer):
    """Serves `files` by their path. `breaks` holds after how many bytes the next answers break off."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {"/set.tar.gz": CONTENT}
        self.breaks: list[int] = []
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []
        self.sizes: list[int] = []  # of the answers, as they begin

    def url(self, path="/set.tar.gz"):
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.server.breaks.pop(0) if self.server.breaks else len(content)
        self.server.sizes.append(len(content[start:end]))
        self.wfile.write(content[start:end])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_is_fetched_with_progress(tmp_path, server):
    told = []
    fetch([server.url()], tmp_path / "data" / "set.tar.gz", MD5, lambda *now: told.append(now))
    assert (tmp_path / "data" / "set.tar.gz").read_bytes() == CONTENT
    assert _names(tmp_path) == ["data", "set.tar.gz"]
    loading = [now for now in told if now[0] == "Downloading set.tar.gz (bytes)"]
    assert loading[-1][1:] == (len(CONTENT), len(CONTENT)) and 0 < loading[0][1] <= len(CONTENT)


def test_a_second_try_goes_on_where_the_first_was_stopped(tmp_path, server):
    class Stop(Exception):
        pass

    def stop(what, done, total):
        if done > 300_000:
            raise Stop

    target = tmp_path / "set.tar.gz"
    server.breaks = [1_000_000]
    with pytest.raises(Stop):
        fetch([server.url()], target, MD5, stop)
    assert _names(tmp_path) == ["set.tar.gz.part"]
    have = (tmp_path / "set.tar.gz.part").stat().st_size
    assert 0 < have < len(CONTENT)
    server.breaks = []
    fetch([server.url()], target, MD5)
    assert target.read_bytes() == CONTENT and _names(tmp_path) == ["set.tar.gz"]
    assert server.asked[-1] == ("/set.tar.gz", f"bytes={have}-") and server.sizes[-1] == len(CONTENT) - have


def test_a_broken_connection_is_taken_up_again_by_itself(tmp_path, server):
    server.breaks = [1_000_000, 500_000, 700_000]
    fetch([server.url()], tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000000-", "bytes=1500000-", "bytes=2200000-"]


def test_what_came_is_kept_when_nothing_comes_any_more(tmp_path, server):
    server.breaks = [2_000_000, 0]
    with pytest.raises(DownloadError, match="broke off; 2 MB are here, the next try goes on"):
        fetch([server.url()], tmp_path / "set.tar.gz", MD5)
    assert _names(tmp_path) == ["set.tar.gz.part"]
    fetch([server.url()], tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_sends_all_of_it_again(tmp_path, server):
    server.ranges = False
    (tmp_path / "set.tar.gz.part").write_bytes(CONTENT[:1_000_000])
    fetch([server.url()], tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, b"<html>log in</html>" * 50, CONTENT + b"more", b"x" * 1000])
def test_a_part_that_is_whole_too_long_or_something_else(tmp_path, server, part):
    (tmp_path / "set.tar.gz.part").write_bytes(part)
    fetch([server.url()], tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == CONTENT and _names(tmp_path) == ["set.tar.gz"]


def test_the_next_address_is_asked_when_one_fails(tmp_path, server):
    fetch([server.url("/gone"), server.url()], tmp_path / "set.tar.gz", MD5)
    assert (tmp_path / "set.tar.gz").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="Not Found"):
        fetch([server.url("/gone")], tmp_path / "other" / "set.tar.gz", MD5)
    assert _names(tmp_path) == ["set.tar.gz"]


def test_a_web_page_and_a_wrong_checksum_are_told_and_not_kept(tmp_path, server):
    server.files["/page"] = b"<!DOCTYPE html><html>Log in to this network</html>"
    with pytest.raises(DownloadError, match="a web page came instead"):
        fetch([server.url("/page")], tmp_path / "data" / "set.tar.gz", MD5)
    server.files["/page"] = CONTENT[:-1] + b"x"
    with pytest.raises(DownloadError, match="checksum is wrong"):
        fetch([server.url("/page")], tmp_path / "data" / "set.tar.gz", MD5)
    assert list(tmp_path.iterdir()) == []


def test_several_may_fetch_it_at_once(tmp_path, server):
    (tmp_path / "set.tar.gz.part").write_bytes(CONTENT[:500_000])
    failed = []

    def one():
        try:
            fetch([server.url()], tmp_path / "set.tar.gz", MD5)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and (tmp_path / "set.tar.gz").read_bytes() == CONTENT
    assert [start for _, start in server.asked] == ["bytes=500000-"]  # the first brought it, the others waited
    assert _names(tmp_path) == ["set.tar.gz"]


def test_whoever_waits_for_another_download_is_told_and_may_leave(tmp_path, server):
    told = []

    class Stop(Exception):
        pass

    def leave(what, done, total):
        told.append(what)
        raise Stop

    def wait(what, done, total):
        if threading.current_thread() is threading.main_thread() and not told:
            with pytest.raises(Stop):
                fetch([server.url()], tmp_path / "set.tar.gz", MD5, leave)

    fetch([server.url()], tmp_path / "set.tar.gz", MD5, wait)
    assert told == ["Waiting for another program's download of set.tar.gz"]
    assert (tmp_path / "set.tar.gz").read_bytes() == CONTENT and _names(tmp_path) == ["set.tar.gz"]


def test_unpacking_takes_the_sets_folder_and_nothing_else(tmp_path, known_archive):
    class Known:
        base_folder, tgz_md5 = "set", ""

    packed = known_archive(Known, {"": {"a.bin": b"a", "../../evil": b"e", "deeper/b.bin": b"b"}})
    archive = tmp_path / "in" / "set.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(packed)
    download.unpack(archive, "set")
    assert _names(tmp_path) == ["a.bin", "in", "set", "set.tar.gz"]


def test_a_folder_that_another_program_unpacked_meanwhile_stays(tmp_path, known_archive):
    class Known:
        base_folder, tgz_md5 = "set", ""

    archive = tmp_path / "set.tar.gz"
    archive.write_bytes(known_archive(Known, {"": {"a.bin": b"a"}}))

    def quicker(*told):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / "a.bin").write_bytes(b"theirs")

    download.unpack(archive, "set", quicker)
    assert (tmp_path / "set" / "a.bin").read_bytes() == b"theirs" and _names(tmp_path) == ["a.bin", "set", "set.tar.gz"]


@pytest.mark.parametrize("cut", [100, 5000])
def test_an_archive_that_cannot_be_unpacked_leaves_nothing(tmp_path, known_archive, cut):
    class Known:
        base_folder, tgz_md5 = "set", ""

    archive = tmp_path / "set.tar.gz"
    archive.write_bytes(known_archive(Known, {"": {"a.bin": CONTENT[:10_000]}})[:-cut])
    with pytest.raises(DownloadError, match=r"set\.tar\.gz could not be unpacked"):
        download.unpack(archive, "set")
    assert _names(tmp_path) == ["set.tar.gz"]


# ---- the sets themselves ------------------------------------------------------------------------------------------


def test_cifar10_is_downloaded_unpacked_and_gone_on_with(tmp_path, server, known_archive, monkeypatch):
    photos = np.random.default_rng(1).integers(0, 256, (400, 3072), dtype=np.uint8)
    known = datasets().CIFAR10
    packed = known_archive(
        known,
        {
            "train_list": {"data_batch_1": pickle.dumps({"data": photos, "labels": [3] * 400})},
            "test_list": {"test_batch": b"not looked at"},
            "meta": {"batches.meta": pickle.dumps({"label_names": list("abcdefghij")})},
        },
    )
    server.files["/cifar-10-python.tar.gz"] = packed
    monkeypatch.setattr(known, "url", server.url("/cifar-10-python.tar.gz"))
    server.breaks = [800_000, 0]
    with pytest.raises(
        DataError, match=r"could not be downloaded .*next try goes on.*put cifar-10-python\.tar\.gz"
    ) as caught:
        catalogue.load("cifar10", 32, tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert _names(tmp_path / "data") == ["cifar-10-python.tar.gz.part"]
    told = []
    pictures = catalogue.load("cifar10", 32, tmp_path / "data", lambda *now: told.append(now))
    assert server.asked[-1][1] == "bytes=800000-"
    assert np.array_equal(pictures.images.reshape(400, -1), photos) and pictures.labels.tolist() == [3] * 400
    steps = list(dict.fromkeys(what.partition(" ")[0] for what, _, _ in told))
    assert steps == ["Preparing", "Downloading", "Checking", "Unpacking"]


def test_mnist_is_downloaded_from_the_first_mirror_that_answers(tmp_path, server, monkeypatch):
    digits = np.random.default_rng(2).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    labels = np.arange(30, dtype=np.uint8) % 10
    known = datasets().MNIST
    resources = []
    for name, values in (("train-images-idx3-ubyte.gz", digits), ("train-labels-idx1-ubyte.gz", labels)):
        header = struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape)
        packed = gzip.compress(header + values.tobytes())
        server.files[f"/second/{name}"] = packed
        resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(known, "mirrors", [server.url("/first/"), server.url("/second/")])
    monkeypatch.setattr(known, "resources", resources)
    pictures = catalogue.load("mnist", 32, tmp_path)
    assert np.array_equal(pictures.images[:, 0, 2:30, 2:30], digits) and np.array_equal(pictures.labels, labels)
    assert _names(tmp_path / "MNIST") == ["raw", *(name for name, _ in resources)]
    assert idx.Mnist(tmp_path)._find() is not None
