"""From measures to a verdict in words: `judge` for all, one file a kind of answers, `thresholds` of them all."""
