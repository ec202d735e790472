"""From a report to things that people read: a page, plots, a model card. Nothing is computed here."""
