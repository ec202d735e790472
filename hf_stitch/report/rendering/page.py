"""One self-contained page from a report: inline style and figures, no scripts, nothing fetched.

The page is a list of sections, each made by a file of its own in `sections/`, where it is found.
"""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from hf_stitch.recipe.side import SIDES
from hf_stitch.recipe.stitch import DEFAULT
from hf_stitch.report import catalogue, units
from hf_stitch.report.data_held import data_held
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering.find_sections import found_sections
from hf_stitch.report.report import Report

TEMPLATES = Path(__file__).parent / "templates"


def page_for(report: Report) -> str:
    """`report.html` as text, a pure function of the report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        # A name that a template misspells is an error, not an empty place on the page.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ticks=_ticks, size=units.size, seconds=units.seconds, title_of=catalogue.title_of)
    environment.globals.update(references=catalogue.REFERENCES)
    sections = []
    for found in found_sections():
        if (section := found.build(report)) is not None:
            template = environment.get_template(f"sections/{section.template}.html.j2")
            sections.append(Markup(template.render(report=report, **section.content).strip()))
    source, target, stitch, sequence = (part(report.recipe, key) for key in (*SIDES, "stitch", "sequence"))
    text = environment.get_template("report.html.j2").render(
        report=report,
        headline=catalogue.verdict_words(report.verdict.code)[0],
        source=source,
        target=target,
        method=stitch.get("method", DEFAULT.method),
        length=sequence.get("length", ""),
        sections=sections,
        held=data_held(report),
    )
    return text.strip() + "\n"


def _ticks(text: str) -> Markup:
    """Escaped text in which `words between backticks` are code, and no line ends before a percent sign."""
    whole = str(escape(text)).replace(" %", "\N{NO-BREAK SPACE}%")
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", whole))
