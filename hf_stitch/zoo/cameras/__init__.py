"""Two cameras that watch a rotating solid."""
