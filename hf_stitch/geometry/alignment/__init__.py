"""Orthogonal maps between the coordinates of two diffusion maps."""
