"""Spoken opinions: grammar, synthesis, recogniser, classifiers, translator."""
