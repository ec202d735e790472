"""Where the nouns meet: fit, evaluate, rehearse."""
