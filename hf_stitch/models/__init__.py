"""The stitched model as a first-class Hugging Face model."""
