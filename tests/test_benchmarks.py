"""The benchmarks run, at sizes at which they tell nothing; no time is looked at. The README's tables are those kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import dense, peers, scaling
from benchmarks.clock import machine
from benchmarks.square import inputs, observed
from benchmarks.tables import RESULTS, TABLE, TABLES, with_tables
from scipy.sparse import csr_matrix

from hf_stitch.manifold.graphs import recall

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_tables_are_those_of_the_results() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert with_tables(README, results) == README
    assert {found["name"] for found in TABLE.finditer(README)} == set(TABLES)
    assert set(results) == {"products", "datafold", "memory", "embedding", "splines", "scaling"}
    assert max(row["n"] for row in results["scaling"]["rows"]) >= 100_000


def test_jacobians_are_those_of_the_network() -> None:
    x = inputs(3)
    values, metric = observed("field-a", x)
    step = 1e-6 * torch.eye(2, dtype=torch.float64)
    slopes = torch.stack([(observed("field-a", x + one)[0] - values) / 1e-6 for one in step], 2)
    lengths = metric.distances(torch.arange(3), slopes.mT)  # of steps in the inputs, measured in the activations
    assert torch.allclose(lengths, torch.ones(3, 2, dtype=torch.float64), rtol=1e-4)


def test_recall() -> None:
    graph = csr_matrix((np.ones(4), ([0, 0, 1, 2], [2, 1, 0, 0])), shape=(3, 3))
    assert recall(np.array([[1, 2], [0, 2], [1, 0]]), graph) == pytest.approx(4 / 6)


def test_dense_kernel_beside_products() -> None:
    row = dense.beside_products(70, 1)
    assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"])
    points, metric = dense.cloud(20, 3, torch.float32)
    dense.bare_products(points, metric.factors, 3, 7)


def test_memory_is_that_of_a_process_of_its_own() -> None:
    row = dense.memory(600)
    assert row["details"]["result"] == 4 * 600**2
    assert row["memory"] >= 0


def test_whole_maps() -> None:
    row = scaling.whole_maps(400)
    assert min(row["recall"]) > 0.98
    assert len(row["seconds"]) == 2


def test_splines_agree() -> None:
    for row in peers.beside_rbf_interpolator(120, 1):
        assert row["details"]["largest_difference"] < 1e-8


def test_other_libraries_where_there_are() -> None:
    pytest.importorskip("sklearn")
    assert len(peers.beside_spectral_embedding(300, 1)) == 2


def test_datafold_where_there_is() -> None:
    pytest.importorskip("datafold")
    single, double = dense.beside_datafold(30, 1)
    assert single["details"]["largest_difference"] < 1e-5
    assert double["details"]["largest_difference"] < 1e-12


def test_machine_says_what_computed() -> None:
    found = machine()
    assert found["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert found["cores"] >= 1
