"""Models and data that somebody holds in Python: as a fit takes them, without changing them."""
