"""What a fit finds beside its result must not cost it: the report says what is missing and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pico_recipes import reading

from hf_stitch.errors import FitError
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.runtime.extras import extra

# name of a finding -> module and function in which it is made
EXTRAS = {
    "multiply-adds": ("models.cost", "count_operations"),
    "invertibility": ("experiments.diagnose", "invertibility_over_grid"),
    "colours of the points": ("experiments.diagnose", "_colour"),
    "errors by class and length": ("experiments.diagnose", "error_profile"),
    "what the trust scores are worth": ("experiments.diagnose", "ood_answers"),
    "examples": ("experiments.diagnose", "examples"),
    "pictures": ("experiments.diagnose", "pictures"),
    "failing samples": ("experiments.diagnose", "failures"),
    "trust: distance": ("experiments.fit_variant", "fit_trust"),
    "report.html": ("report.rendering.write_report", "page_for"),
    "README.md": ("report.rendering.write_report", "card_for"),
}
NO_KERNEL = RuntimeError("no kernel for this")
ERRORS = [NO_KERNEL, IndexError(), FitError("no sample can be compared"), MemoryError("no room")]


@pytest.fixture(scope="module")
def content(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict[str, Any]:
    return reading(pico_roberta, pico_xlnet, written, data={"fit": {"samples": 24}}, neighborhoods={"kind": "none"})


@pytest.fixture(scope="module")
def measured(content: dict[str, Any]) -> dict[tuple[str, str, str], float | None]:
    """The measures of a fit in which nothing fails."""
    return found(fit(content, device="cpu", progress=False)[1])


def found(report: Any) -> dict[tuple[str, str, str], float | None]:
    return {(m.name, m.method, m.split): m.value for m in report.measures}


def failing(monkeypatch: pytest.MonkeyPatch, place: str, name: str, error: Exception) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(sys.modules[f"hf_stitch.{place}"], name, fails)


@pytest.mark.parametrize("name", EXTRAS)
def test_an_extra_that_fails_is_told_and_costs_nothing_else(
    content: dict[str, Any], measured: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import hf_stitch.report.rendering.write_report  # noqa: F401 - so that it can be made to fail

    failing(monkeypatch, *EXTRAS[name], ERRORS[list(EXTRAS).index(name) % len(ERRORS)])
    error = ERRORS[list(EXTRAS).index(name) % len(ERRORS)]
    model, report = fit(content, tmp_path / "out", device="cpu", progress=False)
    plain = json.loads((tmp_path / "out" / "report.json").read_text())
    told = f"{name}: left out, since it failed ({type(error).__name__}{f': {error}' * bool(str(error))})"
    assert told in [*plain["notes"], *report.warnings]
    own = found(report)
    assert own.items() <= measured.items()
    assert ("agreement", "affine", "test") in own
    again = StitchedModel.from_pretrained(tmp_path / "out")
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    for file in ("report.html", "README.md"):
        assert (tmp_path / "out" / file).is_file() == (file != name)


def test_evaluating_goes_on_too(content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(content, tmp_path / "out", device="cpu", progress=False)
    for place, name in (("models.cost", "count_operations"), ("experiments.evaluate", "measure_trust")):
        failing(monkeypatch, place, name, NO_KERNEL)
    report = evaluate(tmp_path / "out", device="cpu", progress=False)
    failed = "left out, since it failed (RuntimeError: no kernel for this)"
    assert report.notes[-2:] == [f"what the trust scores are worth: {failed}", f"multiply-adds: {failed}"]
    assert report.value("agreement", "affine") is not None


def test_being_stopped_is_no_failure() -> None:
    warnings: list[str] = []
    with pytest.raises(KeyboardInterrupt), extra("pictures", warnings):
        raise KeyboardInterrupt
    assert warnings == []
