"""From measures to a verdict in words."""
