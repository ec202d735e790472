"""transformers' Auto classes and pipelines learn of stitched models."""
