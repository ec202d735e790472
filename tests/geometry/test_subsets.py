"""Evenly spaced rows: both ends, equal gaps, each row once."""

import pytest
import torch

from hf_stitch.errors import FitError
from hf_stitch.geometry.subsets import evenly_spaced


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "count"), [(2, 2), (7, 3), (501, 500), (4133, 4000), (100_000, 800)])
def test_both_ends_and_equal_gaps(rows: int, count: int, dtype: torch.dtype) -> None:
    chosen = evenly_spaced(rows, count, dtype)
    assert (len(chosen), int(chosen[0]), int(chosen[-1])) == (count, 0, rows - 1)
    gaps, wanted = chosen.diff(), (rows - 1) / (count - 1)
    assert bool((gaps >= 1).all())
    assert bool(((gaps - wanted).abs() < 1 + 0.05).all())


def test_all_rows_of_few() -> None:
    assert evenly_spaced(5, None).tolist() == evenly_spaced(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced(5, 1).tolist() == [0]


@pytest.mark.parametrize("count", [0, 6])
def test_other_counts_are_refused(count: int) -> None:
    with pytest.raises(FitError, match="expected 1 to 5"):
        evenly_spaced(5, count)
