"""What several rooms' tests need: no network, and archives that torchvision takes for the real ones."""

import hashlib
import io
import tarfile
import urllib.request

import pytest


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.request.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def known_archive(monkeypatch):
    """known_archive(torchvision's class, {list name: {file: bytes}}): the .tar.gz, and its checksums made known.

    The list named "" holds files that torchvision does not check.
    """

    def make(known, content: dict[str, dict[str, bytes]]) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            folder = tarfile.TarInfo(known.base_folder)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for files in content.values():
                for name, data in files.items():
                    entry = tarfile.TarInfo(f"{known.base_folder}/{name}")
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
        monkeypatch.setattr(known, "tgz_md5", hashlib.md5(packed.getvalue()).hexdigest())
        for attribute, files in content.items():
            md5s = [[name, hashlib.md5(data).hexdigest()] for name, data in files.items()]
            if attribute == "meta":
                monkeypatch.setattr(known, "meta", {**known.meta, "md5": md5s[0][1]})
            elif attribute:
                monkeypatch.setattr(known, attribute, md5s)
        return packed.getvalue()

    return make
