"""Stitching layers: learned maps from the activations of one model to those of another, one method a file.

A method is a file by its name (`affine`, `rbf`, ...) with a `layer.StitchingLayer`; its options and facts are a class
in `hf_stitch/recipe/stitch.py`.
"""
