"""Maps between clouds through scattered points."""
