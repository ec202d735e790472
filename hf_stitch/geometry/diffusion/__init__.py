"""Diffusion maps: kernels, eigenproblems, extension to new rows."""
