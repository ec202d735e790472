"""The few numbers of a report that a person reads first: one row a method, on the test split."""

from __future__ import annotations

from hf_stitch.report.measure import Measure, find, number
from hf_stitch.report.report import Report

CLASSES = {
    "agreement": "agreement",
    "kappa": "kappa",
    "agreement_minus_cascade": "minus cascade",
    "accuracy": "accuracy",
}
TEXTS = {
    "token_agreement": "token agreement",
    "exact_match": "exact match",
    "token_agreement_minus_cascade": "minus cascade",
    "text_wer": "word errors",
    "answer_wer": "reference word errors",
    "answer_exact_match": "as the reference",
}
NUMBERS = {
    "answer_mse": "true MSE",
    "answer_r2": "true R2",
    "output_mse": "output MSE",
    "map_mse": "map MSE",
    "r2": "activation R2",
}


def summary(report: Report, split: str = "test") -> tuple[list[str], list[list[str]]]:
    """Headers and rows: each method and reference with its measures and their 95 % intervals.

    The method that was saved carries a star. A measure that no method has gives no column.
    """
    kept = [m for m in report.measures if m.split == split]
    kinds = {"agreement": CLASSES, "token_agreement": TEXTS}
    names = next((kinds[m.name] for m in kept if m.name in kinds), NUMBERS)
    shown = {name: title for name, title in names.items() if any(m.name == name for m in kept)}
    rows = []
    for direction in dict.fromkeys(m.direction for m in kept):
        for method in dict.fromkeys(m.method for m in kept if m.direction == direction):
            found = [find(kept, name, method, split, direction) for name in shown]
            if any(found):
                label = method + (" (backward)" if direction == "backward" else "")
                star = " *" if method == report.method and direction == "forward" else ""
                count = next(m.n for m in found if m is not None)
                rows.append([label + star, *(_cell(m) for m in found), str(count)])
    return ["method", *shown.values(), "n"], rows


def _cell(measure: Measure | None) -> str:
    if measure is None:
        return ""
    if measure.low is None or measure.high is None:
        return number(measure.value)
    return f"{number(measure.value)} [{number(measure.low)}, {number(measure.high)}]"


def summary_markdown(report: Report) -> str:
    """The summary as a Markdown table."""
    head, rows = summary(report)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace(" *", " \\*") for cell in line) + " |" for line in lines)
