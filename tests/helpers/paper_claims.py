"""What the paper's experiments claim of a report: of a small run here, and of the card that is committed."""

from __future__ import annotations

import math
from statistics import median

import pytest
import torch

from hf_stitch.report.report import Report

PAIRS = 10
# The experiments that ask how many pairs they need.
PAPER = ["output_fold", "parabola", "warped_inputs", "vector_fields", "two_cameras", "partial_observations"]


def correlations(report: Report, metric: str) -> list[float]:
    return [report.value("coordinate_correlation", f"{metric}/{k}") or 0.0 for k in range(PAIRS)]


def mahalanobis_maps_agree_up_to_a_sign_and_euclidean_maps_do_not(report: Report) -> None:
    near, far = correlations(report, "mahalanobis"), correlations(report, "euclidean")
    assert min(near) >= 0.999
    assert median(1 - r for r in far) >= 20 * median(1 - r for r in near)
    far_to_near = report.measure("misalignment_ratio", "euclidean over mahalanobis")
    assert far_to_near.value == pytest.approx(median(1 - r for r in far) / median(1 - r for r in near), rel=1e-6)
    assert (far_to_near.range_low or 0) >= 20, "the worst of one group over the best of the other"
    assert report.value("coordinate_correlation", "mahalanobis/minimum") == min(near)
    assert report.diagnostics.fits["mahalanobis/0"]["alignment"]["coordinates"] == 1, "the orthogonal map is a sign"
    assert report.diagnostics.fits["euclidean/0"]["source"]["metric"] == "euclidean"


def maps_of_two_vector_fields_are_those_of_one_square(report: Report, tolerance: float) -> None:
    found = report.diagnostics.fits["diffusion"]
    source, target = (torch.tensor(found[side]["laplace"]) for side in ("source", "target"))
    torch.testing.assert_close(source, target, rtol=tolerance, atol=0)
    torch.testing.assert_close(source / source[0], torch.tensor([1.0, 1, 2, 4, 4]), rtol=0.12, atol=0)
    assert found["alignment"]["residual"] <= 5 * tolerance, "from ten pairs"
    assert report.value("coordinate_correlation") >= 0.999
    assert report.value("map_mse", split="test/interior") <= 0.2 * tolerance
    assert report.recipe["stitch"]["pairs"] == 10
    assert report.value("map_residual", split="test/interior") <= 5 * tolerance, "held out, max|x| <= 1.2"


def five_neurons_hold_the_input_and_the_output(report: Report) -> None:
    for labels in (["rbf", *(f"input from {n}" for n in (4, 3, 2, 1))], [f"output from {n}" for n in (5, 4, 3, 2, 1)]):
        errors = [report.value("output_mse", label, "test/interior") or 0.0 for label in labels]
        assert errors == sorted(errors)
        assert errors[0] <= 1e-5
        assert errors[-2] >= 1e-2
    assert report.value("output_mse", "input from 3 luckier", "test/interior") <= 1e-5


def the_other_view_is_decoded_from_two_pairs(report: Report, direction: str, shuffles: int) -> None:
    def error(method: str) -> float:
        return report.value("answer_mse", method, direction=direction) or math.nan

    assert report.diagnostics.fits["diffusion"]["alignment"]["pairs"] == 2
    assert (report.value("answer_r2", "target", direction=direction) or 0) >= 0.9
    assert error("diffusion") <= 1.5 * error("target")
    assert error("diffusion") <= 0.8 * error("nearest"), "copies the nearest of all views, every partner known"
    assert error("diffusion") <= 0.1 * error("nearest-pair")
    shuffled = {m.method for m in report.measures if m.method.startswith("shuffled/") and m.method[9:].isdigit()}
    assert len(shuffled) == shuffles
    assert all(error("diffusion") <= 0.1 * error(method) for method in shuffled)
