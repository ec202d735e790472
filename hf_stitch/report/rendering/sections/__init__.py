"""The sections of the page, in order; each is a function of the report in a file of its own."""

from hf_stitch.report.rendering.sections.clouds import clouds
from hf_stitch.report.rendering.sections.geometry import geometry
from hf_stitch.report.rendering.sections.jacobian import jacobian
from hf_stitch.report.rendering.sections.measures import measures
from hf_stitch.report.rendering.sections.pairs import few_pairs
from hf_stitch.report.rendering.sections.pictures import pictures
from hf_stitch.report.rendering.sections.profiles import profiles
from hf_stitch.report.rendering.sections.run import asked, cost, notes, use, warnings
from hf_stitch.report.rendering.sections.section import Builder
from hf_stitch.report.rendering.sections.trust import trust
from hf_stitch.report.rendering.sections.verdict import verdict
from hf_stitch.report.rendering.sections.written import written

SECTIONS: tuple[Builder, ...] = (
    verdict,
    warnings,
    measures,
    pictures,
    written,
    profiles,
    trust,
    jacobian,
    few_pairs,
    geometry,
    clouds,
    cost,
    use,
    notes,
    asked,
)
