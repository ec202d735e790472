"""How alike two clouds are whose rows belong together: one file a measure, found by its name."""
