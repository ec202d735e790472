"""Card checks: the committed cards of the paper's experiments show what the paper claims.

Each reads a committed report and computes nothing anew; the small runs of the same claims are in
tests/experiments/test_paper_recipes.py.
"""

from __future__ import annotations

from pathlib import Path

import paper_claims
import pytest
import torch
from paper_claims import PAPER

from hf_stitch.report.rendering.sections.pairs import few_pairs_labels, few_pairs_tables
from hf_stitch.report.report import Report

CARDS = Path(__file__).parents[2] / "model_cards"


def card(name: str) -> Report:
    return Report.load(CARDS / f"paper/{name}.json")


def test_the_card_of_warped_inputs_claims_that_only_mahalanobis_maps_agree() -> None:
    paper_claims.mahalanobis_maps_agree_up_to_a_sign_and_euclidean_maps_do_not(card("warped_inputs"))


def test_the_card_of_vector_fields_claims_the_maps_of_one_square() -> None:
    paper_claims.maps_of_two_vector_fields_are_those_of_one_square(card("vector_fields"), 0.01)


def test_the_card_of_100_000_points_claims_closer_maps_still() -> None:
    report = card("vector_fields_100000")
    found = report.diagnostics.fits["diffusion"]
    source, target = (torch.tensor(found[side]["laplace"]) for side in ("source", "target"))
    torch.testing.assert_close(source, target, rtol=0.01, atol=0)
    torch.testing.assert_close(source / source[0], torch.tensor([1.0, 1, 2, 4, 4]), rtol=0.04, atol=0)
    assert found["rows"] == 100_000
    assert report.recipe["stitch"]["pairs"] == 10
    assert report.value("map_residual", split="test/interior") <= 0.05
    assert {"diffusion_map.source", "diffusion_map.target"} <= report.timings.keys()


def test_the_card_of_vector_fields_claims_that_all_pairs_join_false_neighbours() -> None:
    fits = card("vector_fields").diagnostics.fits
    assert fits["all pairs"]["alignment"]["residual"] >= 5 * fits["diffusion"]["alignment"]["residual"]


@pytest.mark.parametrize("name", PAPER)
def test_every_card_of_the_paper_shows_few_pairs_for_powers_of_two(name: str) -> None:
    report = card(name)
    [table] = few_pairs_tables(report)
    rows = report.diagnostics.fits[str(report.method)]["rows"]
    assert list(table.head) == ["pairs", "diffusion", "affine", "orthogonal"]
    assert {2**k for k in range(1, rows.bit_length())} | {rows} <= {int(row[0]) for row in table.rows}
    assert all(all(row) for row in table.rows)
    for method in ("diffusion", "affine"):
        assert few_pairs_labels(report) >= {f"{method} from {n} pairs" for n in (4, 8, rows)}


def test_the_card_of_partial_observations_claims_that_five_neurons_are_enough() -> None:
    paper_claims.five_neurons_hold_the_input_and_the_output(card("partial_observations"))


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_card_of_two_cameras_claims_that_two_pairs_are_enough(direction: str) -> None:
    paper_claims.the_other_view_is_decoded_from_two_pairs(card("two_cameras"), direction, shuffles=5)
