"""Statistics of agreement between two classifiers, each with an interval: never a bare number.

Everything is seeded and deterministic, takes plain sequences, and returns plain Python floats. The rules:

- a share of samples has Wilson's score interval (Wilson 1927; never outside [0, 1], never without width);
- anything else has the percentile bootstrap over samples (Efron & Tibshirani 1993, chapter 13), 2000 resamples;
- two predictors on the same samples are compared in pairs: McNemar's exact test and the bootstrap of the difference.
"""
