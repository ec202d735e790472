"""Geometry of activation clouds: local metrics, diffusion maps, interpolation, alignment. Torch and SciPy only."""
