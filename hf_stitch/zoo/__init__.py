"""The zoo: small models and synthetic data that ship with the package, so that recipes run offline."""
