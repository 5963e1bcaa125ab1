"""From entries, rows and a matrix to jobs."""
