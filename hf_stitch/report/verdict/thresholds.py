"""The thresholds of all verdicts: from where on a stitch holds, holds in part, or is of no use."""

from __future__ import annotations

# Classes: Cohen's kappa by the words of Landis & Koch (1977); the bands are theirs, what they are used for is by hand.
KAPPA_SURE = 0.6  # "substantial": the interval of a stitch that holds lies above
KAPPA_HIGH = 0.8  # "almost perfect": its value does too
KAPPA_FAIR = 0.4  # up to here "slight" or "fair": better than chance, and of no use
ACCURACY_LOST = 0.05  # accuracy that a stitch that holds may lose against the target's own; by hand

# Numbers: shares of the output's variance that are missed; by hand.
UNEXPLAINED = 0.01  # at most, by a stitch that holds
UNEXPLAINED_PARTLY = 0.5  # at most, by one that holds in part

# Texts: token agreement beyond what texts of this kind have in common, as a share of what could be left; by hand.
TEXTS_SURE = 0.8  # the interval of a stitch that holds lies above
TEXTS_HIGH = 0.9  # its value does too
TEXTS_FAIR = 0.5  # below, most of what could be won is missed
WORDS_LOST = 0.05  # word errors against the reference that a stitch that holds may add to the target's own
