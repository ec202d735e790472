"""Rows with keys: taken by number, paired by key and never by place."""

from __future__ import annotations

import pytest
import torch
from clouds import normal, rows
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet, paired
from hf_stitch.errors import ActivationError
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric


def keyed(keys: list[list[int]], values: Tensor | None = None) -> ActivationSet:
    return ActivationSet(normal(len(keys), 3) if values is None else values, torch.tensor(keys).reshape(-1, 2))


@pytest.mark.parametrize(("values", "keys"), [((4,), (4, 2)), ((4, 3), (3, 2)), ((4, 3), (4, 1)), ((4, 3), (4,))])
def test_shapes_that_do_not_fit_are_refused(values: tuple[int, ...], keys: tuple[int, ...]) -> None:
    with pytest.raises(ActivationError, match=r"takes values \(n, m\) and keys \(n, 2\); got"):
        ActivationSet(torch.zeros(values), torch.zeros(keys, dtype=torch.int64))


def test_take_moves_everything_that_belongs_to_a_row() -> None:
    metric = LocalMetric(torch.arange(5.0), normal(5, 2, 3), 1)
    whole = ActivationSet(normal(5, 3), rows(normal(5, 3)).keys, metric, normal(5, 6, seed=1), (0, 2, 4))
    index = torch.tensor([3, 0, 3])
    part = whole.take(index)
    assert len(part) == 3
    assert torch.equal(part.values, whole.values[index])
    assert torch.equal(part.keys, whole.keys[index])
    assert part.metric is not None
    assert torch.equal(part.metric.scale, metric.scale[index])
    assert torch.equal(part.metric.factors, metric.factors[index])
    assert part.full is not None
    assert whole.full is not None
    assert torch.equal(part.full, whole.full[index])
    assert part.selected == (0, 2, 4)


def test_take_of_rows_without_metric() -> None:
    part = rows(normal(4, 2)).take(torch.tensor([1]))
    assert part.metric is None
    assert part.full is None


def test_pairing_is_by_key_in_key_order() -> None:
    source = keyed([[1, 0], [0, 1], [2, 0], [0, 0]])
    target = keyed([[0, 0], [5, 5], [1, 0], [0, 1]], normal(4, 2, seed=1))
    first, second = paired(source, target)
    assert first.keys.tolist() == second.keys.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert torch.equal(first.values, source.values[[3, 1, 0]])
    assert torch.equal(second.values, target.values[[0, 3, 2]])


def test_pairing_does_not_depend_on_the_order_of_rows() -> None:
    source, target = rows(normal(20, 3)), rows(normal(20, 4, seed=1), first=5)
    first, second = paired(source, target)
    shuffle = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    again = paired(source.take(shuffle), target.take(shuffle.flip(0)))
    assert len(first) == 15
    assert torch.equal(first.values, again[0].values)
    assert torch.equal(second.values, again[1].values)


def test_a_key_that_occurs_twice_is_refused() -> None:
    twice, once = keyed([[0, 0], [0, 0], [1, 0]]), keyed([[0, 0], [1, 0], [2, 0]])
    with pytest.raises(ActivationError, match="the target set has 1 repeated keys"):
        paired(once, twice)
    with pytest.raises(ActivationError, match="the source set has 1 repeated keys"):
        paired(twice, once)


def test_sets_that_do_not_meet_are_refused() -> None:
    with pytest.raises(ActivationError, match="collect both from the same data"):
        paired(keyed([[0, 0]]), keyed([[0, 1]]))
    with pytest.raises(ActivationError, match="no sample occurs in both"):
        paired(keyed([[0, 0]]), keyed([]))
