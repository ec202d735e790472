"""Kinds of answers: classes, numbers, texts."""
