"""The sections of the page, found in the folder `sections/`: whatever file lies there is one.

Each has `ORDER`, its place on the page (no two share one; they stand ten apart, so that others fit between), `READS`,
the fields of `hf_stitch.report.diagnostics.Diagnostics` that it shows, and `build(report)`, which returns None where
the report has nothing to say there. What no section reads is shown as plain facts by the last one.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from dataclasses import dataclass

from hf_stitch.report.rendering import sections
from hf_stitch.report.rendering.section import Builder


@dataclass(frozen=True)
class Found:
    """A section's file: its name, its place, the diagnostics that it shows, and what builds it."""

    name: str
    order: int
    reads: tuple[str, ...]
    build: Builder


@functools.cache
def found_sections() -> tuple[Found, ...]:
    """All sections in the order of the page. Raises AttributeError for a file that lacks one of the three names."""
    names = [module.name for module in pkgutil.iter_modules(sections.__path__)]
    modules = [(name, importlib.import_module(f"{sections.__name__}.{name}")) for name in names]
    found = [Found(name, module.ORDER, module.READS, module.build) for name, module in modules]
    return tuple(sorted(found, key=lambda section: section.order))


def shown_diagnostics() -> frozenset[str]:
    """Fields of the diagnostics that some section shows."""
    return frozenset(name for section in found_sections() for name in section.reads)
