"""How many there are of what is found by discovery, so that none is lost unseen; a new one changes a line here."""

ERRORS = 11  # kinds of error in hf_stitch/errors.py
ZOO_MODELS = 42
