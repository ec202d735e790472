"""The samples on which the stitched model is farthest from the target, as they are, with both answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hf_stitch.report import catalogue
from hf_stitch.report.data_held import failing_samples
from hf_stitch.report.measure import number
from hf_stitch.report.plain_json import part, texts
from hf_stitch.report.rendering.media import data_url
from hf_stitch.report.rendering.section import Section
from hf_stitch.report.rendering.sections.trust import ERRORS
from hf_stitch.report.report import Report

ORDER = 65
READS = ("failures", "wrong")
NAMED = 500  # failing samples that are listed by name; by hand
INPUTS = {"source": "the source is given", "target": "the target is given"}
ANSWERS = {"target": "the target answers", "stitched": "the stitched model answers"}


@dataclass(frozen=True)
class Shown:
    """An input or an answer: what it is, and the parts of it that there are."""

    title: str
    words: str = ""
    sound: str = ""
    picture: str = ""
    note: str = ""


def build(report: Report) -> Section | None:
    found, wrong = part(report.diagnostics.failures), texts(report.diagnostics.wrong)
    samples = [_sample(one) for one in failing_samples(report.diagnostics.failures)]
    if not found and not wrong:
        return None
    content = {
        "samples": samples,
        "lead": _lead(found, len(samples)),
        "wrong": wrong[:NAMED],
        "rest": max(len(wrong) - NAMED, 0),
    }
    told = not wrong and found.get("failing") is None
    title = "Samples on which it is farthest from the target" if told else "Samples that it answers otherwise"
    error = ERRORS[catalogue.kind_of(m.name for m in report.measures)]
    return Section("failures", {**content, "count": len(wrong), "title": title, "error": error})


def _lead(found: Mapping[str, Any], shown: int) -> str:
    failing, of = found.get("failing"), found.get("of")
    if failing == 0:
        return f"On all {of} test samples the stitched model gives the target's own answer."
    if not shown:
        return ""
    which = "whose answers are farthest from the target's own"
    if failing is not None:
        which = (
            f"of the {failing} (of {of} of the test) that are answered otherwise than by the target, the worst first"
        )
    return f"{shown} test sample{'s' * (shown != 1)} {which}. Texts, sounds and pictures are cut short."


def _sample(one: Mapping[str, Any]) -> dict[str, Any]:
    inputs = [_shown(title, part(one, "inputs", side)) for side, title in INPUTS.items() if side in part(one, "inputs")]
    if len(inputs) == 1:
        inputs = [_shown("the input", part(one, "inputs", "source"))]
    answers = [_shown(title, part(one, "answers", name)) for name, title in ANSWERS.items()]
    if "expected" in one:
        answers.append(_shown("the data say", part(one, "expected")))
    error = one.get("error")
    return {
        "name": str(one.get("sample")),
        "inputs": inputs,
        "answers": answers,
        "error": None if error is None else number(error),
    }


def _shown(title: str, found: Mapping[str, Any]) -> Shown:
    """Plain data of an input or an answer; see `hf_stitch.evaluation.shown_inputs`."""
    sound, picture = data_url(found, "sound"), data_url(found, "picture")
    if sound:
        seconds, of = found.get("seconds") or 0.0, found.get("of") or 0.0
        note = f"the first {seconds:.1f} s of {of:.1f} s" if of > seconds else f"{of:.1f} s"
        return Shown(title, sound=sound, note=note)
    if picture:
        return Shown(title, picture=picture)
    if "text" in found:
        text, whole = str(found["text"]), found.get("characters") or 0
        return Shown(
            title, text or "(nothing)", note=f"the first {len(text)} of {whole} characters" if whole > len(text) else ""
        )
    if "label" in found:
        score = found.get("score")
        return Shown(
            title, str(found["label"]), note="" if score is None else f"score {number(score, significant=False)}"
        )
    if isinstance(numbers := found.get("numbers"), list):
        of = found.get("of") or 0
        note = f"the first {len(numbers)} of {of} numbers" if of > len(numbers) else ""
        return Shown(title, ", ".join(number(value) for value in numbers), note=note)
    return Shown(title, note="could not be read")
