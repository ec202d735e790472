"""From a report to things that people read: a page, plots, a model card. Nothing is computed here."""

from hf_stitch.reporting.card import card_for, slim
from hf_stitch.reporting.html import page_for
from hf_stitch.reporting.write import write_report

__all__ = ["card_for", "page_for", "slim", "write_report"]
