"""The command line: parse words, call one function, return a status."""
