"""Which rows are near each other: graphs, and rules for joining pairs."""
