"""`evaluate`: the saved model, run on raw inputs, holds what the report of its fit says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pico_recipes import listening, reading

from hf_stitch.activations import collection
from hf_stitch.errors import ArtifactError, DataError, RecipeError
from hf_stitch.evaluation.activation_measures import map_measures, word_error_measures
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answer_kinds.classes import accuracy_measures, majority_measures
from hf_stitch.evaluation.error_profile import never_right
from hf_stitch.experiments import evaluate as evaluation
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure
from hf_stitch.report.report import Report

ACTIVATIONS = (
    "r2",
    "cosine",
    "relative_error",
    "map_mse",
    "map_residual",
)  # of `fit` only: they need the target's own input


def run(content: dict[str, Any], out: Path) -> Report:
    return fit(Recipe.parse(content), out, device="cpu")[1]


def answers(report: Report) -> list[Measure]:
    return [m for m in report.measures if m.split.startswith("test") and m.name not in ACTIVATIONS]


@pytest.fixture
def text(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict:
    return reading(pico_roberta, pico_xlnet, written, data={"fit": {"samples": 24}}, stitch={"landing": "nearest"})


@pytest.fixture
def speech(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> dict:
    return listening(pico_listener, pico_xlnet, spoken)


@pytest.fixture
def vectors(tmp_path: Path) -> dict:
    from local_metrics import vectors

    content = vectors(tmp_path)
    content["data"]["test"] = content["data"]["fit"]
    return content


def test_a_class_that_is_never_right_is_named(text: dict, tmp_path: Path) -> None:
    run(text, tmp_path)
    model = StitchedModel.from_pretrained(tmp_path)
    assert "never right" not in evaluate(model, device="cpu").verdict.text
    last = [module for module in model.suffix.modules() if isinstance(module, torch.nn.Linear)][-1]
    for parameter in last.parameters():
        parameter.data.neg_()  # of two classes it answers the other one now, wherever the target answers
    report = evaluate(model, device="cpu")
    assert report.value("agreement") == 0
    assert "never right where the target answers positive (" in report.verdict.text
    assert never_right({"a": {"value": 1.0, "n": 3}, "b": {"value": 0.9, "n": 10}}) == {"a": 3}
    assert never_right(None) == {}, "of a target that answers otherwise"


CASES: list[tuple[str, dict]] = [
    ("text", {}),
    ("text", {"sequence": {"length": "trim"}}),
    ("speech", {}),
    ("speech", {"stitch": {"method": "rbf", "smoothing": 1.0, "landing": "nearest"}}),
    ("speech", {"sequence": {"length": "resample", "slice": 2}}),
    ("speech", {"sequence": {"length": "trim", "target_length": "oracle"}}),
    ("speech", {"source": {"features": {"every": 2}}}),
]


@pytest.mark.parametrize(("kind", "change"), CASES, ids=[f"{kind}-{i}" for i, (kind, _) in enumerate(CASES)])
def test_evaluating_a_folder_repeats_its_report(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, change: dict
) -> None:
    content = request.getfixturevalue(kind)
    content = {**content, **{key: {**content.get(key, {}), **value} for key, value in change.items()}}
    if "length" in change.get("sequence", {}):
        content["sequence"] = change["sequence"]
    fitted = run(content, tmp_path / "out")
    found = evaluate(tmp_path / "out", device="cpu")
    assert found.measures
    assert answers(found) == answers(fitted)
    assert found.parameters == fitted.parameters
    assert found.method == fitted.method
    assert found.chosen is None
    assert found.recipe["name"] == fitted.recipe.get("name", "")


def test_evaluating_a_regression(vectors: dict, tmp_path: Path) -> None:
    fitted = run(vectors, tmp_path / "out")
    found = evaluate(tmp_path / "out", device="cpu")
    ours, theirs = [{(m.name, m.method): m.value for m in answers(r)} for r in (found, fitted)]
    assert ours["output_mse", "affine"] == pytest.approx(theirs["output_mse", "affine"], rel=1e-9)
    told = {"output_mse", "abstained", "output_mse_kept"}
    assert set(ours) == set(theirs)
    assert {("output_mse", "affine"), ("output_mse", "majority")} <= set(ours)
    assert {name for name, _ in ours} <= told | {"output_mse_abstained"}


def test_a_model_in_memory(text: dict, tmp_path: Path) -> None:
    run(text, tmp_path / "out")
    model = StitchedModel.from_pretrained(tmp_path / "out")
    assert evaluate(model, device="cpu").measures == evaluate(str(tmp_path / "out"), device="cpu").measures
    assert not model.training


def test_other_data(text: dict, written: Path, tmp_path: Path) -> None:
    text["data"]["test"] |= {"split": "train", "samples": 9}  # of no other data set
    run(text, tmp_path / "out")
    other = evaluate(tmp_path / "out", {"dataset": str(written / "validation.jsonl")}, device="cpu")
    assert other.measure("agreement").n == 12
    few = evaluate(tmp_path / "out", {"samples": 5, "columns": {"group": None}}, device="cpu")
    assert few.measure("agreement").n == 5
    assert {m.split for m in few.measures} == {"test"}
    with pytest.raises(DataError, match="wurds"):
        evaluate(tmp_path / "out", {"columns": {"source": "wurds"}}, device="cpu")
    with pytest.raises(RecipeError, match="sample"):
        evaluate(tmp_path / "out", {"sampels": 5}, device="cpu")


def test_without_labels_only_agreement_is_told(text: dict, tmp_path: Path) -> None:
    run(text, tmp_path / "out")
    found = evaluate(tmp_path / "out", {"columns": {"label": None}}, device="cpu")
    assert "accuracy" not in {m.name for m in found.measures}
    assert found.measure("agreement").n == 18


def test_a_recipe_without_test_data(text: dict, tmp_path: Path) -> None:
    text["data"] = {"fit": text["data"]["fit"]}
    run(text, tmp_path / "out")
    with pytest.raises(DataError, match=r"has no data.test part; give `evaluate` data"):
        evaluate(tmp_path / "out", device="cpu")
    found = evaluate(tmp_path / "out", {"samples": 7}, device="cpu")  # what is left out comes from data.fit
    assert found.measure("agreement").n == 7


def test_a_model_without_a_recipe(text: dict, tmp_path: Path) -> None:
    run(text, tmp_path / "out")
    model = StitchedModel.from_pretrained(tmp_path / "out")
    model.config.recipe = {}
    with pytest.raises(ArtifactError, match="carries no recipe; expected one that `fit` made"):
        evaluate(model, device="cpu")


def test_the_models_own_forward_answers(text: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(text, tmp_path / "out")
    model = StitchedModel.from_pretrained(tmp_path / "out")
    calls = []
    model.register_forward_pre_hook(lambda module, args, given: calls.append(set(given)), with_kwargs=True)
    seen: list[str] = []
    finished = collection.output_of
    monkeypatch.setattr(evaluation, "output_of", lambda output, role: seen.append(role) or finished(output, role))
    evaluate(model, device="cpu")
    assert calls
    assert all(given == {"input_ids", "attention_mask", "target_spans"} for given in calls)
    assert len(seen) == len(calls)


# measures alone


def scope(groups: list[str] | None = None) -> Scope:
    return Scope("test", "forward", 0, groups)


def test_groups_have_rows_of_their_own() -> None:
    given, labels = np.array([0, 1, 1, 1]), np.array([0, 1, 0, 0])
    found = {m.split: m for m in accuracy_measures("x", given, labels, scope(["b", "a", "b", "a"]))}
    assert {split: m.value for split, m in found.items()} == {"test": 0.5, "test/a": 0.5, "test/b": 0.5}
    assert [m.n for m in found.values()] == [4, 2, 2]


def test_the_commonest_answer() -> None:
    own, labels = np.array([1, 1, 1, 0]), np.array([0, 0, 1, 1])
    found = {m.name: m.value for m in majority_measures(own, labels, scope())}
    assert found == {"agreement": 0.75, "accuracy": 0.5}


def test_map_errors_follow_their_samples_groups() -> None:
    mapped, true = torch.zeros(4, 2), torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [2.0, 2.0]])
    found = map_measures("x", mapped, true, scope(["a", "b"]), np.array([0, 0, 1, 1]))
    squares = {m.split: m.value for m in found if m.name == "map_mse"}
    residuals = {m.split: m.value for m in found if m.name == "map_residual"}
    assert squares == {"test": 1.5, "test/a": 1.0, "test/b": 2.0}
    assert residuals == {"test": 1.0, "test/a": 1.0, "test/b": 1.0}  # nothing was mapped, so all is missing
    assert {m.better for m in found} == {"lower"}


def test_word_errors() -> None:
    [found] = word_error_measures(["so it", "a"], ["so it", "not a film"], scope())
    assert found.value == pytest.approx(2 / 5)
    assert found.n == 2
