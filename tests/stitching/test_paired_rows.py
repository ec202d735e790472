"""Rows that are read block by block give the maps and measures of rows in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clouds import normal, rows
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet, output_blocks, paired_blocks
from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.stored_sequences import StoredSequences
from hf_stitch.evaluation.statistics.activations import RowSums
from hf_stitch.runtime.part_store import PartStore
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.lengths.rule import Pairs
from hf_stitch.stitching.paired_rows import PairedRows
from hf_stitch.stitching.pairing import Pairing
from hf_stitch.stitching.trust.gauge import TrustGauge

SAMPLES, WIDTH, WIDER = 29, 4, 6
MOST = 7  # rows of a block
STREAMED = {
    "affine": {},
    "affine, ridge": {"ridge": 0.1},
    "affine, pairs": {"pairs": 31},
    "low_rank": {},
    "low_rank, rank": {"rank": 2, "pairs": 40},
    "orthogonal": {},
    "orthogonal, pairs": {"pairs": 33},
}
LANDMARKED = {"rbf": {"landmarks": 20}, "rbf, all": {}, "diffusion": {"coordinates": 4, "neighbours": "all"}}


class InBlocks(ActivationSet):
    """Rows of which no more than MOST are asked for at once."""

    def blocks(self, most: int) -> Iterator[Tensor]:
        return super().blocks(min(most, MOST))


def split(one: ActivationSet) -> InBlocks:
    return InBlocks(one.values, one.keys, one.metric, one.full, one.selected)


def sides() -> tuple[ActivationSet, ActivationSet]:
    x = normal(90, WIDTH) + 5
    full = torch.tanh(x @ normal(WIDTH, WIDER, seed=1) / 4) + 3 + 0.1 * normal(90, WIDER, seed=2)
    chosen = (0, 2, 5)
    return rows(x), replace(rows(full[:, chosen]), full=full, selected=chosen)


def pairing() -> Pairing:
    """Of each sample some timesteps, or none, in windows of one to three."""
    draw, pairs = np.random.default_rng(0), []
    for i in range(SAMPLES):
        count = i % 4
        starts = draw.permutation(8)[:count]
        windows = np.stack([starts, starts + draw.integers(1, 4, count)], 1)[:, None]
        pairs.append(Pairs(windows, windows[:, :, :] * 0 + [0, 1] + starts[:, None, None], np.sort(starts)))
    return Pairing(pairs, torch.tensor([len(one.position) for one in pairs]), 0)


def stored_sides(folder: Path) -> tuple[PairedRows, PairedRows]:
    """Both sides of the pairing, their frames in parts of five samples."""
    own, store, found = pairing(), PartStore(folder), []
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(1)).tolist()
    parts = [tuple(order[i : i + 5]) for i in range(0, SAMPLES, 5)]
    frames = [Ragged(normal(11 * SAMPLES, width, seed=width), torch.full((SAMPLES,), 11)) for width in (WIDTH, WIDER)]
    names = [f"part-{k}" for k in range(len(parts))]
    for name, part in zip(names, parts):
        store.write(name, {f"{k}.values": side.take(part).values for k, side in enumerate(frames)})
    for k, side in enumerate(frames):
        held = StoredSequences(store, names, f"{k}.values", parts, side.lengths, side.shape, side.dtype)
        found.append(PairedRows(held, own, k, (0, 2, 5) if k else None, whole_layer=bool(k)))
    return found[0], found[1]


@pytest.mark.parametrize("what", STREAMED)
@pytest.mark.parametrize(("landing", "fill"), [("none", "predict"), ("nearest", "mean"), ("none", "reference")])
def test_a_map_of_many_blocks_is_that_of_one(what: str, landing: str, fill: str) -> None:
    method, options = what.split(",")[0], STREAMED[what]
    one, many = (
        fit_layer(method, *both, landing=landing, fill=fill, options=options)
        for both in (sides(), [split(side) for side in sides()])
    )
    assert one.spec == many.spec
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(many.state_dict()[name], tensor, rtol=1e-10, atol=1e-10)
    assert one.diagnostics.get("alignment", {}) == pytest.approx(many.diagnostics.get("alignment", {}))


@pytest.mark.parametrize("what", [*STREAMED, *LANDMARKED])
def test_a_map_of_rows_on_disk_is_that_of_rows_in_memory(what: str, tmp_path: Path) -> None:
    method, options = what.split(",")[0], {**STREAMED, **LANDMARKED}[what]
    both = stored_sides(tmp_path)
    read, held = (fit_layer(method, *some, options=options) for some in (both, [side.whole() for side in both]))
    assert read.spec == held.spec
    assert all(torch.equal(read.state_dict()[name], tensor) for name, tensor in held.state_dict().items())
    gauges = [TrustGauge.fit("cycle", read, *some, kept_rows=9).gauge for some in (both, [s.whole() for s in both])]
    assert all(torch.equal(gauges[0].state_dict()[name], tensor) for name, tensor in gauges[1].state_dict().items())


@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_blocks_hold_every_row_once_and_no_more_than_asked(most: int, tmp_path: Path) -> None:
    source, target = stored_sides(tmp_path)
    for side in (source, target, source.whole(), source.subset(torch.arange(0, len(source), 2))):
        blocks = list(side.blocks(most))
        assert max(map(len, blocks)) <= most
        assert torch.cat(blocks).sort().values.tolist() == list(range(len(side)))
        assert all(block.tolist() == sorted(block.tolist()) for block in blocks)
    parts = [{int(i) for i in source.take(block).keys[:, 0]} for block in source.blocks(9)]
    together = [set(part) for part in source.frames.parts]
    assert all(len([part for part in together if part & block]) <= 3 for block in parts), "read part by part"


def test_rows_are_the_same_however_they_are_asked_for(tmp_path: Path) -> None:
    for side in stored_sides(tmp_path):
        whole = side.whole()
        assert (side.width, side.output_width, side.dtype) == (whole.width, whole.output_width, whole.dtype)
        assert (len(side), side.selected, side.whole_layer) == (len(whole), whole.selected, whole.whole_layer)
        assert torch.equal(side.keys, whole.keys)
        some = torch.tensor([3, 0, 3, len(side) - 1])
        order = torch.randperm(len(side), generator=torch.Generator().manual_seed(2))
        for one, other in (
            (side.take(some), whole.take(some)),
            (side.subset(some).whole(), whole.take(some)),
            (side.subset(order).subset(some).whole(), whole.take(order[some])),
            (side.subset(order).take(some), whole.take(order[some])),
            (side.dealt(order).whole(), whole.dealt(order)),
            (side.dealt(order).take(some), whole.dealt(order).take(some)),
            (side.alone().whole(), whole.alone()),
            (side.spread(5), whole.take(torch.linspace(0, len(side) - 1, 5).round().long())),
        ):
            assert torch.equal(one.values, other.values)
            assert torch.equal(one.keys, other.keys)
            assert torch.equal(one.outputs, other.outputs)
        assert side.same_keys(whole)
        assert not side.same_keys(side.subset(order))


def test_means_of_windows_are_what_the_frames_say(tmp_path: Path) -> None:
    source, _ = stored_sides(tmp_path)
    values, frames = source.whole().values, source.frames.whole()
    wanted = [frames[i][a:b].mean(0) for i, one in enumerate(source.pairing.pairs) for a, b in one.source[:, 0]]
    torch.testing.assert_close(values, torch.stack(wanted))


@pytest.mark.parametrize("size", [1, 13, 90])
def test_measures_by_blocks_are_those_of_all_rows(size: int) -> None:
    given, true = normal(90, 3).numpy(), normal(90, 3, seed=1).numpy()
    owners = np.random.default_rng(0).integers(0, 17, 90)
    parts, whole = RowSums(true.mean(0), 20), RowSums(true.mean(0), 20)
    whole.add(given, true, owners)
    for k in range(0, 90, size):
        parts.add(given[k : k + size], true[k : k + size], owners[k : k + size])
    for name in ("r_squared", "cosine", "relative_error"):
        one, other = getattr(parts, name)(seed=3), getattr(whole, name)(seed=3)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
        assert one.n == other.n == len(set(owners))
    missed = ((given - true) ** 2).sum() / ((true - true.mean(0)) ** 2).sum()
    assert parts.r_squared().value == pytest.approx(1 - missed)


def test_both_sides_of_a_block_belong_together() -> None:
    source, target = (split(side) for side in sides())
    pairs = list(paired_blocks(source, target))
    assert {len(x) for x, _ in pairs} == {MOST, 90 % MOST}
    assert torch.equal(torch.cat([x for x, _ in pairs]), source.values)
    assert torch.equal(torch.cat([y for _, y in pairs]), target.outputs)
    assert torch.equal(torch.cat(list(output_blocks(target))), target.outputs)
