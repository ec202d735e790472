"""Mahalanobis-like local metrics of rows, and their distances."""
