"""Variable lengths: how the timesteps of the source become timesteps of the target.

A rule is a file by its name (`trim`, `ctc`, ...) that fills in `rule.Rule`; what a recipe knows of it stands in
`hf_stitch/recipe/sequence.py`.
"""
