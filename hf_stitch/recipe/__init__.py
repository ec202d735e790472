"""What was asked: the recipe, part by part, as plain data."""
