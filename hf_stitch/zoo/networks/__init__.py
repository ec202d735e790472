"""Small networks as Hugging Face models."""
