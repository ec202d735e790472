"""Sequences end to end: what goes in comes out, whatever the padding or the order of the parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_stitch.activations.ragged import Ragged

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=8)


def sequences(lengths: list[int]) -> list[torch.Tensor]:
    return [torch.arange(3 * n).reshape(n, 3) + 100 * i for i, n in enumerate(lengths)]


@given(LENGTHS)
@settings(deadline=None, max_examples=40)
def test_packing_keeps_every_sequence(lengths: list[int]) -> None:
    rows = sequences(lengths)
    packed = Ragged.pack(rows)
    assert len(packed) == len(rows)
    assert packed.lengths.tolist() == lengths
    assert packed.starts.tolist() == [sum(lengths[:i]) for i in range(len(lengths))]
    for i, row in enumerate(rows):
        assert torch.equal(packed[i], row)


@given(LENGTHS, st.sampled_from(["left", "right"]))
@settings(deadline=None, max_examples=40)
def test_unpad_takes_padding_from_either_side(lengths: list[int], side: str) -> None:
    rows, longest = sequences(lengths), max(lengths)
    padded, mask = torch.full((len(rows), longest, 3), -7), torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        place = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        padded[i, place], mask[i, place] = row, True
    found = Ragged.unpad(padded, mask)
    assert found.lengths.tolist() == lengths
    for i, row in enumerate(rows):
        assert torch.equal(found[i], row)


def test_a_batch_is_padded_on_the_right_with_zeros() -> None:
    packed = Ragged.pack(sequences([2, 4, 1]))
    padded, mask = packed.batch([2, 0])
    assert padded.shape == (2, 2, 3)
    assert mask.tolist() == [[True, False], [True, True]]
    assert padded[0, 1].tolist() == [0, 0, 0]
    again = Ragged.unpad(padded, mask)
    assert torch.equal(again[0], packed[2])
    assert torch.equal(again[1], packed[0])


@given(st.permutations(range(6)))
@settings(deadline=None, max_examples=40)
def test_joining_parts_restores_the_order_of_samples(order: list[int]) -> None:
    rows = sequences([3, 1, 4, 1, 5, 2])
    parts = [Ragged.pack([rows[i] for i in bucket]) for bucket in (order[:2], order[2:3], order[3:])]
    whole = Ragged.join(parts, torch.tensor(order))
    for i, row in enumerate(rows):
        assert torch.equal(whole[i], row)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_sequences_of_any_feature_shape(shape: tuple[int, ...]) -> None:
    rows = [torch.ones(2, *shape), torch.zeros(1, *shape)]
    padded, mask = Ragged.pack(rows).batch([0, 1])
    assert padded.shape == (2, 2, *shape)
    assert mask.sum() == 3
