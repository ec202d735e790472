"""The model card: README.md of a stitched model, with metadata that the Hub reads. A pure function of the report."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import EvalResult, ModelCardData

from hf_stitch.recipe.names import is_elsewhere, is_shipped, without_zoo
from hf_stitch.recipe.side import SIDES
from hf_stitch.report import catalogue, units
from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.measure import Measure
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering.examples import examples_of
from hf_stitch.report.rendering.lone_groups import without_lone_groups
from hf_stitch.report.rendering.sections.geometry import spectrum_tables
from hf_stitch.report.rendering.sections.pairs import few_pairs_labels, few_pairs_tables
from hf_stitch.report.rendering.sections.written import written_tables
from hf_stitch.report.report import Report

TEMPLATES = Path(__file__).parent / "templates"
UNKNOWN = "unknown"
"""What stands for a licence, or for an id of the Hub, that there is none."""
COMPARED = 4  # columns of measures that one can read beside each other; by hand
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# by hand, for reports that name no task
_SPEECH = re.compile(r"wav2vec|hubert|wavlm|whisper|speech|ctc|audio", re.IGNORECASE)
# lists with an entry for each sample or grid point
_POINTS = ("coordinates", "inputs", "colour", "axes", "condition", "singular")
# What class names of transformers end with, and the Hub's names of their tasks.
_HEADS = {
    "SequenceClassification": "text-classification",
    "AudioClassification": "audio-classification",
    "ImageClassification": "image-classification",
    "CausalLM": "text-generation",
    "CTC": "automatic-speech-recognition",
}


def card_for(report: Report) -> str:
    """`README.md` as text; `slim` reports give the same card as full ones."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # Markdown, not HTML: `line` makes data harmless instead
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(line=line, code=code, size=units.size, seconds=units.seconds)
    recipe = yaml.safe_dump(report.recipe, sort_keys=False, allow_unicode=True, width=100)
    return environment.get_template("card.md.j2").render(
        report=report,
        metadata=card_data(report).to_yaml(line_break="\n"),
        headline=catalogue.verdict_words(report.verdict.code)[0],
        tables=_tables(report),
        more=[
            ("Relative error on the test against the number of corresponding pairs", few_pairs_tables(report)),
            ("What is written", written_tables(report)),
            ("Laplace eigenvalues of both maps, over the first one", spectrum_tables(slim(report))),
        ],
        source=part(report.recipe, "source"),
        target=part(report.recipe, "target"),
        licences=_licences(report),
        limits=[*report.warnings, *report.further_notes],
        total=report.seconds,
        kinds=[kind for kind, name in catalogue.DECIDING.items() if any(m.name == name for m in report.measures)],
        ranges=any(m.range for m in _tested(report)),
        shipped=any(is_shipped(_model(report, side)) for side in SIDES),
        elsewhere=any(map(is_elsewhere, [*(_model(report, side) for side in SIDES), *_named_data(report)])),
        recipe=recipe,
        # Longer than any run of backticks in the recipe, which would else close it.
        fence="`" * max(3, 1 + max(map(len, re.findall("`+", recipe)), default=0)),
        examples=examples_of(report),
    )


def card_data(report: Report) -> ModelCardData:
    """The card's metadata: both base models, licence, task, and a model-index with the saved method's test results."""
    results = eval_results(report)
    licences = sorted(set(_licences(report).values()))
    optional: dict[str, Any] = {
        # `other` with a name, as the Hub asks where no single licence covers it all.
        "license": licences[0] if len(licences) == 1 else "other" if licences else UNKNOWN,
        "license_name": "see-base-models" if len(licences) > 1 else None,
        "pipeline_tag": pipeline_tag(report),
        "base_model": [name for side in SIDES if (name := _base_model(_model(report, side)))] or None,
        "datasets": _datasets(report) or None,
        "metrics": list(dict.fromkeys(result.metric_type for result in results)) or None,
    }
    tags = ["model-stitching", "hf_stitch", *([report.method] if report.method else [])]
    return ModelCardData(
        library_name="transformers",  # with another name `pipeline(model=ID)` refuses to look for the task
        tags=tags,
        model_name=report.name if results else None,
        eval_results=results or None,
        **{key: value for key, value in optional.items() if value is not None},
    )


def eval_results(report: Report) -> list[EvalResult]:
    """One entry for each forward test measure of the saved method (plain floats; null values are left out)."""
    test = part(report.recipe, "data", "test")
    dataset = str(test.get("dataset") or UNKNOWN)
    task = pipeline_tag(report) or "other"
    return [
        EvalResult(
            task_type=task,
            dataset_type=_base_model(dataset) or UNKNOWN,
            dataset_name=dataset,
            dataset_split=m.split,
            dataset_revision=test.get("revision"),
            metric_type="mse" if m.name == catalogue.DECIDING["numbers"] else m.name,
            metric_name=catalogue.title_of(m.name),
            # float: the Hub's YAML would hold a NumPy scalar as a Python object.
            metric_value=float(m.value),
        )
        for m in _tested(report)
        if m.method == report.method and m.direction == "forward" and m.value is not None
    ]


