"""Metrics for the `evaluate` library, one folder each."""
