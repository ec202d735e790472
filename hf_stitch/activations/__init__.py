"""What was seen: hooked models, their samples, activations, neighbourhoods and local metrics of rows."""
