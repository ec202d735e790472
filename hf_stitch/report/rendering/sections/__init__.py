"""The sections of the page, a file each; `hf_stitch.report.rendering.find_sections` says what one holds."""
