"""The command line: parse words, call one function, return a status."""

from hf_stitch.cli.status import main

__all__ = ["main"]
