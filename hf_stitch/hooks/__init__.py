"""Hook points of any transformer: read them, overwrite them, run only what lies before or only what lies behind."""