def pipeline_tag(report: Report) -> str | None:
    """The Hub's name of the task: `diagnostics.task` if there, else read from the two model classes."""
    if report.diagnostics.task is not None:
        return report.diagnostics.task or None  # empty: no pipeline answers it
    source, target = (str(part(report.recipe, side).get("class") or "") for side in SIDES)
    found = next((tag for head, tag in _HEADS.items() if target.endswith(head)), None)
    heard = _SPEECH.search(source) or _SPEECH.search(_model(report, "source"))
    return "audio-classification" if found == "text-classification" and heard else found


def slim(report: Report) -> Report:
    """The report without coordinates, pictures and inputs of single samples, to be committed beside its card."""

    def drop(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: drop(v) for k, v in value.items() if not (k in _POINTS and isinstance(v, list))}
        return value

    kept = dataclasses.replace(report.diagnostics, pictures=None, failures=None)
    return dataclasses.replace(report, diagnostics=Diagnostics.from_plain(drop(kept.to_plain())))


def line(text: Any) -> str:
    """Text of data on one line of Markdown: it may hold `code`, but no link, table cell, emphasis or HTML."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = re.sub(r"([\\|*])", r"\\\1", re.sub(r"\](?=[(\[:])", "&#93;", flat))
    return flat if flat.count("`") % 2 == 0 else flat.replace("`", "'")


def code(text: Any) -> str:
    """Text of data that stands between backticks."""
    return " ".join(str(text).split()).replace("`", "'")


Row = tuple[str, list[Measure | None]]


@dataclasses.dataclass(frozen=True)
class Results:
    """A table of the card: what its rows are, how many samples all of them have (None: not the same), and its rows."""

    title: str
    of: str
    n: int | None
    columns: list[str]
    rows: list[Row]


def _tables(report: Report) -> list[Results]:
    """Methods on the test, the saved one first, each direction; then the saved one on the groups of the test."""
    few = few_pairs_labels(report)  # in a table of their own
    tested = [m for m in without_lone_groups(_tested(report))[0] if m.method not in few]
    present = dict.fromkeys(m.name for m in tested)
    order = catalogue.CARD[catalogue.kind_of(present)]
    named = [name for name in dict.fromkeys([*order, *present]) if name in present][:COMPARED]
    tested = [m for m in tested if m.name in named]
    tables = []
    for direction in ("forward", "backward"):
        measures = [m for m in tested if (m.split, m.direction) == ("test", direction)]
        methods = sorted(
            dict.fromkeys(m.method for m in measures), key=lambda m: (m in catalogue.REFERENCES, m != report.method)
        )
        rows = [(_method(report, method), [m for m in measures if m.method == method]) for method in methods]
        tables.append(_results("test" if direction == "forward" else "test, backward", "method", rows, named))
    own = [m for m in tested if m.method == report.method and m.direction == "forward" and m.split != "test"]
    splits = [
        (line(s.partition("/")[2]), [m for m in own if m.split == s]) for s in dict.fromkeys(m.split for m in own)
    ]
    tables.append(_results(f"{report.method} on groups of the test", "group", splits, named))
    return [table for table in tables if table.rows]


def _results(title: str, of: str, rows: Sequence[tuple[str, list[Measure]]], named: Sequence[str]) -> Results:
    """Rows of measures by title; those that none has give no column."""
    names = [name for name in named if any(m.name == name for _, found in rows for m in found)]
    cells = [(label, [next((m for m in found if m.name == name), None) for name in names]) for label, found in rows]
    counts = {m.n for _, found in rows for m in found if m.n is not None and m.range is None}
    shared = counts.pop() if len(counts) == 1 else None
    return Results(title, of, shared, [catalogue.title_of(name) for name in names], cells)


def _method(report: Report, method: str) -> str:
    if method in catalogue.REFERENCES:
        return f"{method}: {catalogue.REFERENCES[method]}"
    return f"**{line(method)}**" if method == report.method else line(method)


def _tested(report: Report) -> list[Measure]:
    return [m for m in report.measures if m.split == "test" or m.split.startswith("test/")]


def _model(report: Report, side: str) -> str:
    return str(part(report.recipe, side).get("model") or "")


def _base_model(name: str) -> str | None:
    """A Hub id as it is; a shipped `zoo:name` in the form of one; nothing for a local folder, which the Hub refuses."""
    if is_shipped(name):
        return "hf_stitch/zoo-" + re.sub(r"[^\w.-]+", "-", without_zoo(name))
    return name if _HUB_ID.fullmatch(name) else None


def _datasets(report: Report) -> list[str]:
    return list(dict.fromkeys(found for name in _named_data(report) if (found := _base_model(name))))


def _named_data(report: Report) -> list[str]:
    splits = (part(report.recipe, "data", split) for split in ("fit", "validation", "test"))
    return [str(split.get("dataset") or "") for split in splits]


def _licences(report: Report) -> dict[str, str]:
    """Licence of each base model, where known; what this package ships has its own licence."""
    shipped = {side: "apache-2.0" for side in SIDES if is_shipped(_model(report, side))}
    known = {side: str(name) for side, name in part(report.diagnostics.licences).items() if name}
    return shipped | known
