"""What was asked: the recipe, a file a part, as plain data.

`sequence` goes with `hf_stitch/stitching/lengths`, `stitch` with `hf_stitch/stitching/layers`, `neighborhoods` with
`hf_stitch/activations/neighborhoods.py`.
"""
