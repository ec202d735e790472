"""The sections of the page, a file each; `hf_stitch.report.rendering.discover` says what one holds."""
