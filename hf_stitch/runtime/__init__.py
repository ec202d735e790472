"""The ground of a run: device, processes, cache, files, progress, timings."""
