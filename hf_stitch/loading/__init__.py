"""Models, processors and samples from names, files and objects."""
