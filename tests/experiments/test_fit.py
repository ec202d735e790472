"""`fit` from end to end between pico models: every method, what is reported, what is written, what is refused."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from pico_recipes import XLNET_EMBEDDING, listening, reading, saved
from safetensors import SafetensorError
from safetensors.torch import load_file

from hf_stitch.errors import ArtifactError, FitError, HookError, RecipeError
from hf_stitch.experiments import comparison, fit_variant
from hf_stitch.experiments.comparison import choose
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure
from hf_stitch.report.report import Report
from hf_stitch.runtime.cache import cache_folder

OWN = {"agreement", "balanced_accuracy", "kappa", "accuracy", "r2", "cosine", "relative_error"}
TRUST = {"abstained", "agreement_kept", "agreement_abstained", "output_mse_kept", "output_mse_abstained", "trust_auroc"}


def run(content: dict[str, Any], out: Path | None = None) -> tuple[StitchedModel, Report]:
    return fit(Recipe.parse(content), out, device="cpu")


def measured(report: Report, method: str, split: str = "test", direction: str = "forward") -> set[str]:
    """Names of measures, but those of trust, which the saved method alone has."""
    found = {m.name for m in report.measures if (m.method, m.split, m.direction) == (method, split, direction)}
    return found - TRUST


@pytest.fixture
def text(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict:
    return reading(pico_roberta, pico_xlnet, written, data={"fit": {"samples": 24}})


@pytest.fixture
def speech(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> dict:
    return listening(pico_listener, pico_xlnet, spoken)


MAPS = {"map_mse", "map_residual", "coordinate_correlation", "coordinate_misalignment"}


def test_every_method_and_landing(text: dict) -> None:
    diffusion = {"name": "maps", "stitch": {"method": "diffusion", "sides": "both", "coordinates": 8}}
    half = {"name": "half", "stitch": {"method": "diffusion", "sides": "source", "coordinates": 8}}
    others = ["affine+nearest", "orthogonal", "rbf", "rbf+nearest", diffusion, half]
    model, report = run({**text, "compare": others})
    assert not model.training
    labels = ["affine", "affine+nearest", "orthogonal", "rbf", "rbf+nearest", "maps", "half"]
    for label in labels:
        extra = MAPS if label == "maps" else set()
        assert measured(report, label) == OWN | extra, label
        assert measured(report, label, "test/a") >= {"agreement", "accuracy"}
        assert report.diagnostics.fits[label]["rows"] == report.diagnostics.fits["affine"]["rows"]
    assert measured(report, "target") == {"accuracy"}
    assert measured(report, "majority") == {"agreement", "accuracy"}
    assert report.notes == []
    assert {m.method for m in report.measures if m.name in TRUST} == {"affine"}
    assert report.value("abstained", "affine", "probe/random letters") is not None
    counts: Counter[str | None] = Counter()
    for one in report.diagnostics.error_by_distance:
        counts[one.get("kind")] += one["n"]
    assert counts == {None: 18, "random letters": 18}, "both read the same texts, of whatever kind"
    assert report.diagnostics.risk_coverage["coverage"][-1] == 1
    assert report.diagnostics.fits["maps"]["neighbourhoods"].keys() == {"source", "target"}
    assert report.diagnostics.fits["half"]["neighbourhoods"].keys() == {"source"}
    assert report.diagnostics.fits["affine"]["neighbourhoods"] == {}
    assert all(m.low is not None and m.high is not None for m in report.measures if m.name in OWN)
    parts = report.parameters
    assert parts["total"] == parts["prefix"] + parts["layer"] + parts["suffix"]
    assert parts["prefix"] < parts["source_whole"]
    assert report.memory_peak_bytes is not None
    assert report.memory_peak_bytes > 2**20
    assert report.timings["total"] is not None
    assert report.method == "affine"


def test_speech_onto_words(speech: dict, tmp_path: Path) -> None:
    speech["stitch"] = {"method": "rbf", "smoothing": 1.0, "landing": "nearest"}
    _, report = run({**speech, "compare": ["affine"]}, tmp_path / "out")
    assert measured(report, "rbf+nearest") == OWN | {"agreement_minus_cascade"}
    assert measured(report, "cascade") == {"agreement", "accuracy", "balanced_accuracy", "kappa"}
    assert measured(report, "source") == {"wer"}
    assert 0 < (report.value("wer", "source") or 0) < 0.6
    assert (report.value("agreement") or 0) > 0.7  # the words are there, only some are misheard
    assert report.diagnostics.fits["rbf+nearest"]["dropped_words"] >= 0
    assert {"model.safetensors", "config.json", "report.json", "report.html", "README.md", "recipe.yaml"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.endswith(".tmp")]


def test_maps_of_speech(speech: dict) -> None:
    speech["stitch"] = {"method": "diffusion", "coordinates": 6, "sides": "source", "neighbours": "all"}
    _, report = run(speech)
    assert measured(report, "diffusion") == OWN | {"agreement_minus_cascade"}


@pytest.mark.parametrize(
    "sequence",
    [
        {"length": "trim"},
        {"length": "trim", "target_length": "constant"},
        {"length": "trim", "target_length": "oracle"},
        {"length": "trim", "slice": 2},
        {"length": "resample"},
        {"length": "resample", "slice": 2},
        {"length": "pool"},
        {"length": "ctc", "parts": 3},
    ],
    ids=lambda sequence: "-".join(str(value) for value in sequence.values()),
)
def test_every_length_rule(speech: dict, sequence: dict, tmp_path: Path) -> None:
    content = {**speech, "sequence": sequence}
    model, report = run(content, tmp_path / "out")
    label = "affine" + ("@oracle" if sequence.get("target_length") == "oracle" else "")
    assert measured(report, label) == OWN | {"agreement_minus_cascade"}
    assert model.config.sequence["length"] == sequence["length"]
    assert model.layer.features_in == 16 * (sequence.get("parts", 1) * sequence.get("slice", 1))


@pytest.mark.parametrize("fill", ["predict", "mean", "zero"])
def test_selected_features_are_predicted_and_the_rest_filled(text: dict, fill: str) -> None:
    content = merge(text, {"target": {"features": {"every": 4}}, "sequence": {"fill": fill}})
    model, report = run({**content, "compare": [{"name": "rbf", "stitch": {"method": "rbf"}}]})
    assert model.layer.features_out == 16
    out = model.layer(torch.randn(3, 16))
    rest = [i for i in range(16) if i % 4]
    if fill == "zero":
        assert not out[:, rest].any()
    elif fill == "mean":
        torch.testing.assert_close(out[:, rest], out[:, ::4].mean(1, keepdim=True).expand(3, 12))
    else:
        assert out[:, rest].std(1).min() > 0
    assert measured(report, "rbf") == OWN


def test_an_identity_stitch_agrees_with_itself(pico_xlnet: Path, written: Path) -> None:
    _, report = run(reading(pico_xlnet, pico_xlnet, written))
    assert report.value("agreement") == 1
    assert report.value("r2") == pytest.approx(1, abs=1e-6)
    assert report.value("accuracy") == report.value("accuracy", "target")


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_models_run_in_the_dtype_that_is_asked_for(text: dict, tmp_path: Path, dtype: str) -> None:
    model, report = fit(Recipe.parse(text), tmp_path / "out", device="cpu", dtype=dtype)
    assert report.environment["dtype"] == dtype
    again = StitchedModel.from_pretrained(tmp_path / "out")
    for one in (model, again):
        found = {p.dtype for half in (one.prefix, one.suffix) for p in half.parameters()}
        assert found == {getattr(torch, dtype)}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())
    assert evaluate(tmp_path / "out", device="cpu").measure("agreement").n == 18


FAILING = [
    {"name": "crowded", "stitch": {"method": "diffusion"}, "source": {"hook": "roberta.encoder.layer.9"}},
    {"name": "deaf", "sequence": {"length": "ctc"}},
    {"name": "scarce", "stitch": {"method": "rbf"}, "sequence": {"per_sample": 1}, "data": {"fit": {"samples": 4}}},
]


@pytest.mark.parametrize("directions", ["forward", "both"])
def test_a_comparison_that_fails_is_told_and_loses_nothing(text: dict, directions: str, tmp_path: Path) -> None:
    content = {**text, "directions": directions, "compare": [*FAILING, "orthogonal"]}
    _, report = run(content, tmp_path / "out")
    for entry in FAILING:
        assert [note for note in report.notes if note.startswith(f"{entry['name']} could not be fitted: ")]
        assert not measured(report, str(entry["name"]))
    assert measured(report, "orthogonal") == OWN
    assert measured(report, "affine", direction="backward") == (OWN if directions == "both" else set())
    assert Report.load(tmp_path / "out").notes == report.notes


def test_too_few_rows_are_told_before_any_neighbour_runs(text: dict) -> None:
    content = merge(text, {"stitch": {"method": "diffusion"}, "data": {"fit": {"samples": 2}}})
    with pytest.raises(FitError, match=r"needs more rows than features: \d+ rows came from 2 samples, 17 are needed"):
        run(content)
    assert list(cache_folder().rglob("fit-*"))
    assert not list(cache_folder().rglob("metric-*")), "what neighbours gave is written as it comes"


def test_a_comparison_of_other_data_that_goes_one_way_alone_keeps_that(text: dict) -> None:
    few = {"name": "few", "data": {"fit": {"samples": 4}}, "sequence": {"per_sample": 1}, "stitch": {"method": "rbf"}}
    content = {**text, "directions": "both", "compare": [few]}
    content["source"] = {**content["source"], "features": {"every": 8}}
    _, report = run(content)
    assert measured(report, "few")
    assert not measured(report, "few", direction="backward")
    assert [note for note in report.notes if note.startswith("few could not be fitted backward: ")]


def test_both_directions(text: dict) -> None:
    _, report = run({**text, "directions": "both", "compare": ["orthogonal"]})
    for label in ("affine", "orthogonal"):
        assert measured(report, label, direction="backward") == OWN
    assert measured(report, "majority", direction="backward") == {"agreement", "accuracy"}


def test_what_only_fails_backward_is_told(text: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    once = fit_variant.fit_variant

    def forward_only(label: str, correspondence: Any, *rest: Any) -> Any:
        if correspondence.observations.direction == "backward" and label == "affine":
            raise FitError("no way back")
        return once(label, correspondence, *rest)

    monkeypatch.setattr(comparison, "fit_variant", forward_only)
    _, report = run({**text, "directions": "both", "compare": ["orthogonal"]})
    assert report.notes == ["affine could not be fitted backward: no way back"]
    assert measured(report, "affine") == measured(report, "orthogonal", direction="backward") == OWN
    assert not measured(report, "affine", direction="backward")


def test_comparisons_with_other_models_have_a_bench_of_their_own(text: dict) -> None:
    other = {"name": "hooks/1", "source": {"hook": "roberta.encoder.layer.1"}}
    half = {"name": "hooks/2", "data": {"fit": {"samples": 12}}}
    _, report = run({**text, "compare": [other, half], "directions": "both"})
    for direction in ("forward", "backward"):
        assert measured(report, "hooks/1", direction=direction) == OWN
        assert measured(report, "hooks/2", direction=direction) == OWN
    median = report.measure("agreement", "hooks/median")
    members = [report.value("agreement", f"hooks/{i}") for i in (1, 2)]
    assert median.range == (min(members), max(members))  # type: ignore[type-var]
    assert median.n == 2


def test_the_method_is_chosen_on_validation(text: dict, written: Path) -> None:
    text["data"]["validation"] = {**text["data"]["test"], "dataset": str(written / "validation.jsonl")}
    _, report = run({**text, "compare": ["orthogonal", "rbf"]})
    assert report.chosen is not None
    values = {label: report.value("agreement", label, "validation") for label in ("affine", "orthogonal", "rbf")}
    assert report.chosen["method"] == max(values, key=lambda label: values[label] or 0)
    assert "r2" not in measured(report, "affine", "validation")
    noted = [note for note in report.notes if "change `stitch:` to save the other" in note]
    assert bool(noted) == (report.chosen["method"] != "affine")


def measure(name: str, method: str, value: float | None, split: str = "validation") -> Measure:
    return Measure(name, method, split, "forward", value, value, value, 10)


def test_choosing() -> None:
    labels = ["affine", "rbf"]
    found = [measure("agreement", "affine", 0.5), measure("agreement", "rbf", 0.7), measure("agreement", "best", 0.9)]
    assert choose(found, labels) == {"method": "rbf", "split": "validation", "measure": "agreement"}
    equal = [measure("agreement", "affine", 0.5), measure("agreement", "rbf", 0.5)]
    assert (choose(equal, labels) or {})["method"] == "affine"
    errors = [measure("output_mse", "affine", 0.5), measure("output_mse", "rbf", 0.7)]
    assert (choose(errors, labels) or {})["method"] == "affine"
    assert choose([measure("agreement", "affine", 0.5, "test")], labels) is None
    assert choose([measure("agreement", "affine", None)], labels) is None


# the folder


def test_the_same_recipe_twice_writes_the_same_bytes(
    text: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {**text, "stitch": {"method": "diffusion", "coordinates": 8, "landing": "nearest"}}
    model, first = run(content, tmp_path / "a")
    torch.manual_seed(1234)
    torch.rand(10)
    monkeypatch.setenv("HF_STITCH_CACHE", str(tmp_path / "another cache"))
    _, second = run(content, tmp_path / "b")
    for name in ("model.safetensors", "config.json", "recipe.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert first.measures == second.measures
    kept = load_file(tmp_path / "a" / "model.safetensors")
    held = model.state_dict()
    assert kept.keys() == held.keys()
    assert all(torch.equal(kept[name], held[name]) for name in kept)


def test_a_finished_folder_is_returned_at_once(text: dict, tmp_path: Path) -> None:
    """Without a look at the models that it was made of: they are gone."""
    text["source"]["model"] = shutil.copytree(text["source"]["model"], str(tmp_path / "source"))
    model, report = run(text, tmp_path / "out")
    shutil.rmtree(tmp_path / "source")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again, same = run({**text, "name": "another name", "description": "does not matter"}, tmp_path / "out")
    assert same.measures == report.measures
    assert not again.training
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("lost", ["report.json", "model.safetensors"])
def test_an_unfinished_folder_is_finished(text: dict, tmp_path: Path, lost: str) -> None:
    _, report = run(text, tmp_path / "out")
    (tmp_path / "out" / lost).unlink()
    _, again = run(text, tmp_path / "out")
    assert again.measures == report.measures
    assert (tmp_path / "out" / lost).is_file()


def test_folders_with_something_else_are_refused(text: dict, tmp_path: Path) -> None:
    """Before any work: that would fail on a model that is not there."""
    run(text, tmp_path / "taken")
    text["source"]["model"] = str(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"taken holds the result of another recipe \(fingerprint \w+, asked \w+\)"):
        run({**text, "seed": 1}, tmp_path / "taken")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"holds something else \(thesis.txt\); give another --out"):
        run(text, tmp_path / "mine")
    with pytest.raises(ArtifactError, match="is a file; give --out a folder"):
        run(text, tmp_path / "mine" / "thesis.txt")
    for content in ("source: [", "source: {}", ""):
        (tmp_path / "mine" / "recipe.yaml").write_text(content)
        with pytest.raises(ArtifactError, match="is no recipe of this version; give another --out"):
            run(text, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_recipe_that_cannot_be_used_writes_nothing(text: dict, tmp_path: Path) -> None:
    with pytest.raises(HookError, match=r"roberta.encoder.layer.7"):
        run(merge(text, {"source": {"hook": "roberta.encoder.layer.7"}}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
]


@pytest.mark.parametrize("error", FULL, ids=["os", "safetensors"])
def test_a_full_disk_is_told_and_the_run_resumes(
    text: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(StitchedModel, "save_pretrained", full)
        with pytest.raises(ArtifactError, match=r"no space left for .*out: free some and run again"):
            run(text, tmp_path / "out")
    collected = {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*.safetensors")}
    assert collected
    _, report = run(text, tmp_path / "out")
    assert measured(report, "affine") == OWN
    assert {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*.safetensors")} == collected


def test_a_recipe_by_its_path_with_overrides(text: dict, tmp_path: Path) -> None:
    path = saved(text, tmp_path)
    _, report = fit(path, overrides=["stitch.method=orthogonal", "data.fit.samples=20"], device="cpu")
    assert report.method == "orthogonal"
    assert report.recipe["name"] == "recipe"
    with pytest.raises(RecipeError, match="occurs more than once"):
        fit(Recipe.parse({**text, "compare": ["rbf", "rbf"]}))


def test_progress_is_told(text: dict) -> None:
    from hf_stitch.runtime.progress import Silent

    class Told(Silent):
        notes: list[str] = []  # noqa: RUF012

        def note(self, text: str) -> None:
            self.notes.append(text)

    fit(Recipe.parse({**text, "compare": ["orthogonal"]}), device="cpu", progress=Told())
    own, begun, other = Told.notes
    assert own.startswith("affine: agreement ")
    assert begun == "comparing with orthogonal"
    assert other.startswith("orthogonal: agreement ")


def test_regression_targets(tmp_path: Path) -> None:
    from local_metrics import vectors

    content = vectors(tmp_path)
    content["data"]["test"] = content["data"]["fit"]
    stitch = {"method": "diffusion", "sides": "both", "coordinates": 6}
    content |= {"stitch": stitch, "directions": "both", "compare": ["affine"]}
    _, report = run(merge(content, {"neighborhoods": {"kind": "jacobian", "rank": 2}}))
    wanted = {"output_mse", "r2", "cosine", "relative_error"}
    for direction in ("forward", "backward"):
        assert measured(report, "diffusion", direction=direction) == wanted | MAPS
        assert measured(report, "affine", direction=direction) == wanted
        assert measured(report, "majority", direction=direction) == {"output_mse"}


TWO = """
import json, sys
from pathlib import Path
from hf_stitch import fit
model, report = fit(sys.argv[1], sys.argv[2], device="cpu")
if report.environment["processes"] != 2:
    raise SystemExit("alone")
