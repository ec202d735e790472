"""Sequences in parts on disk are those in memory, in whatever order they are asked for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.stored_sequences import StoredSequences
from hf_stitch.errors import ActivationError
from hf_stitch.runtime.part_store import PartStore

KINDS = [
    (torch.float32, torch.float32, (3,)),
    (torch.float64, torch.float64, (1,)),
    (torch.bfloat16, torch.bfloat16, (4,)),
    (torch.bfloat16, torch.float32, (3,)),
    (torch.int64, torch.int64, ()),
]


def stored(folder: Path, kept: torch.dtype, read: torch.dtype, shape: tuple[int, ...], seed: int = 0):
    """The same 23 sequences in memory and in parts of 1 to 5, some of them empty."""
    draw = random.Random(seed)
    lengths = [draw.choice((0, 1, 1, 2, 7)) for _ in range(23)]
    rows = [(100 * torch.randn(n, *shape)).to(kept) for n in lengths]
    order = draw.sample(range(23), 23)
    parts = []
    while order:
        parts.append(tuple(order[: (size := draw.randint(1, 5))]))
        order = order[size:]
    store = PartStore(folder)
    names = [f"part-{i}" for i in range(len(parts))]
    for name, part in zip(names, parts):
        store.write(name, {"x.values": torch.cat([rows[i] for i in part])})
    found = StoredSequences(store, names, "x.values", parts, torch.tensor(lengths), shape, read)
    return found, Ragged.pack([row.to(read) for row in rows])


@pytest.mark.parametrize(("kept", "read", "shape"), KINDS)
def test_what_is_asked_for_is_read(tmp_path: Path, kept: torch.dtype, read: torch.dtype, shape: tuple) -> None:
    found, known = stored(tmp_path, kept, read, shape)
    assert (len(found), found.shape, found.dtype) == (23, shape, read)
    assert torch.equal(found.whole().values, known.values)
    for index in ([], [5], [22, 0, 7, 7], list(range(23))):
        taken, wanted = found.take(index), known.take(index)
        assert torch.equal(taken.values, wanted.values)
        assert torch.equal(taken.lengths, wanted.lengths)
        if index:
            assert all(torch.equal(*both) for both in zip(found.batch(index), known.batch(index)))
    assert torch.equal(found[11], known[11])
    assert all(torch.equal(one, other) for one, other in zip(found, known, strict=True))
    seen = dict(found.each())
    assert all(torch.equal(seen[i], known[i]) for i in range(23))


def test_each_part_is_opened_once(tmp_path: Path) -> None:
    found, _ = stored(tmp_path, *KINDS[0])
    assert [i for i, _ in found.each()] == [i for part in found.parts for i in part]
    assert found.part_of.tolist() == [next(k for k, part in enumerate(found.parts) if i in part) for i in range(23)]


def test_what_was_read_is_no_map_of_the_file(tmp_path: Path) -> None:
    found, known = stored(tmp_path, *KINDS[0])
    whole = found.whole()
    for path in tmp_path.iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(whole.values, known.values)


def test_a_part_that_went_away_is_told(tmp_path: Path) -> None:
    found, _ = stored(tmp_path, *KINDS[0])
    (tmp_path / "part-0.safetensors").unlink()
    with pytest.raises(ActivationError, match=r"part-0.safetensors was removed or overwritten while in use.*again"):
        found.whole()
