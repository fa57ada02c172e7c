"""The seal of a checkpoint: what a file says it is, and whether that is true."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from ddpm_core import seal
from ddpm_core.errors import CheckpointError


def sealed(content: bytes = b"weights") -> io.BytesIO:
    archive, file = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("data", content)
    through = seal.Hashing(file)
    through.write(archive.getvalue())
    seal.put(file, through.hash.hexdigest())
    assert through.hash.hexdigest() == hashlib.sha256(archive.getvalue()).hexdigest()
    return file


def test_what_is_claimed_is_true_of_a_whole_file():
    file = sealed()
    assert seal.claimed(file) == seal.check(file, Path("a.pt"))
    assert seal.claimed(sealed(b"other weights")) != seal.claimed(file)


def test_a_flipped_bit_leaves_the_claim_and_fails_the_check():
    file = sealed()
    claim, data = seal.claimed(file), bytearray(file.getvalue())
    data[data.index(b"weights")] ^= 1
    file = io.BytesIO(bytes(data))
    assert seal.claimed(file) == claim
    with pytest.raises(CheckpointError, match=r"a\.pt is damaged \(its checksum does not match\)"):
        seal.check(file, Path("a.pt"))


@pytest.mark.parametrize("cut", [0, 1, 40, 82, 83])
def test_no_whole_seal_is_no_claim(cut):
    content = sealed().getvalue()
    assert (seal.claimed(io.BytesIO(content[: len(content) - cut])) is None) == (cut > 0)
    assert seal.claimed(io.BytesIO(content[:cut])) is None
