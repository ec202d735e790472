"""The map between two models: which rows correspond, how lengths are matched, layers and their trust."""
