"""Pipelines over stitched models."""
