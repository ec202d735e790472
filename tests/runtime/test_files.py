"""Files appear whole or not at all; a full disk is told in the caller's words, other faults stay what they are."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from hf_stitch.errors import ArtifactError
from hf_stitch.runtime.files import replacing, report_full_disk, write_text

FULL = {
    "os": OSError(errno.ENOSPC, "voll"),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "torch": RuntimeError("PytorchStreamWriter failed: No space left on device"),
}
OTHER = {
    "permission": PermissionError(errno.EACCES, "Permission denied"),
    "safetensors": SafetensorError("Error while serializing: invalid shape"),
    "ours": ValueError("space"),
}


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as scratch:
        scratch.write_text("new")
        assert path.read_text() == "old"
        assert scratch.parent == tmp_path
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=["fault", "interrupt"])
def test_after_an_error_the_old_file_stays_alone(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as scratch:
            scratch.write_text("half")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_the_same_on_every_system(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "é\nφ\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\nφ\n".encode()


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_told(name: str) -> None:
    with pytest.raises(ArtifactError, match="free some") as told, report_full_disk(ArtifactError("free some")):
        raise FULL[name]
    assert told.value.__suppress_context__


@pytest.mark.parametrize("name", OTHER)
def test_other_faults_stay_what_they_are(name: str) -> None:
    with pytest.raises(type(OTHER[name])) as told, report_full_disk(ArtifactError("free some")):
        raise OTHER[name]
    assert told.value is OTHER[name]
