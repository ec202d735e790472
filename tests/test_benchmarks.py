"""The benchmarks run, at sizes at which they tell nothing; no time is looked at. Tables are those kept."""

from __future__ import annotations

import json
import socket
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import NAMES, datafold_kernel, embedding, latency, products, scaling, splines, streaming
from benchmarks.__main__ import keep, main
from benchmarks.clock import in_own_process
from benchmarks.square import inputs, observed
from benchmarks.tables import RESULTS, TABLE, TABLES, with_tables
from huggingface_hub import constants
from scipy.sparse import csr_matrix

from hf_stitch.experiments.rehearsal.known_configurations import KNOWN
from hf_stitch.geometry.neighbours.graphs import recall

PAGE = (Path(__file__).parent.parent / "model_cards" / "README.md").read_text(encoding="utf-8")
MARKED = "<!-- benchmarks: comparisons -->\n<!-- end -->\n"


def test_tables_are_those_of_the_results() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert with_tables(PAGE, results) == PAGE
    assert [found["name"] for found in TABLE.finditer(PAGE)] == list(TABLES)
    assert tuple(results) == NAMES
    assert {20_000, 100_000} <= {row["n"] for row in results["scaling"]}


def test_runs_by_name_and_keeps_what_it_finds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    readme.write_text(MARKED, encoding="utf-8")
    where = ["--results", str(results), "--readme", str(readme)]
    keep(results, "splines", {"what": "an older job", "size": "n 1", "ours": 1.0, "threads": 1} | _taken())
    assert main(["splines", "memory", "--size", "60", *where]) == 0
    found = json.loads(results.read_text(encoding="utf-8"))
    assert list(found) == ["memory", "splines"]
    assert found["splines"][0]["what"] == "an older job"
    row = found["splines"][1]
    assert row["ratio"] == row["theirs"] / row["ours"]
    assert row["machine"]["versions"]["torch"] == torch.__version__
    assert row["threads"] >= 1
    assert "thin-plate spline: fit | n 60" in capfd.readouterr().out
    assert "| thin-plate spline: fit | n 60" in readme.read_text(encoding="utf-8")


def test_what_fails_is_told_and_the_rest_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    readme.write_text(MARKED, encoding="utf-8")
    keep(results, "splines", {"what": "an older job", "size": "n 1", "ours": 1.0, "threads": 1} | _taken())
    where = ["--results", str(results), "--readme", str(readme)]
    assert main(["splines", "--size", "2", *where]) == 1
    assert main(["memory", "--limit", "0.01", *where]) == 1
    said = capfd.readouterr()
    assert "failed: splines" in said.out
    assert "timed out" in said.out
    assert "needs at least" in said.err
    assert "an older job" in readme.read_text(encoding="utf-8")


def _taken() -> dict[str, object]:
    machine = {"cores": 2, "processor": "one"}
    return {"taken": "2000-01-01 00:00", "load": {"before": 0.0, "after": 0.0}, "machine": machine}


def test_a_row_takes_the_place_of_its_elder(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for what, ours in (("a", 1), ("b", 2), ("a", 3)):
        keep(path, "splines", {"what": what, "size": "n 1", "ours": ours})
    assert [(row["what"], row["ours"]) for row in json.loads(path.read_text())["splines"]] == [("a", 3), ("b", 2)]


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


def test_products_at_one_thread_and_more() -> None:
    usual = torch.get_num_threads()
    found = list(products.rows(70, 1))
    assert found[0]["threads"] == 1
    assert len({row["threads"] for row in found}) == len(found)
    assert torch.get_num_threads() == usual


def test_memory_of_larger_blocks_is_larger() -> None:
    small, large = (in_own_process("memory", 2500, block) for block in (1 << 16, 1 << 25))
    assert small["result"] == large["result"] == 4 * 2500**2
    assert large["beyond"] > small["beyond"] + (1 << 24)


@pytest.mark.parametrize(("what", "size"), [("affine", 4096), ("orthogonal", 4097), ("fit", 30)])
def test_fits_whose_activations_stay_on_disk(what: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "TEST", 12)
    row = streaming.one(what, size)
    assert row["memory"] >= row["before"] > 0
    assert row["rows"] >= size


def test_whole_maps() -> None:
    (row,) = scaling.rows(400)
    assert min(row["recall"]) > 0.98
    assert row["all_seconds"] == [sum(row["seconds"])]


def test_splines_agree() -> None:
    for row in splines.rows(120, 1):
        assert row["largest_difference"] < 1e-8


@pytest.mark.skipif(not find_spec("sklearn"), reason="needs the extra bench")
def test_scikit_learn() -> None:
    assert len(list(embedding.rows(300, 1))) == 2


@pytest.mark.datafold
def test_datafold() -> None:
    single, double = datafold_kernel.rows(30, 1)
    assert single["largest_difference"] < 1e-5
    assert double["largest_difference"] < 1e-12


def test_a_stitched_model_gives_what_its_bare_halves_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that thinks that it is online, and asks nobody."""
    asked: list[object] = []

    def refuse(*words: object, **_: object) -> None:
        asked.append(words)
        raise OSError("no network")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    tiny = {"hidden_size": 32, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 48}
    for name in ("facebook/wav2vec2-base-960h", "roberta-base"):
        monkeypatch.setitem(KNOWN, name, KNOWN[name] | tiny)
    halves, cascade = latency.rows(1, 1)  # it compares their numbers itself
    assert asked == []
    assert halves["ours"] == cascade["ours"] > 0
    assert halves["medians"].keys() == {"stitched", "prefix", "suffix", "source", "target"}
