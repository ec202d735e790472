"""Stitching layers: learned maps from the activations of one model to those of another, one method a file."""
