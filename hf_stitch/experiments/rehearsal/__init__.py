"""A recipe tried out on random weights and synthetic samples before anything is downloaded."""
