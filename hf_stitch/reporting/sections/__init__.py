"""The sections of the page, in order; each is a function of the report in a file of its own."""

from hf_stitch.reporting.sections.clouds import clouds
from hf_stitch.reporting.sections.geometry import geometry
from hf_stitch.reporting.sections.jacobian import jacobian
from hf_stitch.reporting.sections.measures import measures
from hf_stitch.reporting.sections.pairs import few_pairs
from hf_stitch.reporting.sections.pictures import pictures
from hf_stitch.reporting.sections.profiles import profiles
from hf_stitch.reporting.sections.run import asked, cost, notes, use, warnings
from hf_stitch.reporting.sections.section import Builder
from hf_stitch.reporting.sections.trust import trust
from hf_stitch.reporting.sections.verdict import verdict
from hf_stitch.reporting.sections.written import written

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
