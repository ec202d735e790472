"""Parts on disk: whole or absent, and a full disk said in words."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

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


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_part_is_not_there(store: PartStore, seed: int) -> None:
    """Flipped bits and cuts, in the header and in the numbers: none gives other values."""
    draw = random.Random(seed)
    values = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(6).bfloat16(), "d": torch.tensor([True])}
    store.write("part", values)
    whole = store.path("part").read_bytes()
    for attempt in range(50):
        content, place = bytearray(whole), draw.randrange(len(whole))
        if draw.random() < 0.2:
            del content[place:]
        else:
            content[place] ^= 1 << draw.randrange(8)
        store.path("part").write_bytes(content)
        # Blanks that fill the header up mean nothing.
        same = content.replace(b" ", b"") == whole.replace(b" ", b"")
        assert store.has("part") == same, f"seed {seed}, attempt {attempt}, byte {place}"
        if not same:
            with pytest.raises(ActivationError, match="run again"):
                store.read("part")
    store.path("part").write_bytes(whole)
    assert all(torch.equal(one, values[key]) for key, one in store.read("part").items())


def test_a_part_without_a_digest_is_made_again(store: PartStore) -> None:
    save_file({"a": torch.zeros(2)}, store.path("old"))
    assert not store.has("old")


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
]


@pytest.mark.parametrize("error", FULL, ids=["os", "safetensors"])
def test_a_full_disk_says_what_to_do_and_keeps_what_was_written(
    store: PartStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store.write("first", {"a": torch.zeros(2)})

    def full(tensors: dict, path: Path, metadata: dict) -> None:
        Path(path).write_bytes(b"half a part")
        raise error

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(ActivationError, match=r"no space left.*HF_STITCH_CACHE.*what was collected is kept"):
        store.write("second", {"a": torch.zeros(2)})
    assert store.has("first")
    assert not store.has("second")
    assert [path.name for path in store.folder.iterdir()] == ["first.safetensors"]


def test_other_faults_of_the_disk_are_not_called_full(store: PartStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(tensors: dict, path: Path, metadata: dict) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, "save_file", fails)
    with pytest.raises(PermissionError):
        store.write("part", {"a": torch.zeros(2)})
