"""The `evaluate` modules: found by discovery, offline, with doctests that run."""

from __future__ import annotations

import doctest
import importlib
import json
import re
from pathlib import Path

import evaluate
import pytest

from hf_stitch.errors import DataError, StitchError
from hf_stitch.evaluation.metrics.catalogue import metric_path, names
from hf_stitch.evaluation.statistics import classes
from hf_stitch.geometry.similarity import catalogue as similarity

FOUND = names()


def test_every_similarity_measure_is_a_metric_beside_two_others() -> None:
    assert sorted(FOUND) == sorted([*similarity.names(), "activation_fit", "stitch_agreement"])
    with pytest.raises(DataError, match="stitch_agreement"):
        metric_path("stitch_agremeent")


@pytest.mark.parametrize("name", FOUND)
def test_metrics_import_from_below_alone(name: str) -> None:
    """Their folders are no packages, since `evaluate` copies the file; so the contract of rooms does not see them."""
    text = (Path(metric_path(name)) / f"{name}.py").read_text(encoding="utf-8")
    rooms = re.findall(r"^\s*(?:from|import) hf_stitch\.(\w+\.?\w*)", text.partition("Args:")[0], re.MULTILINE)
    assert rooms
    assert all(room == "evaluation.statistics" or room.startswith("geometry.") for room in rooms), rooms


@pytest.mark.parametrize("name", FOUND)
def test_metric_loads_and_describes_itself(name: str) -> None:
    metric = evaluate.load(metric_path(name))
    assert isinstance(metric, evaluate.Metric)
    assert metric.name == name
    assert "@" in metric.citation
    assert len(metric.description) > 80
    assert {"predictions", "references"} <= set(metric.inputs_description.replace("(", " ").split())


@pytest.mark.parametrize("name", FOUND)
def test_examples_in_the_docstring_run(name: str) -> None:
    module = importlib.import_module(f"hf_stitch.evaluation.metrics.{name}.{name}")
    result = doctest.testmod(module, raise_on_error=False)
    assert result.failed == 0
    assert result.attempted >= 7
    text = module._KWARGS_DESCRIPTION
    assert text.count("metric.compute(") >= 2


def test_agreement_equals_the_statistics_and_saves(tmp_path: Path) -> None:
    predictions, references = [0, 1, 1, 0, 1, 1], [0, 1, 0, 0, 1, 1]
    found = evaluate.load(metric_path("stitch_agreement")).compute(predictions=predictions, references=references)
    kappa = classes.kappa(predictions, references)
    assert (found["kappa"], found["kappa_low"], found["kappa_high"]) == (kappa.value, kappa.low, kappa.high)
    assert set(found) == {
        "agreement", "low", "high", "majority", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high",
        "kappa", "kappa_low", "kappa_high", "n",
    }  # fmt: skip
    assert {type(value) for key, value in found.items() if key != "n"} == {float}
    saved = evaluate.save(tmp_path, **found)
    assert json.loads(saved.read_text())["n"] == 6


def test_seed_reaches_the_bootstrap() -> None:
    metric = evaluate.load(metric_path("stitch_agreement"))
    data = {"predictions": [0, 1, 1, 0] * 9, "references": [0, 1, 0, 1, 1, 0] * 6}
    assert metric.compute(**data, seed=0) == metric.compute(**data)
    assert metric.compute(**data, seed=1) != metric.compute(**data, seed=0)


def test_batches_and_combination() -> None:
    """Metrics of the same inputs combine; batches add up to the whole."""
    path = metric_path("stitch_agreement")
    both = evaluate.combine({"all": evaluate.load(path), "again": evaluate.load(path)})
    both.add_batch(predictions=[0, 1], references=[0, 1])
    both.add_batch(predictions=[1], references=[0])
    found = both.compute()
    whole = evaluate.load(path).compute(predictions=[0, 1, 1], references=[0, 1, 0])
    assert {key.removeprefix("all_"): value for key, value in found.items() if key.startswith("all_")} == whole
    assert len(found) == 2 * len(whole)


def test_rows_may_be_arrays() -> None:
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    found = evaluate.load(metric_path("activation_fit")).compute(predictions=rows + 1, references=rows)
    assert found["n"] == 5
    assert found["relative_error"] == pytest.approx((15 / (rows**2).sum()) ** 0.5, rel=1e-5)


def test_empty_input_is_an_error() -> None:
    for name in FOUND:
        # evaluate itself stops at an empty batch of two formats
        with pytest.raises((StitchError, ValueError, IndexError)):
            evaluate.load(metric_path(name)).compute(predictions=[], references=[])
