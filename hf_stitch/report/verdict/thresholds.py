"""The thresholds of all verdicts: from where on a stitch holds, holds in part, or is of no use."""

from __future__ import annotations

import math

# Classes: Cohen's kappa by the words of Landis & Koch (1977); the bands are theirs, what they are used for is by hand.
KAPPA_SURE = 0.6  # "substantial": the interval of a stitch that holds lies above
KAPPA_HIGH = 0.8  # "almost perfect": its value does too
KAPPA_FAIR = 0.4  # up to here "slight" or "fair": better than chance, and of no use
ACCURACY_LOST = 0.05  # accuracy that a stitch that holds may lose against the target's own; by hand

# Next tokens: kappa as of classes, and the loss that a stitch that holds may add; by hand: a tenth more perplexity.
NATS_LOST = 0.1

# Numbers: shares of the output's variance that are missed; by hand.
UNEXPLAINED = 0.01  # at most, by a stitch that holds
UNEXPLAINED_PARTLY = 0.5  # at most, by one that holds in part

# Texts: token agreement beyond what texts of this kind have in common, as a share of what could be left; by hand.
TEXTS_SURE = 0.8  # the interval of a stitch that holds lies above
TEXTS_HIGH = 0.9  # its value does too
TEXTS_FAIR = 0.5  # below, most of what could be won is missed
WORDS_LOST = 0.05  # word errors against the reference that a stitch that holds may add to the target's own


def r2_of_kappa(kappa: float) -> float:
    """The R2 from which two linear classes of a vector are told alike with that kappa.

    A head that is linear reads one direction of the vector. Where that is normal and what is explained of it has
    correlation rho with it, both lie on one side of their mean with chance 1 - arccos(rho) / pi, and rho^2 is R2.
    """
    return math.cos(math.pi * (1 - kappa) / 2) ** 2


# Vectors, read by a head: R2 at which its answers would agree as the thresholds of classes ask.
VECTORS_SURE, VECTORS_HIGH, VECTORS_FAIR = (r2_of_kappa(one) for one in (KAPPA_SURE, KAPPA_HIGH, KAPPA_FAIR))
# Vectors, searched among: each sample is a class of its own, and what is found first beyond chance is Cohen's kappa.
SEARCH_SURE, SEARCH_HIGH, SEARCH_FAIR = KAPPA_SURE, KAPPA_HIGH, KAPPA_FAIR
SEARCHED = 50  # samples among which a search shows something; by hand: chance then finds 2 in 100 first
