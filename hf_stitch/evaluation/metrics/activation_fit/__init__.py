"""The metric `activation_fit`."""
