"""Small networks that learn the same functions."""
