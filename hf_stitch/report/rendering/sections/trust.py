"""Where the model is to be trusted: what abstaining costs and saves, and error against distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.report import catalogue
from hf_stitch.report.measure import find
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering import plots_trust
from hf_stitch.report.rendering.run_words import path_words
from hf_stitch.report.rendering.section import Figure, Section, Table, drawn, figure, flat
from hf_stitch.report.rendering.variation import throughout
from hf_stitch.report.report import Report

ORDER = 70
READS = ("trust", "risk_coverage", "error_by_distance")
ERRORS: dict[catalogue.Kind, str] = {
    "classes": "share of other answers",
    "texts": "share of other tokens",
    "vectors": "share of variance missed",
    "next_tokens": "divergence (nats a token)",
    "numbers": "mean squared difference",
}
SAID = ("samples", "calibrated_on", "ingredients")  # in the sentences above the figures


def build(report: Report) -> Section | None:
    facts = part(report.diagnostics.trust)
    if not facts:
        return None
    said = f"Calibrated on {facts.get('samples')} samples ({facts.get('calibrated_on')}). "
    said += f"Ingredients: {', '.join(map(str, facts.get('ingredients') or []))}. "
    lead = "Trust is the share of samples of the fitted kind that lie at least as far out as an input does. " + said
    lead += "What the source's neurons do not tell from the fitted kind is trusted like it."
    return drawn("Where it can be trusted", _figures(report), [_kept(report), _probes(report), _rest(facts)], lead)


def _figures(report: Report) -> list[Figure]:
    curve = part(report.diagnostics.risk_coverage)
    bins = report.diagnostics.error_by_distance
    captions = "Risk and coverage: error of the most trusted share of the test", "Error against distance, on the test"
    axis = ERRORS[catalogue.kind_of(m.name for m in report.measures)]
    shares, bins = curve.get("risk") or [], bins if isinstance(bins, list) else []
    risk = plots_trust.risk_coverage(curve.get("coverage") or [], shares, axis, captions[0])
    far = plots_trust.error_by_distance(bins, axis, captions[1])
    same = (throughout(shares), throughout([one.get("value") for one in bins]))
    said = [f"{axis} {words}" if words else "" for words in same]
    return figure(risk, captions[0], "cloud", said[0]) + figure(far, captions[1], "cloud", said[1])


def _kept(report: Report) -> Table:
    """A row a split: how often it abstains, and how right it is where it answers and where it does not."""
    splits = [m.split for m in report.measures if m.name == "abstained" and m.split.startswith("test")]
    names, titles = _by_trust(report)
    return Table(["samples", "trust below 0.02", *titles], _rows(report, splits, ("abstained", *names)))


def _probes(report: Report) -> Table:
    """A row a kind of input that the data do not hold."""
    splits = [m.split for m in report.measures if m.name == "abstained" and m.split.startswith("probe/")]
    names, titles = _by_trust(report)
    asked = [(name, title) for name, title in zip(names, titles) if any(_cells(report, splits, name))]
    head = ["inputs of another kind", "trust below 0.02", "told from the test (AUROC)", *(title for _, title in asked)]
    return Table(head, _rows(report, splits, ("abstained", "trust_auroc", *(name for name, _ in asked))))


def _rest(facts: Mapping[str, Any]) -> Table:
    """What else is known of the calibration."""
    rest = flat({name: fact for name, fact in facts.items() if name not in SAID})
    return Table(["calibration", "value"], [(path_words(path), text) for path, text in rest])


def _by_trust(report: Report) -> tuple[tuple[str, str], tuple[str, str]]:
    """The measures of what was answered and what was not, and their titles."""
    name = catalogue.DECIDING[catalogue.kind_of(m.name for m in report.measures)]
    title = catalogue.title_of(name).lower()
    return (f"{name}_kept", f"{name}_abstained"), (f"{title} where answered", f"{title} where not")


def _rows(report: Report, splits: list[str], names: tuple[str, ...]) -> list[list[str]]:
    return [list(row) for row in zip(splits, *(_cells(report, splits, name) for name in names))]


def _cells(report: Report, splits: list[str], name: str) -> list[str]:
    found = [find(report.measures, name, report.method, split) for split in splits]
    return ["" if m is None else m.written() for m in found]
