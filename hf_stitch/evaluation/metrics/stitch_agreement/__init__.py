"""The metric `stitch_agreement`."""
