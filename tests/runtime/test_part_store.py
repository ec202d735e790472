"""Parts on disk: whole or absent, and a full disk said in words."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from hf_stitch.errors import ActivationError
from hf_stitch.runtime import part_store as module
from hf_stitch.runtime.part_store import PartStore


@pytest.fixture
def store(tmp_path: Path) -> PartStore:
    return PartStore(tmp_path / "deep" / "store")


def test_what_is_written_is_read_bit_for_bit(store: PartStore) -> None:
    values = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(2, 6, dtype=torch.float64).T}
    store.write("part-1", values)
    assert store.has("part-1")
    found = store.read("part-1")
    assert found.keys() == values.keys()
    assert all(torch.equal(found[name], value) for name, value in values.items())
    assert [path.name for path in store.folder.iterdir()] == ["part-1.safetensors"]


def test_a_part_can_be_replaced(store: PartStore) -> None:
    store.write("part", {"a": torch.zeros(2)})
    store.write("part", {"a": torch.ones(3)})
    assert store.read("part")["a"].tolist() == [1, 1, 1]


def test_absent_truncated_and_foreign_parts_are_not_there(store: PartStore) -> None:
    assert not store.has("absent")
    store.write("cut", {"a": torch.zeros(1000)})
    content = store.path("cut").read_bytes()
    for size in (0, 4, 60, len(content) - 1):
        store.path("cut").write_bytes(content[:size])
        assert not store.has("cut")
    store.path("foreign").write_text("no tensors here, only words, enough of them for a header")
    assert not store.has("foreign")


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
]


@pytest.mark.parametrize("error", FULL, ids=["os", "safetensors"])
def test_a_full_disk_says_what_to_do_and_keeps_what_was_written(
    store: PartStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store.write("first", {"a": torch.zeros(2)})

    def full(tensors: dict, path: Path) -> None:
        Path(path).write_bytes(b"half a part")
        raise error

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(ActivationError, match=r"no space left.*HF_STITCH_CACHE.*what was collected is kept"):
        store.write("second", {"a": torch.zeros(2)})
    assert store.has("first")
    assert not store.has("second")
    assert [path.name for path in store.folder.iterdir()] == ["first.safetensors"]


def test_other_faults_of_the_disk_are_not_called_full(store: PartStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(tensors: dict, path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, "save_file", fails)
    with pytest.raises(PermissionError):
        store.write("part", {"a": torch.zeros(2)})
