"""The samples on which a stitched model fails: found, told with both answers, few."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pico_recipes import listening, reading
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_stitch.evaluation.failures import SHOWN
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.data_held import data_held, failing_samples
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report


def run(content: dict[str, Any], out: Path | None = None) -> tuple[StitchedModel, Report]:
    return fit(Recipe.parse(content), out, device="cpu")


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory, pico_xlnet: Path, spoken: Path) -> Path:
    """The pico XLNet with a head that calls half of the sentences positive."""
    folder = tmp_path_factory.mktemp("pico-xlnet-divided")
    shutil.copytree(pico_xlnet, folder, dirs_exist_ok=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [json.loads(line)["text"] for line in (spoken / "test.jsonl").read_text().splitlines()]
    with torch.no_grad():
        inputs = [AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt") for text in texts]
        logits = torch.cat([model(**one).logits for one in inputs])
        model.logits_proj.bias -= logits.median(0).values
        for parameter in model.logits_proj.parameters():
            parameter *= 30
    model.save_pretrained(folder)
    return folder


def told(report: Report) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is told of failing samples, checked for what holds of all kinds of answers."""
    assert report.diagnostics.failures is not None
    found = report.diagnostics.failures
    samples = failing_samples(found)
    test = next(m.n for m in report.measures if m.split == "test" and m.method == report.method)
    assert found["of"] == test
    wrong = report.diagnostics.wrong
    assert found["failing"] == (None if wrong is None else len(wrong))
    assert len(samples) == min(SHOWN, test if wrong is None else len(wrong))
    if wrong is not None:
        assert {one["sample"] for one in samples} <= set(wrong)
    assert str(len(samples)) in data_held(report)[0]
    page = page_for(report)
    assert all(f"<h3>{one['sample']}" in page for one in samples)
    assert Report.from_dict(report.to_dict()) == report
    return found, samples


def test_of_texts_that_are_classified(pico_roberta: Path, divided: Path, written: Path, tmp_path: Path) -> None:
    content = reading(pico_roberta, divided, written, stitch={"shuffle": 1}, data={"fit": {"samples": 24}})
    _, report = run(content, tmp_path / "out")
    found, samples = told(report)
    assert samples
    texts = [one["inputs"]["source"]["text"] for one in samples]
    assert all(set(one["inputs"]) == {"source"} for one in samples), "both models read the same"
    again = Predictor(tmp_path / "out", "cpu")(texts)
    scores = []
    for one, answer in zip(samples, again, strict=True):
        own, stitched = one["answers"]["target"], one["answers"]["stitched"]
        assert own["label"] != stitched["label"] == answer["label"]
        assert stitched["score"] == pytest.approx(answer["score"], abs=1e-5)
        assert 0 < own["score"] <= 1
        assert one["expected"]["label"] in (own["label"], stitched["label"])
        assert "error" not in one
        scores.append(stitched["score"])
    assert scores == sorted(scores, reverse=True), "the surest mistakes first"
    confusion = report.diagnostics.confusion
    assert confusion is not None
    assert sum(n for row in confusion.values() for n in row.values()) == found["of"]
    assert sum(n for own, row in confusion.items() for given, n in row.items() if given != own) == found["failing"]
    by_class = report.diagnostics.error_by_class
    assert by_class is not None
    assert {own: sum(row.values()) for own, row in confusion.items()} == {
        name: one["n"] for name, one in by_class.items()
    }


def test_of_sounds_with_the_text_that_the_target_reads(pico_listener: Path, divided: Path, spoken: Path) -> None:
    _, report = run(listening(pico_listener, divided, spoken, stitch={"shuffle": 1}))
    _, samples = told(report)
    assert samples
    for one in samples:
        assert one["inputs"]["source"]["type"] == "audio/flac"
        assert one["inputs"]["target"]["text"]
    assert page_for(report).count('src="data:audio/flac;base64,') == len(samples)


def test_of_numbers_the_farthest(tmp_path: Path) -> None:
    from local_metrics import vectors

    content = vectors(tmp_path)
    content["data"]["test"] = content["data"]["fit"]
    _, report = run(content)
    _, samples = told(report)
    errors = [one["error"] for one in samples]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] >= (report.value("output_mse") or 0)
    for one in samples:
        own, stitched = (one["answers"][name]["numbers"] for name in ("target", "stitched"))
        assert sum((a - b) ** 2 for a, b in zip(own, stitched)) / len(own) == pytest.approx(one["error"], rel=1e-4)
        assert one["inputs"]["source"]["numbers"]


def test_a_stitch_that_never_fails_has_none(pico_roberta: Path, written: Path) -> None:
    _, report = run(reading(pico_roberta, pico_roberta, written))
    assert report.value("agreement") == 1
    found, samples = told_nothing(report)
    assert (found["failing"], samples) == (0, [])


def told_nothing(report: Report) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    found = report.diagnostics.failures or {}
    assert data_held(report) == []
    assert f"On all {found['of']} test samples the stitched model gives the target" in page_for(report)
    return found, failing_samples(found)
