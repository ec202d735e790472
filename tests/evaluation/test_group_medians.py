"""What the members of a group reach together."""

from __future__ import annotations

from statistics import median

import pytest

from hf_stitch.evaluation.group_medians import group_measures
from hf_stitch.report.measure import Measure

NEAR, FAR = [1e-6, 3e-6, 2e-6], [1e-3, 4e-3]


def _misaligned(group: str, values: list[float]) -> list[Measure]:
    found = []
    for k, value in enumerate(values):
        more = {"low": 0.5 * value, "high": 2 * value, "n": 100}
        found.append(Measure("coordinate_misalignment", f"{group}/{k}", value=value, better="lower", **more))  # type: ignore[arg-type]
        found.append(Measure("coordinate_correlation", f"{group}/{k}", value=1 - value, n=100))
    return found


def test_a_median_has_a_range_and_no_interval() -> None:
    alone = [Measure("r2", "affine", value=1.0), Measure("r2", "one/0", value=1.0), Measure("r2", "two/0")]
    found = {(m.name, m.method): m for m in group_measures([*_misaligned("near", NEAR), *alone])}
    assert found.keys() == {
        ("coordinate_misalignment", "near/median"),
        ("coordinate_correlation", "near/median"),
        ("coordinate_correlation", "near/minimum"),
    }
    whole = found["coordinate_misalignment", "near/median"]
    assert (whole.value, whole.range, whole.n) == (median(NEAR), (min(NEAR), max(NEAR)), len(NEAR))
    assert (whole.interval, whole.better, whole.split) == (None, "lower", "test")
    least = found["coordinate_correlation", "near/minimum"]
    assert (least.value, least.interval, least.range) == (1 - max(NEAR), None, None)


def test_a_ratio_of_groups_has_the_range_of_both_ranges() -> None:
    [ratio] = [m for m in group_measures(_misaligned("near", NEAR) + _misaligned("far", FAR)) if " over " in m.method]
    assert (ratio.name, ratio.method, ratio.better) == ("misalignment_ratio", "far over near", None)
    assert ratio.value == pytest.approx(median(FAR) / median(NEAR))
    assert ratio.range == pytest.approx((min(FAR) / max(NEAR), max(FAR) / min(NEAR)))
    assert ratio.interval is None