"""


def test_two_processes_make_what_one_makes(text: dict, tmp_path: Path) -> None:
    content = {**text, "stitch": {"method": "diffusion", "coordinates": 8, "sides": "source"}, "compare": ["affine"]}
    one, report = run(content, tmp_path / "one")
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(saved(content, tmp_path)), str(tmp_path / "two")],
        env=os.environ | {"HF_STITCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two = StitchedModel.from_pretrained(tmp_path / "two").eval()
    inputs = {"input_ids": torch.tensor([[0, 5, 7, 9, 2]]), "target_spans": torch.tensor([[[1, 2], [2, 4], [-1, 2]]])}
    with torch.no_grad():
        torch.testing.assert_close(two(**inputs).logits, one(**inputs).logits, rtol=0, atol=1e-5)
    both = Report.load(tmp_path / "two")
    assert [dataclasses.replace(m, value=0, low=0, high=0) for m in both.measures] == [
        dataclasses.replace(m, value=0, low=0, high=0) for m in report.measures
    ]
    for a, b in zip(both.measures, report.measures):
        assert a.value == pytest.approx(b.value, abs=1e-5)
    assert json.loads((tmp_path / "two" / "report.json").read_text())["environment"]["processes"] == 2


def test_word_embeddings_of_the_target_need_no_positions(text: dict) -> None:
    _, report = run(merge(text, {"target": {"hook": XLNET_EMBEDDING}}))
    assert measured(report, "affine") == OWN
