"""Laws of every similarity measure, found by discovery, and values in closed form."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from statistics import mean

import pytest
import torch
from clouds import normal
from torch import Tensor

from hf_stitch.errors import ActivationError, FitError
from hf_stitch.geometry.similarity.base import Group, Similarity
from hf_stitch.geometry.similarity.catalogue import measure, names
from hf_stitch.geometry.similarity.cka import LinearCKA

FOUND = names()
N, WIDTH = 120, 6
SIZES = torch.tensor([0.1, 0.3, 1, 1, 3, 10], dtype=torch.float64)
ROTATION = torch.linalg.qr(normal(WIDTH, WIDTH, seed=8))[0]
MAPS: dict[Group, Callable[[Tensor], Tensor]] = {
    Group.TRANSLATION: lambda x: x + 5 * torch.arange(1, WIDTH + 1),
    Group.SCALING: lambda x: 7 * x,
    Group.PERMUTATION: lambda x: x[:, [3, 0, 5, 1, 2, 4]],
    Group.CHANNEL_SCALES: lambda x: x * SIZES,
    Group.ORTHOGONAL: lambda x: x @ ROTATION,
    Group.LINEAR: lambda x: x @ (ROTATION * SIZES) @ ROTATION.T,
}


@pytest.fixture(params=FOUND)
def similarity(request: pytest.FixtureRequest) -> type[Similarity]:
    return measure(request.param)


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    """Clouds that have something in common and are not centred, of other widths."""
    x = normal(N, WIDTH) + 1
    return x, torch.tanh(x @ normal(WIDTH, 4, seed=1)) + 0.3 * normal(N, 4, seed=2)


def test_one_measure_is_found() -> None:
    assert len(FOUND) == 1


def test_an_unknown_measure_is_told() -> None:
    with pytest.raises(FitError, match="received 'ckaa'"):
        measure("ckaa")


def test_every_group_has_a_map() -> None:
    assert set(MAPS) == set(Group)


def test_a_cloud_is_like_itself(similarity: type[Similarity], pair: tuple[Tensor, Tensor]) -> None:
    for cloud in pair:
        assert similarity.of(cloud, cloud).value() == pytest.approx(1, abs=1e-6)


def test_symmetry(similarity: type[Similarity], pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    assert similarity.of(x, y).value() == pytest.approx(similarity.of(y, x).value(), abs=1e-12)
    assert 0.1 < similarity.of(x, y).value() < 0.99


@pytest.mark.parametrize("group", Group)
def test_invariant_under_its_group_and_no_other(
    similarity: type[Similarity], group: Group, pair: tuple[Tensor, Tensor]
) -> None:
    x, y = pair
    moved, own = MAPS[group](x), similarity.of(x, y).value()
    if group in similarity.invariant:
        assert similarity.of(moved, y).value() == pytest.approx(own, abs=1e-6)
        assert similarity.of(y, moved).value() == pytest.approx(own, abs=1e-6)
        assert similarity.of(x, moved).value() == pytest.approx(1, abs=1e-6)
    else:
        assert similarity.of(x, moved).value() < 0.95


def test_groups_are_declared_with_those_inside_them(similarity: type[Similarity]) -> None:
    inside = {
        Group.ORTHOGONAL: {Group.PERMUTATION},
        Group.CHANNEL_SCALES: {Group.SCALING},
        Group.LINEAR: set(Group) - {Group.TRANSLATION, Group.LINEAR},
    }
    for group in similarity.invariant:
        assert inside.get(group, set()) <= similarity.invariant, group


@pytest.mark.parametrize("size", [1, 7, N])
def test_batches_do_not_matter(similarity: type[Similarity], size: int, pair: tuple[Tensor, Tensor]) -> None:
    streamed = similarity()
    for x, y in zip(*(cloud.split(size) for cloud in pair)):
        streamed.add(x, y)
    assert streamed.value() == pytest.approx(similarity.of(*pair).value(), abs=1e-12)


def test_float32_far_from_the_origin(similarity: type[Similarity], pair: tuple[Tensor, Tensor]) -> None:
    x, y = ((cloud + (1000 if Group.TRANSLATION in similarity.invariant else 0)).float() for cloud in pair)
    assert similarity.of(x, y).value() == pytest.approx(similarity.of(*pair).value(), abs=1e-3)


def test_rows_that_do_not_belong_together(similarity: type[Similarity], pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    with pytest.raises(ActivationError, match=r"received shapes \(120, 6\) and \(119, 4\)"):
        similarity.of(x, y[1:])
    with pytest.raises(ActivationError, match="received shapes"):
        similarity.of(x[0], y[0])
    started = similarity.of(x, y)
    with pytest.raises(ActivationError, match=r"expected widths \(6, 4\) as before, received \(5, 4\)"):
        started.add(x[:, 1:], y)
    with pytest.raises(ActivationError, match="NaN"):
        started.add(x, y * torch.inf)
    assert started.value() == similarity.of(x, y).value(), "what is refused leaves no trace"


def test_no_rows_have_no_value(similarity: type[Similarity]) -> None:
    empty = similarity()
    assert empty.value() != empty.value()
    assert "rows" in (empty.trouble() or "")


def unbiased_hsic(x: Tensor, y: Tensor) -> float:
    """By its definition: means of products of kernels over all pairs, triples and quadruples of different rows."""
    a, b, rows = (x @ x.T).tolist(), (y @ y.T).tolist(), range(len(x))
    pairs = [a[i][j] * b[i][j] for i, j in permutations(rows, 2)]
    triples = [a[i][j] * b[i][q] for i, j, q in permutations(rows, 3)]
    quadruples = [a[i][j] * b[q][r] for i, j, q, r in permutations(rows, 4)]
    return mean(pairs) - 2 * mean(triples) + mean(quadruples)


@pytest.mark.parametrize("n", [5, 8])
def test_cka_by_the_definition_of_unbiased_hsic(n: int) -> None:
    x, y = normal(n, 2) + 1, normal(n, 3, seed=1) - 2
    y[:, 0] += x[:, 0]
    own = unbiased_hsic(x, x) * unbiased_hsic(y, y)
    assert LinearCKA.of(x, y).value() == pytest.approx(unbiased_hsic(x, y) / own**0.5, abs=1e-12)


def test_cka_of_independent_clouds_is_zero_on_average_at_any_width() -> None:
    clouds = ((normal(20, 200, seed=i), normal(20, 100, seed=-i)) for i in range(1, 41))
    found = torch.tensor([LinearCKA.of(x, y).value() for x, y in clouds])
    assert found.mean().abs() < 3 * found.std() / 40**0.5
    assert found.min() < 0 < found.max(), "not clamped"


def test_cka_tells_why_it_has_no_value() -> None:
    x = normal(9, 3)
    few, constant = LinearCKA.of(x[:3], x[:3]), LinearCKA.of(x, torch.full((9, 2), 5.1))
    assert few.value() != few.value()
    assert constant.value() != constant.value()
    assert few.trouble() == "unbiased CKA takes at least 4 rows, received 3: give more rows"
    assert "second cloud with itself is not above 0 on 9 rows" in (constant.trouble() or "")
    simplex = torch.eye(5)  # all rows are equally far apart: nothing is left of its kernel
    assert unbiased_hsic(simplex, simplex) == 0
    assert "first cloud with itself" in (LinearCKA.of(simplex, x[:5]).trouble() or "")
