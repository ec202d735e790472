"""How far an input lies from what a layer was fitted on."""
