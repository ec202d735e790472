"""Stitching layers: learned maps from the activations of one model to those of another."""

from hf_stitch.stitching.affine import AffineLayer, NormalEquations
from hf_stitch.stitching.diffusion import DiffusionLayer
from hf_stitch.stitching.layer import StitchingLayer, fit_layer, layer_class, methods, options_of
from hf_stitch.stitching.orthogonal import OrthogonalLayer
from hf_stitch.stitching.rbf import RBFLayer

__all__ = [
    "AffineLayer",
    "DiffusionLayer",
    "NormalEquations",
    "OrthogonalLayer",
    "RBFLayer",
    "StitchingLayer",
    "fit_layer",
    "layer_class",
    "methods",
    "options_of",
]
