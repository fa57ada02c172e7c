"""One file from the network: with progress, verified, and gone on with where an earlier try broke off."""

import contextlib
import hashlib
import http.client
import io
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ddpm_core import atomic
from ddpm_core.data.cache import made
from ddpm_core.data.source import Progress, Teller

_PATIENCE = 30  # seconds without a byte; by itself Python would wait for ever for a network that swallows everything
_AT_ONCE = 1 << 18


class DownloadError(Exception):
    """Why a file could not be had, in a few words."""


def fetch(urls: Sequence[str], target: Path, md5: str, progress: Progress | None = None) -> None:
    """Downloads the first of `urls` that answers to `target`; raises `DownloadError`, or whatever `progress` raises.

    What has come so far is kept as `<target>.part`, and the next call goes on from there. `target` appears only when it is
    whole and its MD5 is right. Of several programs that want one file, the first brings it and the others wait for it.
    """
    part = target.with_name(target.name + ".part")
    try:
        with made(target.parent), _alone(part, progress):
            if target.is_file():  # another program brought it while this one waited
                return
            for went_on in (_size(part) > 0, False):
                _complete(urls, part, progress)
                if md5_of(part, progress) == md5:
                    atomic.replace(part, target)
                    return
                page = looks_like_a_page(_start(part))
                part.unlink()
                if not went_on:  # otherwise it may be the old part that was wrong: once more, all of it
                    break
            why = "a web page came instead, perhaps a log-in of the network" if page else "its checksum is wrong"
            raise DownloadError(f"what came is not {target.name}: {why}")
    except OSError as error:
        raise DownloadError(_reason(error)) from None


@contextlib.contextmanager
def _alone(part: Path, progress: Progress | None) -> Iterator[None]:
    """One program at a time writes `part`; a program that dies, however it dies, no longer keeps the others waiting."""
    import filelock

    tell = Teller(progress, f"Waiting for another program's download of {part.stem}")
    path = part.with_name(f".{part.name}.lock")
    lock = filelock.FileLock(path)
    while True:
        try:
            lock.acquire(timeout=0.2, poll_interval=0.05)
            break
        except filelock.Timeout:
            tell(_size(part))
    try:
        yield
    finally:
        if os.name != "nt":  # while it is held: whoever waits for it sees that it is gone, and makes a new one
            path.unlink(missing_ok=True)
        lock.release()


def _complete(urls: Sequence[str], part: Path, progress: Progress | None) -> None:
    """Gets the rest of `part`; tries again after a break as long as every try brings something."""
    reason = "no address"
    for url in urls:
        while True:
            before = _size(part)
            try:
                return _go_on(url, part, progress)
            except (OSError, http.client.HTTPException) as error:
                reason = _reason(error)
            if _size(part) <= before:
                break
    if not _size(part):
        part.unlink(missing_ok=True)
    here = f"; {_size(part) / 1e6:,.0f} MB are here, the next try goes on from there" if _size(part) > 5e5 else ""
    raise DownloadError(reason + here)


def _go_on(url: str, part: Path, progress: Progress | None) -> None:
    have = _size(part)
    # Without a browser's name some servers refuse to answer.
    headers = {"User-Agent": "Mozilla/5.0 (DDPM Studio)", **({"Range": f"bytes={have}-"} if have else {})}
    tell = Teller(progress, f"Downloading {part.stem} (bytes)")
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # there is nothing beyond what is here
            return
        raise
    with answer, open(part, "r+b" if part.exists() else "wb") as file:
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # a server that knows no ranges sends everything again
        file.seek(have)
        tell.total = have + int(answer.headers.get("Content-Length") or -have)
        while chunk := answer.read(_AT_ONCE):
            file.write(chunk)
            have += len(chunk)
            tell(have)
        if have < tell.total:
            raise ConnectionError("the connection broke off")
        file.truncate(have)
    tell(have, now=True)


def md5_of(path: Path, progress: Progress | None = None) -> str:
    """Raises OSError, and whatever `progress` raises."""
    tell = Teller(progress, f"Checking {path.name} (bytes)", path.stat().st_size)
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            done += len(chunk)
            tell(done)
    return digest.hexdigest()


def unpack(archive: Path, folder: str, progress: Progress | None = None) -> None:
    """Unpacks the files of `folder` in a .tar.gz beside the archive, all of them or none. Raises `DownloadError`.

    Where another program was quicker, its folder stays.
    """
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpacking_") as temporary:
            place = Path(temporary, folder)
            place.mkdir()
            with _Watched(archive, progress) as packed, tarfile.open(fileobj=packed, mode="r|gz") as tar:
                for member in tar:
                    inside, _, name = member.name.removeprefix("./").rpartition("/")
                    content = tar.extractfile(member) if inside == folder and member.isfile() else None
                    if content is None:
                        continue
                    # A name without a slash in it, in our own folder: nothing can land elsewhere.
                    with open(place / name, "wb") as file:
                        while chunk := content.read(1 << 20):
                            file.write(chunk)
            if not (archive.parent / folder).is_dir():
                atomic.replace(place, archive.parent / folder)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DownloadError(f"{archive.name} could not be unpacked ({_reason(error)})") from None


class _Watched(io.BufferedReader):
    """A file that tells how much of it has been read."""

    def __init__(self, path: Path, progress: Progress | None):
        super().__init__(io.FileIO(path))
        self._told = Teller(progress, f"Unpacking {path.name} (bytes)", path.stat().st_size)

    def read(self, size: int | None = -1, /) -> bytes:
        self._told(self.tell())
        return super().read(size)


def looks_like_a_page(start: bytes) -> bool:
    """Whether a file that begins so is HTML: what many servers send with the name of the file that they do not give."""
    start = start[:1000].lower()
    return b"<html" in start or b"<!doctype" in start or start.lstrip().startswith(b"<")


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(1000)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _reason(error: BaseException) -> str:
    text = str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error).strip()
    return text.split("\n")[-1] or type(error).__name__
